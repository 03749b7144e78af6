"""What lies before one reviewer: the next duel, what they say of it, and what they take back.

Sides are named as the reviewer sees them; whose answer stands where never leaves this module. Everything said is kept
(`review_labels` grows only) and the last word counts, so a change and an undo are rows, too. Each call holds its review
locked: two reviewers who ask at once are dealt different duels, and no label slips in beside a closing.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.rows import class_row

from flytewheel.database import Connection, connect
from flytewheel.errors import ReviewError
from flytewheel.records import Message
from flytewheel.review.deal import DuelState, Said, choose_next, count_answered, stands_left
from flytewheel.review.store import Review, find_review, read_prompt

Choice = Literal["left", "right", "tie", "skip"]
MAX_NAME, MAX_COMMENT = 80, 4000

_STATES = """
WITH last AS (
    SELECT DISTINCT ON (reviewer, duel_id) reviewer, duel_id, said FROM review_labels
    WHERE review_id = %(review_id)s ORDER BY reviewer, duel_id, entry DESC
), others AS (
    SELECT s.duel_id, count(*) FILTER (WHERE said IN ('ours', 'theirs', 'tie')) AS labels,
        count(*) FILTER (WHERE said IS DISTINCT FROM 'skipped') AS holders
    FROM review_deals s LEFT JOIN last USING (reviewer, duel_id)
    WHERE s.review_id = %(review_id)s AND s.reviewer <> %(reviewer)s GROUP BY s.duel_id
)
SELECT d.duel_id, d.shared, s.place, mine.said, coalesce(labels, 0) AS labels, coalesce(holders, 0) AS holders
FROM review_duels d
LEFT JOIN review_deals s ON s.review_id = d.review_id AND s.duel_id = d.duel_id AND s.reviewer = %(reviewer)s
LEFT JOIN last mine ON mine.duel_id = d.duel_id AND mine.reviewer = %(reviewer)s
LEFT JOIN others ON others.duel_id = d.duel_id
WHERE d.review_id = %(review_id)s
"""
_DEAL = """
INSERT INTO review_deals (review_id, reviewer, duel_id, place)
SELECT %(review_id)s, %(reviewer)s, %(duel_id)s, coalesce(max(place) + 1, 0) FROM review_deals
WHERE review_id = %(review_id)s AND reviewer = %(reviewer)s
"""
_SAY = """
INSERT INTO review_labels (review_id, reviewer, duel_id, said, comment)
VALUES (%(review_id)s, %(reviewer)s, %(duel_id)s, %(said)s, %(comment)s)
"""
_LAST = """
SELECT said, comment FROM review_labels
WHERE review_id = %(review_id)s AND reviewer = %(reviewer)s AND duel_id = %(duel_id)s ORDER BY entry DESC LIMIT 1
"""
_LAST_OF_ALL = """
SELECT duel_id, comment FROM (
    SELECT DISTINCT ON (duel_id) duel_id, said, comment, entry FROM review_labels
    WHERE review_id = %(review_id)s AND reviewer = %(reviewer)s ORDER BY duel_id, entry DESC
) AS last WHERE said <> 'withdrawn' ORDER BY entry DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A duel as its reviewer sees it; `comment` is what they wrote before they took it back."""

    duel_id: str
    prompt: tuple[Message, ...]
    left: str
    right: str
    comment: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a reviewer is: of `duels`, `answered` need nothing more of them; `labelled` and `skipped` are their own.

    `seconds` are left for a second opinion.
    """

    duels: int
    answered: int
    labelled: int
    skipped: int
    seconds: int


def check_reviewer(name: str) -> str:
    """A reviewer's name in the one form in which it is compared.

    Raises:
        ReviewError: it is empty, too long, or holds what cannot be seen.
    """
    tidy = " ".join(unicodedata.normalize("NFC", name).split())
    if not tidy or len(tidy) > MAX_NAME or any(unicodedata.category(sign)[0] == "C" for sign in tidy):
        raise ReviewError(f"expected a reviewer's name of 1 to {MAX_NAME} visible characters, got {name[:100]!r}")
    return tidy


