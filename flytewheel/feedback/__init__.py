"""Listening: reactions become stored rows, rows become rewards, a window freezes what a run learns from."""
