"""Reviews in PostgreSQL: what an evaluation puts up, once a run.

A duel is a test prompt to which both models gave answers that differ by more than white space. An evaluation that runs
again finds its review: duels that it brings again stay with their labels, new ones come along, and those that it no
longer brings go unless somebody has seen them. A closed review never changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from flytewheel.database import Connection, connect
from flytewheel.errors import ReviewError
from flytewheel.recipe import ReviewSpec
from flytewheel.records import Message, duel_id, to_jsonable
from flytewheel.review.deal import choose_duels, choose_shared

_COLUMNS = """
SELECT r.review_id, r.run_id, r.name, r.system, r.shared, r.salt, r.opened_at, r.closed_at, r.stored,
    (SELECT count(*) FROM review_duels d WHERE d.review_id = r.review_id) AS duels,
    (SELECT count(*) FROM review_duels d WHERE d.review_id = r.review_id AND d.shared) AS common
FROM reviews r
"""
_INSERT_REVIEW = """
INSERT INTO reviews (review_id, run_id, name, system, shared, salt)
VALUES (%(review_id)s, %(run_id)s, %(name)s, %(system)s, %(shared)s, %(salt)s) ON CONFLICT DO NOTHING
"""
_INSERT_DUEL = """
INSERT INTO review_duels (review_id, duel_id, user_id, topic, prompt, ours, theirs, shared)
VALUES (%(review_id)s, %(duel_id)s, %(user_id)s, %(topic)s, %(prompt)s, %(ours)s, %(theirs)s, %(shared)s)
ON CONFLICT (review_id, duel_id) DO UPDATE SET shared = excluded.shared
WHERE NOT EXISTS (
    SELECT FROM review_deals s WHERE s.review_id = excluded.review_id AND s.duel_id = excluded.duel_id)
"""
_DROP_UNSEEN = """
DELETE FROM review_duels d WHERE review_id = %(review_id)s AND duel_id <> ALL(%(kept)s)
AND NOT EXISTS (SELECT FROM review_deals s WHERE s.review_id = d.review_id AND s.duel_id = d.duel_id)
"""


@dataclass(frozen=True, slots=True)
class Duel:
    """Both answers to one prompt: the candidate's (`ours`) and the champion's (`theirs`). `user` asked."""

    duel_id: str
    user: str
    topic: str
    prompt: tuple[Message, ...]
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Review:
    """The duels of one run's evaluation; `common` of its `duels` are shown to every reviewer.

    `system` is the recipe's own system prompt, `salt` decides sides and orders, `stored` says what closing wrote.
    """

    review_id: str
    run_id: str
    name: str
    system: str | None
    shared: float
    salt: str
    opened_at: datetime
    closed_at: datetime | None
    stored: Mapping[str, Any] | None
    duels: int
    common: int

    @property
    def open(self) -> bool:
        return self.closed_at is None


def name_review(run_id: str) -> str:
    """The id of a run's review. A run's own id would tell reviewers the model's name."""
    return "r-" + hashlib.sha256(f"review of {run_id}".encode()).hexdigest()[:16]


def read_duels(lines: Iterable[Mapping[str, Any]]) -> list[Duel]:
    """The duels among the lines of `answers.jsonl`: of kind `test`, with answers that differ, each pair once.

    PostgreSQL's texts hold no NUL; it becomes U+FFFD.
    """
    found: dict[str, Duel] = {}
    for line in lines:
        if line.get("kind") != "test" or line["candidate"].split() == line["champion"].split():
            continue
        prompt = tuple(turn if isinstance(turn, Message) else Message.model_validate(turn) for turn in line["prompt"])
        name = duel_id(prompt, line["candidate"], line["champion"])
        found.setdefault(
            name,
            Duel(
                name,
                _hold(line["user"]),
                _hold(line.get("topic") or ""),
                tuple(Message(role=turn.role, content=_hold(turn.content)) for turn in prompt),
                _hold(line["candidate"]),
                _hold(line["champion"]),
            ),
        )
    return list(found.values())


