"""Who was erased, and how an import keeps what they said from coming back with an old log.

The list holds keyed hashes (HMAC-SHA-256). A hash without a key would be no protection: user ids are few and guessable
(addresses, numbers), so whoever reads the table could try them all. The key is not in the database: it lies in
`<home>/erasure.key` (0600) or comes as FLYTEWHEEL_ERASURE_KEY, and a machine with another key may not import, since it
could not tell who must stay out.

What is refused: every line that the person said up to the moment of the erasure (whatever they say afterwards is new,
and is taken), every line about an interaction or event that was erased, and every line that could not be read and
holds one of these names.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from flytewheel.database import Connection
from flytewheel.errors import FeedbackError

KEY_FILE = "erasure.key"
LEAST_KEY = 16  # characters
_TOKEN = re.compile(r"[^\s\"'\\,;:{}\[\]()<>=]{1,200}")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.){1,400})\"")


def read_key(home: Path) -> str:
    """The key of this machine's home; empty where there is none yet."""
    try:
        return (home / KEY_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def make_key(home: Path) -> str:
    """The key of this machine's home, made where there is none yet."""
    if not (known := read_key(home)):
        home.mkdir(parents=True, exist_ok=True)
        path = home / KEY_FILE
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32) + "\n", encoding="utf-8")
        return read_key(home)
    return known


def name_subject(key: str, user: str) -> str:
    """What stands for a user in the list, in hex."""
    return _hash(key, "user", user).hex()


def name_row(key: str, kind: str, row: str) -> int:
    """What stands for an interaction or event (`kind`): 64 bits, signed as PostgreSQL's bigint is."""
    return int.from_bytes(_hash(key, kind, row)[:8], "big", signed=True)


def check_of(key: str) -> str:
    """What tells one key from another and says nothing else of it."""
    return _hash(key, "check", "flytewheel")[:16].hex()


class Forgotten:
    """The list as an import asks it; empty where nobody was erased."""

    def __init__(self, key: str, users: dict[str, datetime], rows: array[int]) -> None:
        """`users` maps a subject to the moment up to which it is refused, `rows` are sorted `name_row`s."""
        self._key, self._users, self._rows = key, users, rows
        self._until = lru_cache(1 << 16)(lambda user: users.get(name_subject(key, user)))

    @classmethod
    def empty(cls) -> Forgotten:
        """Nobody."""
        return cls("", {}, array("q"))

    def __bool__(self) -> bool:
        return bool(self._users or self._rows)

    def refuses(self, user: str, at: datetime, names: Iterable[tuple[str, str]]) -> bool:
        """Whether a line is one that must not come back.

        Args:
            user: who said it.
            at: when.
            names: (kind, id) of the interactions and events that it is or is about.
        """
        if not self:
            return False
        until = self._until(user)
        return (until is not None and at <= until) or any(self._holds(kind, name) for kind, name in names)

    def refuses_text(self, text: str) -> bool:
        """Whether a line that could not be read holds the name of somebody or something that was erased."""
        if not self:
            return False
        return any(
            self._until(word) is not None or self._holds("interaction", word) or self._holds("feedback", word)
            for word in set(_list_words(text))
        )

    def holds(self, kind: str, names: Iterable[str]) -> bool:
        """Whether one of these interactions or events (`kind`) was erased."""
        return any(self._holds(kind, name) for name in names)

    def _holds(self, kind: str, name: str) -> bool:
        if not self._rows:
            return False
        wanted = name_row(self._key, kind, name)
        place = bisect_left(self._rows, wanted)
        return place < len(self._rows) and self._rows[place] == wanted


def read_forgotten(connection: Connection, key: str) -> Forgotten:
    """Reads the list: 8 bytes for each erased row.

    Raises:
        FeedbackError: somebody was erased, and `key` is not the one that they are hashed with.
    """
    found = connection.execute("SELECT subject, key_check, until FROM erasures").fetchall()
    if not found:
        return Forgotten.empty()
    check_key(key, {str(row[1]) for row in found})
    users: dict[str, datetime] = {}
    for subject, _, until in found:
        users[subject] = max(until, users.get(subject, until))
    rows = array("q")
    with connection.cursor(name="erased_ids") as cursor:
        cursor.itersize = 50_000
        for (keyed,) in cursor.execute("SELECT keyed FROM erased_ids ORDER BY keyed"):
            rows.append(keyed)
    return Forgotten(key, users, rows)


def check_key(key: str, checks: Iterable[str]) -> None:
    """Refuses a key that is not the one that people were erased with.

    Raises:
        FeedbackError: it is another one, or none.
    """
    known = set(checks)
    if known and known != {check_of(key) if key else ""}:
        raise FeedbackError(
            f"people were erased from this database, and this machine has {'another key' if key else 'no key'} to tell "
            f"who: set FLYTEWHEEL_ERASURE_KEY, or bring {KEY_FILE} of the home that erased them"
        )


def _list_words(text: str) -> Iterator[str]:
    yield from _TOKEN.findall(text)
    yield from _QUOTED.findall(text)


def _hash(key: str, kind: str, name: str) -> bytes:
    return hmac.new(key.encode(), f"{kind}\0{name}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
