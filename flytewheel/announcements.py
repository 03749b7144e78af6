"""What people are told of a turn and of a release: the wording, and whom it wakes.

A failed turn is an incident of its model; the next one that ends resolves it. A canary that is taken back did its work,
yet somebody should look: a warning, and an error where it did harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from flytewheel.notify.message import Message, Severity, to_line

_DECISIONS: Mapping[str, tuple[Severity, str]] = {
    "advance": ("info", "the canary grows"),
    "promote": ("info", "promoted"),
    "roll_back": ("error", "the canary did harm and is taken back"),
    "stop_for_srm": ("error", "stopped: users an arm contradict the shares"),
    "reject_at_max_duration": ("warning", "not cleared in time: the canary is taken back"),
}


def announce_turn(name: str, run_id: str, facts: Mapping[str, str], *, at: datetime, link: str = "") -> Message:
    """A turn that came to its end, whatever its gate said."""
    verdict = facts.get("verdict") or facts.get("gate") or "ended"
    return Message(
        key=f"{run_id}:ended",
        name=name,
        severity="info",
        title=to_line(f"turn {run_id} ended: {verdict}", 300),
        at=at,
        facts=facts,
        incident=_incident(name),
        link=link,
    )


def announce_failure(
    name: str, execution: str, *, station: str, cause: str, at: datetime, run_id: str = "", link: str = ""
) -> Message:
    """A workflow whose station failed: which, which execution, and the cause in one line."""
    facts = {"station": station, "execution": execution, "cause": to_line(cause, 1000)}
    return Message(
        key=f"{execution}:{station}:failed",
        name=name,
        severity="error",
        title=to_line(f"{station} failed: {cause}", 300),
        at=at,
        facts={**facts, "run": run_id} if run_id else facts,
        incident=_incident(name),
        link=link,
    )


def announce_decision(
    name: str, experiment_id: str, decision: str, reasons: Sequence[str], *, fence: int, at: datetime, link: str = ""
) -> Message | None:
    """A step of a release; None where nothing changed. `fence` is the rollout's after it: each step is told once."""
    if decision not in _DECISIONS:
        return None
    severity, words = _DECISIONS[decision]
    return Message(
        key=f"{experiment_id}:{decision}:{fence}",
        name=name,
        severity=severity,
        title=words,
        at=at,
        facts={"experiment": experiment_id, "decision": decision, "because": "; ".join(reasons)},
        incident=f"{name} {experiment_id}",
        link=link,
    )


def _incident(name: str) -> str:
    return f"{name} turn"
