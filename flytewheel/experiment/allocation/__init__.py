"""Allocation: which arm a new user is given, by a fixed share or by what the arms have earned so far."""
