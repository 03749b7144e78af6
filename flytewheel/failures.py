"""What a workflow that failed leaves behind, whatever else is away by then: a line on the run, an entry in the
registry's log, a message to people. What Flyte's `on_failure` node calls (tasks/report.py).

Flyte's error names a node and carries a message. Its local execution knows only `fn0`, a cluster only `n3`, so the task
named in the message wins; where none is (errors with a text of their own, such as OSError), the run's last station is
the one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flytewheel import runs
from flytewheel.announcements import announce_failure
from flytewheel.errors import DatabaseError, FlytewheelError
from flytewheel.local.pyflyte import FAILED
from flytewheel.notify.message import Message, to_line
from registry.versions import Registry

_TASK = re.compile(r"'?tasks\.\w+\.(\w+)'?")
_NODE = re.compile(r"([a-z]*n\d+(-.*)?)?")  # what Flyte calls nodes that nobody named


@dataclass(frozen=True, slots=True)
class Failure:
    """Which station of which execution failed, and the cause in one line. `run_id` is empty where it opened none;
    `note` says what could not be noted.
    """

    name: str
    execution: str
    station: str
    cause: str
    at: datetime
    run_id: str = ""
    note: str = ""

    @property
    def line(self) -> str:
        """For a person at a terminal; `flytewheel run` looks for it."""
        run = f"run {self.run_id}: " if self.run_id else ""
        return f"{FAILED}{run}station {self.station} failed: {self.cause}{self.note}"

    def to_message(self) -> Message:
        """What people are told, once for an execution and station."""
        return announce_failure(
            self.name, self.execution, station=self.station, cause=self.cause, at=self.at, run_id=self.run_id
        )


def note_on_run(database_url: str, name: str, execution: str, node: str, message: str, *, at: datetime) -> Failure:
    """Notes on the run which station failed and why, even when PostgreSQL is away.

    Args:
        database_url: PostgreSQL; nothing else is needed, since anything else may be what failed.
        name: the model.
        execution: id of the execution that failed, as `open_turn` was given it.
        node: Flyte's id of the failed node.
        message: Flyte's error.
        at: now.
    """
    found = _TASK.search(message)
    station = found.group(1) if found else None if _NODE.fullmatch(node) else node
    cause = find_cause(message)
    try:
        run = runs.fail_open_run(database_url, execution, station=station, error=cause)
    except DatabaseError:
        away = " (not noted on the run: PostgreSQL is away)"
        return Failure(name, execution, station or "unknown", cause, at, note=away)
    if run is None:
        return Failure(name, execution, station or "open_turn", cause, at)
    return Failure(name, execution, run.station or "unknown", cause, at, run.run_id)


def find_cause(message: str) -> str:
    """The line of Flyte's message that says what went wrong: a pod's stands behind `Message:`, a local one's behind the
    line that names the task; else it is the last one with a word in it.
    """
    lines = [line.strip() for line in message.splitlines() if any(char.isalnum() for char in line)]
    for number in range(len(lines) - 2, -1, -1):
        if lines[number] == "Message:" or lines[number].startswith("Error encountered while executing"):
            return to_line(lines[number + 1], 2000)
    return to_line(lines[-1], 2000) if lines else "no message"


def note_in_registry(open_registry: Callable[[], Registry], failure: Failure) -> str:
    """Writes it into the registry's log, once; what became of that, in a few words.

    Args:
        open_registry: opens it only here, since the store may be what failed.
        failure: what to write.
    """
    try:
        written = open_registry().note_failure(
            failure.name,
            failure.at,
            execution=failure.execution,
            station=failure.station,
            cause=failure.cause,
            run=failure.run_id,
        )
    except FlytewheelError as error:
        return f"not in the registry's log: {error}"
    return "in the registry's log" if written else "in the registry's log already"
