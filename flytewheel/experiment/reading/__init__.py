"""Reading an experiment: its looks over time, what has come of it, and that in a sentence."""
