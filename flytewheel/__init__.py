"""flytewheel: people's reactions to a model's answers become next week's model."""

__version__ = "0.1.0"
