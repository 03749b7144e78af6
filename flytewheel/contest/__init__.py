"""Any two models judged against each other, outside of a turn: `flytewheel eval A B`."""
