"""Judges a candidate against the model in service, on users that neither of them was trained on."""
