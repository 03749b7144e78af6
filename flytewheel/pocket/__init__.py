"""The embedded base model "pocket": its invented on-call world, its corpus, its weights, and its users."""