def open_review(
    database_url: str,
    run_id: str,
    lines: Iterable[Mapping[str, Any]],
    *,
    name: str,
    system: str | None,
    spec: ReviewSpec,
    salt: str,
) -> Review | None:
    """Puts an evaluation's duels up, or brings the run's review up to date.

    Args:
        database_url: PostgreSQL.
        run_id: whose evaluation it is.
        lines: of `answers.jsonl`.
        name: of the model.
        system: the recipe's system prompt.
        spec: how many, and which share is for everybody.
        salt: a secret of the review, used where it is new.

    Returns:
        The review; `None` where the recipe wants none, or no answers differ and there is none yet.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    if not spec.enable:
        return None
    duels = {duel.duel_id: duel for duel in read_duels(lines)}
    given = {"review_id": name_review(run_id), "run_id": run_id, "name": name, "system": system}
    with connect(database_url) as connection:
        if duels:
            connection.execute(_INSERT_REVIEW, {**given, "shared": spec.shared, "salt": salt})
        review = _find(connection, "r.run_id = %s FOR UPDATE", run_id)
        if review is None or not review.open:
            return review
        chosen = choose_duels(review.salt, duels, spec.examples)
        common = choose_shared(review.salt, chosen, review.shared)
        connection.execute(_DROP_UNSEEN, {"review_id": review.review_id, "kept": chosen})
        with connection.cursor() as cursor:
            cursor.executemany(
                _INSERT_DUEL, [_write(review.review_id, duels[each], shared=each in common) for each in chosen]
            )
        return _find(connection, "r.run_id = %s", run_id)


def list_reviews(database_url: str, *, name: str | None = None) -> list[Review]:
    """Reviews, the newest first; of one model where it is named."""
    with connect(database_url) as connection:
        return _read(
            connection,
            "%(name)s::text IS NULL OR r.name = %(name)s ORDER BY r.opened_at DESC, r.review_id",
            {"name": name},
        )


def get_review(database_url: str, name: str) -> Review:
    """The review of a run or with an id.

    Raises:
        ReviewError: there is none.
    """
    with connect(database_url) as connection:
        return find_review(connection, name)


def find_review(connection: Connection, name: str, *, lock: str = "") -> Review:
    """The same within a transaction; `lock` is a locking clause of SQL."""
    given = {"name": name.replace("\x00", "")}
    found = _read(connection, f"%(name)s IN (r.review_id, r.run_id) {lock}", given)
    if not found:
        raise ReviewError(f"no review {name!r}: expected a run that was evaluated, see `flytewheel review list`")
    return found[0]


def list_duels(database_url: str, review_id: str) -> list[Duel]:
    """The duels of a review, in the order of their ids."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT duel_id, user_id, topic, prompt, ours, theirs FROM review_duels WHERE review_id = %s"
            ' ORDER BY duel_id COLLATE "C"',
            (review_id,),
        ).fetchall()
    return [Duel(row[0], row[1], row[2], read_prompt(row[3]), row[4], row[5]) for row in rows]


def read_prompt(turns: Iterable[Any]) -> tuple[Message, ...]:
    """A prompt as it is stored."""
    return tuple(Message.model_validate(turn) for turn in turns)


def _write(review_id: str, duel: Duel, *, shared: bool) -> dict[str, Any]:
    return {
        "review_id": review_id,
        "duel_id": duel.duel_id,
        "user_id": duel.user,
        "topic": duel.topic,
        "prompt": Jsonb(to_jsonable(duel.prompt)),
        "ours": duel.ours,
        "theirs": duel.theirs,
        "shared": shared,
    }


def _find(connection: Connection, where: str, value: str) -> Review | None:
    found = _read(connection, where.replace("%s", "%(value)s"), {"value": value})
    return found[0] if found else None


def _read(connection: Connection, where: str, values: Mapping[str, Any]) -> list[Review]:
    with connection.cursor(row_factory=class_row(Review)) as cursor:
        return cursor.execute(f"{_COLUMNS} WHERE {where}".encode(), values).fetchall()


def _hold(text: str) -> str:
    return text.replace("\x00", "\ufffd")
