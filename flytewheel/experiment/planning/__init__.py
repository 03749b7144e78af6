"""Planning an experiment: what it can decide with the traffic that there is, and in how many days."""
