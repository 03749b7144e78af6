"""Who is forgotten: the names of a person, the ids of what they said, and the words.

A person's interactions and events are those under their user id. What others said of the person's interactions goes
along: it is about the person's words, and the database holds no event without its interaction. What others said in
nearly the same words is theirs and stays.

Data sets know a user id that is personal data itself (an address) as a pseudonym that anybody can compute from it, so
the pseudonym is one of the person's names too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flytewheel.curation.events import mask_names
from flytewheel.database import Connection
from flytewheel.lineage.walk import Origin, find_user
from flytewheel.pii import redact

_SAID = "SELECT body FROM interactions WHERE interaction_id = ANY(%s)"
_HEARD = "SELECT body FROM feedback_events WHERE event_id = ANY(%s)"
_CASES = """
SELECT body FROM suite_cases WHERE interaction_id = ANY(%(said)s) OR event_id = ANY(%(heard)s)
    OR body ->> 'user' = ANY(%(names)s)
"""
_DUELS = "SELECT ours, theirs FROM review_duels WHERE user_id = ANY(%s)"
_LEAST_NOTE = 8  # characters of a value of the metadata that is taken for words


@dataclass(frozen=True, slots=True)
class Person:
    """Everything that tells a person's rows from others'. `names` are the user id and its pseudonym."""

    user: str
    names: frozenset[str]
    interactions: frozenset[str]
    events: frozenset[str]

    def owns(self, row: Mapping[str, Any]) -> bool:
        """Whether a JSON object is the person's: by its user, by its ids, or by the ids that it comes from."""
        for key in ("user", "user_id", "reviewer"):
            if row.get(key) in self.names and isinstance(row.get(key), str):
                return True
        if _among(row.get("interaction_id"), self.interactions) or _among(row.get("event_id"), self.events):
            return True
        return _meets(row.get("interactions"), self.interactions) or _meets(row.get("events"), self.events)

    @property
    def ids(self) -> frozenset[str]:
        return self.names | self.interactions | self.events

    def __bool__(self) -> bool:
        return bool(self.interactions or self.events)


def find_person(connection: Connection, user: str) -> Person:
    """The person behind a user id, as the feedback and the index of data sets know them."""
    names = frozenset((user, mask_names([user])[user]))
    origin: Origin = find_user(connection, user)
    said, heard = set(origin.interactions), set(origin.events)
    rows = connection.execute(
        "SELECT kind, interactions, events FROM dataset_rows WHERE user_id = ANY(%s)", (sorted(names),)
    ).fetchall()
    for kind, _, events in rows:
        if kind == "quarantined":
            heard.update(events)
    return Person(user, names, frozenset(said), frozenset(heard))


def list_texts(connection: Connection, person: Person) -> Iterator[str]:
    """Every text of the person's, as it was said and as curation would redact it."""
    said, heard = sorted(person.interactions), sorted(person.events)
    for (body,) in connection.execute(_SAID, (said,)).fetchall():
        yield from _with_redacted(_list_said(body))
    for (body,) in connection.execute(_HEARD, (heard,)).fetchall():
        texts = [body.get(key) for key in ("comment", "corrected_response", "other_response")]
        yield from _with_redacted([*filter(None, texts), *_list_notes(body.get("metadata"))])
    given = {"said": said, "heard": heard, "names": sorted(person.names)}
    for (body,) in connection.execute(_CASES, given).fetchall():
        yield from _with_redacted([str(body.get("expected", "")), *_list_turns(body.get("prompt"))])
    for answers in connection.execute(_DUELS, (sorted(person.names),)).fetchall():
        yield from answers


def list_others(connection: Connection, person: Person, batch: int = 1_000) -> Iterator[list[str]]:
    """What everybody else said, in batches of so many rows: words that stand there are not the person's alone."""
    own = {"names": sorted(person.names), "said": sorted(person.interactions), "heard": sorted(person.events)}
    queries = (
        "SELECT body FROM interactions WHERE NOT interaction_id = ANY(%(said)s)",
        "SELECT body FROM feedback_events WHERE NOT event_id = ANY(%(heard)s)",
    )
    for number, query in enumerate(queries):
        with connection.cursor(name=f"others{number}") as cursor:
            cursor.execute(query.encode(), own)
            while rows := cursor.fetchmany(batch):
                yield [text for (body,) in rows for text in _list_strings(body)]
    recipes = connection.execute("SELECT DISTINCT recipe FROM runs").fetchall()
    yield [text for (body,) in recipes for text in _list_strings(body)]


def _list_said(body: Mapping[str, Any]) -> list[str]:
    texts = [str(body[key]) for key in ("query", "response", "context", "session_id") if body.get(key)]
    return [*texts, *_list_turns(body.get("history")), *_list_notes(body.get("metadata"))]


def _list_turns(turns: Any) -> list[str]:
    """A conversation's turns, but for the system's: that is the operator's."""
    return [str(turn["content"]) for turn in turns or () if isinstance(turn, Mapping) and turn.get("role") != "system"]


def _list_notes(value: Any) -> list[str]:
    return [text for text in _list_strings(value) if len(text) >= _LEAST_NOTE]


def _list_strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _list_strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _list_strings(item)]
    return []


def _with_redacted(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield text
        redacted = redact(text)
        if redacted != text:
            yield redacted


def _among(value: Any, ids: frozenset[str]) -> bool:
    return isinstance(value, str) and value in ids


def _meets(values: Any, ids: frozenset[str]) -> bool:
    return isinstance(values, list | tuple) and any(isinstance(each, str) and each in ids for each in values)
