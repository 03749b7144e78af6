"""Whether the services are up, without starting one: the embedded ones as `flytewheel status` sees them, those in the
environment by one question each, with a deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from flytewheel.database import connect
from flytewheel.doctor.findings import Finding, doubtful, missing
from flytewheel.errors import FlytewheelError, RouterError, SettingsError
from flytewheel.local import stack
from flytewheel.local.answering import router_answers
from flytewheel.local.stack import ServiceStatus
from flytewheel.local.state import NAMES, assemble, embedded_parts
from flytewheel.settings import PREFIX, Settings
from registry.store import ObjectStore

T = TypeVar("T")
DEADLINE_S = 4.0
_CONNECT_S = 2


def look(settings: Settings, *, deadline_s: float = DEADLINE_S) -> tuple[list[ServiceStatus], list[Finding]]:
    """How the services are, and what keeps a turn from using them."""
    try:
        embedded = embedded_parts(settings)
        found = within(deadline_s, lambda: stack.status(settings))
    except SettingsError as error:
        what, _, remedy = str(error).partition(": set ")
        return [], [missing(what, f"set {remedy}")]
    except FlytewheelError as error:
        return [], [_faulty(error)]
    if found is None:
        return [], [doubtful(f"the embedded services do not answer within {deadline_s:.0f} s", "flytewheel up")]
    answered = {name: _Asked(_QUESTIONS[name], settings) for name in NAMES if name not in embedded}
    findings = []
    for position, name in enumerate(NAMES):
        service = found[position]
        if name in answered:
            fault = answered[name].fault(deadline_s)
            found[position] = replace(service, state="not answering" if fault else "answering")
            if fault:
                findings.append(fault)
        elif service.state in ("died", "not answering"):
            findings.append(doubtful(f"{service.name}: {service.state}", "flytewheel up (a turn starts it again too)"))
    return found, findings


def _ask_database(settings: Settings) -> None:
    with connect(settings.database_url or "", timeout_s=_CONNECT_S):
        pass


def _ask_store(settings: Settings) -> None:
    there = assemble(settings, None)
    keys = (there.s3_access_key, there.s3_secret_key)
    ObjectStore(there.s3_url, *keys, there.s3_bucket, there.s3_region).has_bucket()  # a missing one is made by a turn


def _ask_router(settings: Settings) -> None:
    if not router_answers(settings.router_url or ""):
        raise RouterError(
            f"the router at {settings.router_url} does not answer /healthz; start it, "
            f"or unset {PREFIX}ROUTER_URL for the embedded one"
        )


_QUESTIONS: dict[str, Callable[[Settings], None]] = {
    "postgres": _ask_database,
    "objects": _ask_store,
    "router": _ask_router,
}


class _Asked:
    """A question that is being put while others are."""

    def __init__(self, question: Callable[[Settings], None], settings: Settings) -> None:
        self._call = _Call(lambda: question(settings))

    def fault(self, deadline_s: float) -> Finding | None:
        try:
            answered = self._call.done(deadline_s)
        except FlytewheelError as error:
            return _faulty(error)
        return None if answered else missing(f"a service gives no answer within {deadline_s:.0f} s", "see that it runs")


def _faulty(error: FlytewheelError) -> Finding:
    what, _, remedy = str(error).partition("; ")
    return missing(what, remedy or "see flytewheel status")


def within(deadline_s: float, question: Callable[[], T]) -> T | None:
    """What `question` answers; `None` where it takes longer. What it raises is raised."""
    call = _Call(question)
    return call.answer if call.done(deadline_s) else None


class _Call:
    """A question put from a thread that nobody waits for at the end: a name service may hang for long."""

    def __init__(self, question: Callable[[], Any]) -> None:
        self.answer: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._put, args=(question,), daemon=True)
        self._thread.start()

    def _put(self, question: Callable[[], Any]) -> None:
        try:
            self.answer = question()
        except BaseException as error:  # handed to who waits
            self._error = error

    def done(self, deadline_s: float) -> bool:
        self._thread.join(deadline_s)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()
