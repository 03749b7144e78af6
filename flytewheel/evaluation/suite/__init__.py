"""The regression suite: prompts whose answers must pass a check, for ever."""