def show_next(database_url: str, review_id: str, reviewer: str, *, more: bool = False) -> Shown | None:
    """The duel before a reviewer, dealt to them now if none was; `more` deals second opinions as well.

    Raises:
        ReviewError: there is no such review, or it is closed.
    """
    with connect(database_url) as connection:
        review = _open(connection, review_id)
        given = _name(review, reviewer)
        chosen = choose_next(review.salt, reviewer, _read_states(connection, given), more=more)
        if chosen is None:
            return None
        given["duel_id"] = chosen.duel_id
        if chosen.place is None:
            connection.execute(_DEAL, given)
        return _show(connection, review, reviewer, given)


def say(
    database_url: str, review_id: str, reviewer: str, duel_id: str, choice: Choice, *, comment: str = ""
) -> Literal["stored", "duplicate"]:
    """Stores what a reviewer says of a duel; the same again changes nothing.

    Raises:
        ReviewError: the review is closed, the duel was not dealt to this reviewer, or the comment is too long.
    """
    comment = comment.replace("\x00", "").strip()
    if len(comment) > MAX_COMMENT:
        raise ReviewError(f"expected a comment of at most {MAX_COMMENT} characters, got {len(comment)}")
    with connect(database_url) as connection:
        review = _open(connection, review_id)
        given = {**_name(review, reviewer), "duel_id": duel_id.replace("\x00", "")}
        dealt = connection.execute(
            "SELECT FROM review_deals WHERE review_id = %(review_id)s AND reviewer = %(reviewer)s"
            " AND duel_id = %(duel_id)s",
            given,
        ).fetchone()
        if dealt is None:
            raise ReviewError(f"duel {duel_id[:80]!r} was not dealt to {reviewer}: ask for the next one")
        said = _translate(choice, ours_left=stands_left(review.salt, reviewer, duel_id))
        if connection.execute(_LAST, given).fetchone() == (said, comment):
            return "duplicate"
        connection.execute(_SAY, {**given, "said": said, "comment": comment})
        return "stored"


def undo(database_url: str, review_id: str, reviewer: str) -> str | None:
    """Takes back the last thing that a reviewer said; its duel is before them again.

    Returns:
        The duel, `None` where nothing is left to take back.

    Raises:
        ReviewError: there is no such review, or it is closed.
    """
    with connect(database_url) as connection:
        given: dict[str, Any] = _name(_open(connection, review_id), reviewer)
        last = connection.execute(_LAST_OF_ALL, given).fetchone()
        if last is None:
            return None
        connection.execute(_SAY, {**given, "duel_id": last[0], "said": "withdrawn", "comment": last[1]})
        return str(last[0])


def read_standing(database_url: str, review_id: str, reviewer: str) -> Standing:
    """How far a reviewer is, in an open review or a closed one.

    Raises:
        ReviewError: there is no such review.
    """
    with connect(database_url) as connection:
        review = find_review(connection, review_id)
        states = _read_states(connection, _name(review, reviewer))
    return Standing(
        duels=len(states),
        answered=count_answered(states),
        labelled=sum(state.said in ("ours", "theirs", "tie") for state in states),
        skipped=sum(state.said == "skipped" for state in states),
        seconds=sum(state.place is None and not state.shared and state.labels > 0 for state in states),
    )


def _open(connection: Connection, review_id: str) -> Review:
    review = find_review(connection, review_id, lock="FOR UPDATE")
    if not review.open:
        raise ReviewError(f"review {review.review_id} is closed: its labels went into the next data set")
    return review


def _name(review: Review, reviewer: str) -> dict[str, Any]:
    return {"review_id": review.review_id, "reviewer": reviewer}


def _read_states(connection: Connection, given: dict[str, Any]) -> list[DuelState]:
    with connection.cursor(row_factory=class_row(DuelState)) as cursor:
        return cursor.execute(_STATES, given).fetchall()


def _show(connection: Connection, review: Review, reviewer: str, given: dict[str, Any]) -> Shown:
    row = connection.execute(
        "SELECT prompt, ours, theirs FROM review_duels WHERE review_id = %(review_id)s AND duel_id = %(duel_id)s", given
    ).fetchone()
    last = connection.execute(_LAST, given).fetchone()
    assert row is not None  # the review is locked, and the duel was read a moment ago
    sides = (row[1], row[2]) if stands_left(review.salt, reviewer, given["duel_id"]) else (row[2], row[1])
    return Shown(given["duel_id"], read_prompt(row[0]), *sides, comment=last[1] if last else "")


def _translate(choice: Choice, *, ours_left: bool) -> Said:
    if choice == "tie":
        return "tie"
    if choice == "skip":
        return "skipped"
    return "ours" if (choice == "left") is ours_left else "theirs"
