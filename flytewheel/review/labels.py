"""What people said of duels: the last word of each reviewer, and what a duel's reviewers say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from flytewheel.database import connect
from flytewheel.records import ReviewLabel
from flytewheel.review.deal import LABELS
from flytewheel.review.store import name_review

Preferred = Literal["ours", "theirs", "tie"]

_LAST = """
SELECT DISTINCT ON (l.review_id, l.duel_id COLLATE "C", l.reviewer COLLATE "C")
    l.review_id, l.duel_id, l.reviewer, l.said AS preferred, l.comment, l.at, d.shared, d.ours
FROM review_labels l JOIN review_duels d USING (review_id, duel_id) WHERE {where}
ORDER BY l.review_id, l.duel_id COLLATE "C", l.reviewer COLLATE "C", l.entry DESC
"""


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """A label with what belongs to it. `ours` is the text that was the candidate's in its review."""

    review_id: str
    duel_id: str
    reviewer: str
    preferred: Preferred
    comment: str
    at: datetime
    shared: bool
    ours: str

    @property
    def record(self) -> ReviewLabel:
        return ReviewLabel(self.duel_id, self.reviewer, self.preferred)


def read_labels(database_url: str, review_id: str) -> list[StoredLabel]:
    """The labels of a review that count, by duel and reviewer: neither withdrawn nor skipped.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    return _read(database_url, "l.review_id = %(review_id)s", {"review_id": review_id})


def labels_of(
    database_url: str, duel_ids: Iterable[str] | None = None, *, ours: Mapping[str, str] | None = None
) -> list[ReviewLabel]:
    """The labels of some duels, whatever review they come from; a reviewer's newest of each counts.

    Args:
        database_url: PostgreSQL.
        duel_ids: `records.duel_id` of each; `None`: all that there are.
        ours: duel → the answer that is the candidate's *now*. A duel does not say which answer is whose, and last
            week's candidate may be this week's champion: its label is turned round then.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    wanted = None if duel_ids is None else sorted(set(duel_ids))
    found = _read(
        database_url, "%(all)s OR l.duel_id = ANY(%(wanted)s)", {"all": wanted is None, "wanted": wanted or []}
    )
    newest: dict[tuple[str, str], StoredLabel] = {}
    for label in sorted(found, key=lambda each: (each.at, each.review_id)):
        newest[label.duel_id, label.reviewer] = label
    turned: dict[Preferred, Preferred] = {"ours": "theirs", "theirs": "ours", "tie": "tie"}
    records = []
    for name in sorted(newest):
        label = newest[name]
        now = (ours or {}).get(label.duel_id, label.ours)
        preferred = label.preferred if now == label.ours else turned[label.preferred]
        records.append(ReviewLabel(label.duel_id, label.reviewer, preferred))
    return records


def labels_of_run(database_url: str, run_id: str) -> list[ReviewLabel]:
    """What people said of a run's own duels, for the judge of that run when it is evaluated again.

    `ours` is that run's candidate. A run without a review has none.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    return [label.record for label in read_labels(database_url, name_review(run_id))]


def decide(said: Iterable[str]) -> Preferred | None:
    """What several people say of one duel: the answer that more of them preferred; ties, and as many each way, tie.

    Returns:
        `None` where nobody said anything.
    """
    counts = Counter(said)
    if not counts:
        return None
    if counts["ours"] == counts["theirs"]:
        return "tie"
    winner: Preferred = "ours" if counts["ours"] > counts["theirs"] else "theirs"
    return winner if 2 * counts[winner] > counts.total() else "tie"


def _read(database_url: str, where: str, given: Mapping[str, object]) -> list[StoredLabel]:
    with connect(database_url) as connection, connection.cursor(row_factory=class_row(StoredLabel)) as cursor:
        rows = cursor.execute(_LAST.format(where=where).encode(), given).fetchall()
    return [row for row in rows if row.preferred in LABELS]
