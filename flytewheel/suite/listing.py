"""What a person sees of a suite: every case with what came of it last, and whether it counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from flytewheel.records import RegressionCase, to_jsonable
from flytewheel.suite.mutes import Mute, list_mutes
from flytewheel.suite.store import Kept, Outcome, list_kept, read_outcomes


@dataclass(frozen=True, slots=True)
class Line:
    """One case. `case` is missing where a recipe's file holds it; `mute` is its newest one that was not lifted."""

    id: str
    origin: str
    check: str
    case: RegressionCase | None
    state: Literal["counts", "muted", "retired", "quarantined"]
    last: Outcome | None
    mute: Mute | None
    mute_expired: bool
    kept: Kept | None

    @property
    def expected(self) -> str | None:
        return self.case.expected if self.case else None

    def describe_state(self) -> str:
        if self.state == "muted" and self.mute is not None:
            return f"muted until {self.mute.until:%Y-%m-%d %H:%M} by {self.mute.muted_by}: {self.mute.reason}"
        if self.state == "retired" and self.kept is not None:
            return f"retired by {self.kept.retired_by}: {self.kept.retired_reason}"
        if self.state == "quarantined":
            return "its vote is in quarantine"
        if self.mute_expired and self.mute is not None:
            return f"counts; mute expired {self.mute.until:%Y-%m-%d %H:%M} ({self.mute.reason})"
        return "counts"

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "origin": self.origin,
            "check": self.check,
            "state": self.state,
            "case": to_jsonable(self.case),
            "added_at": self.kept.added_at.isoformat() if self.kept else None,
            "run_id": self.kept.run_id if self.kept else None,
            "retired": {"by": self.kept.retired_by, "reason": self.kept.retired_reason, "at": self.kept.retired_at}
            if self.kept and self.kept.retired_at
            else None,
            "last": to_jsonable(self.last),
            "mute": {**to_jsonable(self.mute), "expired": self.mute_expired} if self.mute else None,
        }


def list_suite(database_url: str, name: str, now: datetime) -> list[Line]:
    """The suite of model `name`, by id: the stored cases, and those of recipes' files that were asked before.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    kept = {one.case.id: one for one in list_kept(database_url, name)}
    outcomes = read_outcomes(database_url, name)
    mutes: dict[str, Mute] = {}
    for found in list_mutes(database_url, name):
        if found.lifted_at is None:
            mutes.setdefault(found.case_id, found)
    lines = []
    # What came of a derived case stays when its words are erased; without them it is no case any more.
    asked = {case_id for case_id, last in outcomes.items() if last.origin == "written"}
    for case_id in sorted(set(kept) | asked):
        one, last, mute = kept.get(case_id), outcomes.get(case_id), mutes.get(case_id)
        muted = mute is not None and mute.is_active(now)
        state: Literal["counts", "muted", "retired", "quarantined"] = "muted" if muted else "counts"
        if one is not None and not one.counts:
            state = "retired" if one.retired_at is not None else "quarantined"
        lines.append(
            Line(
                case_id,
                one.case.origin if one else (last.origin if last else ""),
                one.case.check if one else (last.check if last else ""),
                one.case if one else None,
                state,
                last,
                mute,
                mute is not None and mute.is_expired(now),
                one,
            )
        )
    return lines
