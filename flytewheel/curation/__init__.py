"""Station *curate*: a closed window of feedback becomes a frozen data set with a card that accounts for every row."""
