"""The services of this process: those named in the environment, else the embedded stack.

Every command and workflow asks here, so that none of them needs `flytewheel up` first. On a Flyte cluster nothing
embedded is started: a stack inside one task's container would end with it, and the next task would not see its data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from flytewheel.errors import StackError
from flytewheel.local import processes, stack
from flytewheel.local.state import NAMES, Services, assemble, embedded_parts, read_state
from flytewheel.settings import Settings

__all__ = ["Services", "ensure_services", "find_services"]

_VARIABLES = {
    "postgres": "FLYTEWHEEL_DATABASE_URL",
    "objects": "FLYTEWHEEL_S3_URL",
    "router": "FLYTEWHEEL_ROUTER_URL",
}
_CLUSTER = "FLYTE_INTERNAL_EXECUTION_ID"  # set in every task container, never by a local run


def ensure_services(
    settings: Settings,
    *,
    announce: Callable[[str], None] = print,
    with_router: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Services:
    """The services, started on this machine where none is configured and none runs yet.

    Args:
        settings: services configured there are used as they are, after a check that they answer.
        announce: is told, line by line, what is started and where it is.
        with_router: `False` where only the database and the object store are wanted.
        environ: of this process; tells a task container of a cluster from a local run.

    Raises:
        StackError: the embedded stack could not be started, or may not be on a Flyte cluster.
        DatabaseError: the configured PostgreSQL is away.
        StoreError: the configured object store is away or refuses its keys.
        RouterError: the configured router is away.
        SettingsError: a configured service lacks its keys.
    """
    environ = os.environ if environ is None else environ
    needed = [name for name in embedded_parts(settings) if with_router or name != "router"]
    execution = environ.get(_CLUSTER, "")
    if needed and execution and execution != "local":
        variables = ", ".join(_VARIABLES[name] for name in needed)
        raise StackError(
            f"execution {execution} runs on a Flyte cluster, where no embedded stack is started: "
            f"set {variables} and the keys in the task's environment or secrets"
        )
    return stack.up(settings, announce=announce, with_router=with_router)


def find_services(settings: Settings) -> Services:
    """The services that are configured or run already; starts and asks nothing.

    Raises:
        StackError: an embedded one that is needed does not run.
        SettingsError: a configured service lacks its keys.
    """
    state = read_state(settings.home.absolute())
    missing = [
        NAMES[name]
        for name in embedded_parts(settings)
        if state is None or not processes.is_alive(state.parts[name].process)
    ]
    if missing:
        raise StackError(f"not running under {settings.home}: {', '.join(missing)}; start with `flytewheel up`")
    return assemble(settings, state)
