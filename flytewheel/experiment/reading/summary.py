"""Experiments in a list: a line each with the last verdict. One statement, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flytewheel.database import connect
from flytewheel.experiment.reading.history import LOOKS
from flytewheel.experiment.reading.sentence import VERDICTS

_SUMMARY = """
SELECT e.experiment_id, e.name, e.state, e.control, e.treatment, e.share, e.reason, e.created_at, e.stopped_at,
    r.stage, r.state, look.action, look.detail -> 'evidence' -> 'users', look.at
FROM experiments e LEFT JOIN rollouts r USING (experiment_id)
    LEFT JOIN LATERAL (
        SELECT action, detail, at FROM rollout_log WHERE rollout_id = r.rollout_id AND action = ANY(%(looks)s)
        ORDER BY entry DESC LIMIT 1
    ) AS look ON true
WHERE (%(name)s::text IS NULL OR e.name = %(name)s) AND (NOT %(running)s OR e.state = 'running')
ORDER BY e.created_at DESC, e.experiment_id LIMIT %(most)s
"""
_DECIDED = ("promote", "roll_back", "stop_for_srm", "reject_at_max_duration")


@dataclass(frozen=True, slots=True)
class Summary:
    """`users` were counted by the last look, of all arms together; `verdict` is in words."""

    experiment_id: str
    name: str
    state: str
    control: str
    treatment: str
    share: float
    reason: str | None
    created_at: datetime | None
    stopped_at: datetime | None
    stage: int | None
    rollout: str | None
    verdict: str
    users: int | None
    looked_at: datetime | None


def summarise(database_url: str, *, name: str | None = None, running: bool = False, most: int = 500) -> list[Summary]:
    """The newest `most` experiments, the newest first.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    given = {"name": name, "running": running, "most": most, "looks": list(LOOKS)}
    with connect(database_url) as connection:
        rows = connection.execute(_SUMMARY, given).fetchall()
    found = []
    for *plain, action, users, at in rows:
        verdict = _word(plain[2], plain[10], action)
        found.append(Summary(*[*plain, verdict, sum(users.values()) if users else None, at]))
    return found


def _word(state: str, rollout: str | None, action: str | None) -> str:
    if state == "draft":
        return VERDICTS["draft"]
    if rollout == "promoted":
        return VERDICTS["promote"]
    if state == "running":
        return VERDICTS[action or "none"]
    return VERDICTS[action] if action in _DECIDED and action != "promote" else VERDICTS["stopped"]
