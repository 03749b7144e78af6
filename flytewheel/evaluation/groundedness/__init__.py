"""Groundedness: which numbers, names, commands, identifiers and quotations of an answer its context does not hold."""
