"""What an experiment's counts say: `look.analyse` for every reader; the other modules hold one formula each."""
