"""Where a task finds the services, its secrets and environment, else the embedded stack of this machine; and which
execution it belongs to.
"""

from __future__ import annotations

import secrets

from flytekit import current_context
from flytekit.exceptions.user import FlyteRecoverableException

from flytewheel.errors import DatabaseError, RouterError, StoreError
from flytewheel.local.services import Services, ensure_services
from flytewheel.settings import read_settings

_PROCESS = secrets.token_hex(4)


def connect() -> Services:
    """The services of this task; starts the embedded stack when none is configured, and says where.

    Raises:
        FlyteRecoverableException: a service is away, on a cluster: Flyte tries a task again only where it is told so.
    """
    try:
        return ensure_services(read_settings(), announce=lambda line: print(line, flush=True))
    except (DatabaseError, StoreError, RouterError) as error:
        if current_context().execution_id.name == "local":
            raise
        raise FlyteRecoverableException(str(error)) from error


def name_fresh_start() -> str | None:
    """The execution, where it was asked to train anew; a task that is tried again has the same name and starts once."""
    return name_execution() if read_settings().fresh else None


def find_database() -> str:
    """The address of PostgreSQL alone: who notes a failure may not need the service that failed."""
    return read_settings().database_url or connect().database_url


def name_execution() -> str:
    """The execution's name. Flyte calls every local one `local`, though each is a process of its own: ours differ."""
    name = str(current_context().execution_id.name)
    return f"local-{_PROCESS}" if name == "local" else name
