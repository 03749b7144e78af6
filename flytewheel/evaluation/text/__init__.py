"""What the words of an answer say, beside those of its reference."""
