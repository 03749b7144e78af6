"""Where learning stands, read from what runs and looks left in PostgreSQL: no recipe is needed.

*Incremental*: the buffer is what came in since the last turn's window; its size is what makes a small turn due, as the
newest run's recipe says. Updates are small turns that came to their end; an update's time is that of its training
stations; the error trend is their validation loss, the newest last. *Retraining*: full turns and the looks at the
triggers, by cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from flytewheel.database import Connection, connect
from flytewheel.recipe import IncrementalSpec

Trend = Literal["falling", "rising", "flat", "unknown"]
TREND_LENGTH = 10
_FLAT = 0.01  # relative: a validation loss that moved by less did not move

_TURNS = """
SELECT run_id, status, started_at, ended_at, coalesce(recipe ->> 'mode', 'full'), "window" ->> 'high_xid',
    recipe #> '{automation,incremental}', coalesce("window" -> 'sources', '[]'::jsonb)
FROM runs WHERE name = %s ORDER BY started_at DESC
"""
_UPDATES = """
SELECT r.run_id, r.ended_at, (s.report ->> 'eval_loss')::float8, coalesce((
    SELECT sum(extract(epoch FROM t.ended_at - t.started_at)) FROM run_stations t
    WHERE t.run_id = r.run_id AND t.station IN ('train_sft', 'align')), 0)::float8
FROM runs r LEFT JOIN run_stations s ON s.run_id = r.run_id AND s.station = 'train_sft'
WHERE r.name = %s AND r.status = 'succeeded' AND r.recipe ->> 'mode' = 'incremental' ORDER BY r.ended_at DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Update:
    """One small turn: `seconds` of training, `error` the validation loss that it ended with."""

    run_id: str
    ended_at: datetime
    error: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Buffer:
    """Interactions that the next small turn would learn from, and how many make one due."""

    interactions: int
    size: int

    @property
    def use(self) -> float:
        """How full it is; 1 and more is due."""
        return self.interactions / self.size


@dataclass(frozen=True, slots=True)
class LearningStanding:
    """Where small turns of one model stand. `updates` are the last ones, the newest first."""

    name: str
    enabled: bool
    in_progress: bool
    buffer: Buffer
    total_updates: int
    updates: tuple[Update, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        last = self.updates[0] if self.updates else None
        errors = [update.error for update in reversed(self.updates) if update.error is not None]
        return {
            "name": self.name,
            "enabled": self.enabled,
            "in_progress": self.in_progress,
            "buffer_size": self.buffer.size,
            "buffer_interactions": self.buffer.interactions,
            "buffer_use": self.buffer.use,
            "total_updates": self.total_updates,
            "last_update_at": None if last is None else last.ended_at.isoformat(),
            "last_update_seconds": None if last is None else last.seconds,
            "error_trend": {"direction": find_trend(errors), "validation_losses": errors},
        }


@dataclass(frozen=True, slots=True)
class RetrainingStanding:
    """Where full turns of one model stand. `totals` counts launches by cause, `drift` is the last look's D."""

    name: str
    in_progress: bool
    run_id: str | None
    last_at: datetime | None
    last_status: str | None
    new_interactions: int
    totals: Mapping[str, int] = field(default_factory=dict)
    drift: float | None = None
    looked_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "name": self.name,
            "in_progress": self.in_progress,
            "run_id": self.run_id,
            "last_retrained_at": None if self.last_at is None else self.last_at.isoformat(),
            "last_status": self.last_status,
            "new_interactions": self.new_interactions,
            "totals_by_cause": dict(self.totals),
            "last_drift_score": self.drift,
            "last_look_at": None if self.looked_at is None else self.looked_at.isoformat(),
        }


def list_names(database_url: str) -> list[str]:
    """The models that runs or requests are known of."""
    with connect(database_url) as connection:
        rows = connection.execute("SELECT name FROM runs UNION SELECT name FROM turn_requests ORDER BY 1").fetchall()
    return [row[0] for row in rows]


def read_learning(database_url: str, name: str) -> LearningStanding:
    """Where small turns of a model stand.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        turns = connection.execute(_TURNS, (name,)).fetchall()
        updates = connection.execute(_UPDATES, (name, TREND_LENGTH)).fetchall()
        total = connection.execute(
            "SELECT count(*) FROM runs WHERE name = %s AND status = 'succeeded' AND recipe ->> 'mode' = 'incremental'",
            (name,),
        ).fetchone()
        waiting = _count_new(connection, name, turns, full_only=False)
    spec = next((turn[6] for turn in turns if isinstance(turn[6], dict)), {})
    default = IncrementalSpec()
    return LearningStanding(
        name=name,
        enabled=bool(spec.get("enable", default.enable)),
        in_progress=any(turn[1] == "running" and turn[4] == "incremental" for turn in turns),
        buffer=Buffer(waiting, max(1, int(spec.get("after_interactions", default.after_interactions)))),
        total_updates=int(total[0]) if total else 0,
        updates=tuple(Update(*row) for row in updates),
    )


def read_retraining(database_url: str, name: str) -> RetrainingStanding:
    """Where full turns of a model stand.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        turns = [turn for turn in connection.execute(_TURNS, (name,)).fetchall() if turn[4] == "full"]
        new = _count_new(connection, name, turns, full_only=True)
        totals = connection.execute(
            "SELECT cause, count(*) FROM trigger_looks, unnest(causes) AS cause"
            " WHERE name = %s AND execution IS NOT NULL GROUP BY cause ORDER BY cause",
            (name,),
        ).fetchall()
        last_look = connection.execute(
            "SELECT at, (report ->> 'drift')::float8 FROM trigger_looks WHERE name = %s ORDER BY entry DESC LIMIT 1",
            (name,),
        ).fetchone()
    ended = next((turn for turn in turns if turn[3] is not None), None)
    running = next((turn for turn in turns if turn[1] == "running"), None)
    return RetrainingStanding(
        name=name,
        in_progress=running is not None,
        run_id=None if running is None else running[0],
        last_at=None if ended is None else ended[3],
        last_status=None if ended is None else ended[1],
        new_interactions=new,
        totals=dict(totals),
        drift=None if last_look is None else last_look[1],
        looked_at=None if last_look is None else last_look[0],
    )


def find_trend(errors: Sequence[float]) -> Trend:
    """Where errors go, the oldest first: the mean of the newer half against the older half's."""
    if len(errors) < 2:
        return "unknown"
    half = len(errors) // 2
    older, newer = sum(errors[:half]) / half, sum(errors[-half:]) / half
    if abs(newer - older) <= _FLAT * abs(older):
        return "flat"
    return "falling" if newer < older else "rising"


def _count_new(connection: Connection, name: str, turns: Sequence[tuple[Any, ...]], *, full_only: bool) -> int:
    """Interactions stored since the last turn that ended well; of the streams that it learnt from."""
    last = next((turn for turn in turns if turn[1] == "succeeded" and (not full_only or turn[4] == "full")), None)
    mark, sources = ("0", [name]) if last is None else (last[5] or "0", list(last[7]) or [name])
    row = connection.execute(
        "SELECT count(*) FROM interactions WHERE source = ANY(%s) AND xid >= %s::xid8", (sources, mark)
    ).fetchone()
    return int(row[0]) if row else 0
