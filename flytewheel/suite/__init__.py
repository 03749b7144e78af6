"""The regression suite of a model: its checks, and how it is kept, grown and muted. Not a station: several share it."""
