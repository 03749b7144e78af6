"""A candidate that sees a copy of the traffic and answers nobody (flytewheel/experiment/shadows.py)."""

from router.shadow.room import Shadows as Shadows
