"""Evaluations to be reviewed, for the tests: lines as `answers.jsonl` has them."""

from __future__ import annotations

from typing import Any

from flytewheel.recipe import ReviewSpec
from flytewheel.records import build_prompt
from flytewheel.review import desk
from flytewheel.review.store import Review, list_duels, open_review

SYSTEM = "You help people on call."
SALT = "salt-of-the-tests"


def make_line(number: int, user: str | None = None, **fields: Any) -> dict[str, Any]:
    given = {
        "kind": "test",
        "id": f"row-{number}",
        "user": user or f"user-{number % 7}",
        "topic": "disk",
        "prompt": build_prompt(f"How do I free the disk of host number {number}?", system=SYSTEM),
        "candidate": f"Look at the disk usage of host {number}, then prune its logs and check that writes succeed.",
        "champion": f"Perhaps restart host {number} and wait a while, or ask in the channel what others did.",
        "reference": "Prune the logs.",
    }
    return {**given, **fields}


def put_up(database_url: str, run_id: str = "run-1", count: int = 10, shared: float = 0.2, **fields: Any) -> Review:
    given: dict[str, Any] = {"name": "oncall", "system": SYSTEM, "salt": SALT, "spec": ReviewSpec(shared=shared)}
    lines = fields.pop("lines", None) or [make_line(number) for number in range(count)]
    found = open_review(database_url, run_id, lines, **{**given, **fields})
    assert found is not None
    return found


def prefer(database_url: str, review: Review, reviewer: str, wanted: str, *, comment: str = "") -> str | None:
    """One reviewer answers the duel before them: `ours`, `theirs`, `tie` or `skip`; gives the duel."""
    shown = desk.show_next(database_url, review.review_id, reviewer, more=True)
    if shown is None:
        return None
    ours = next(duel.ours for duel in list_duels(database_url, review.review_id) if duel.duel_id == shown.duel_id)
    side: desk.Choice = "left" if (shown.left == ours) is (wanted == "ours") else "right"
    choice: desk.Choice = side if wanted in ("ours", "theirs") else "tie" if wanted == "tie" else "skip"
    desk.say(database_url, review.review_id, reviewer, shown.duel_id, choice, comment=comment)
    return shown.duel_id
