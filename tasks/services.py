"""Where a task finds the services: its secrets and environment, else the embedded stack of this machine."""

from __future__ import annotations

from flytewheel.local.services import Services, ensure_services
from flytewheel.settings import read_settings


def connect() -> Services:
    """The services of this task; starts the embedded stack when none is configured, and says where."""
    return ensure_services(read_settings(), announce=lambda line: print(line, flush=True))
