"""API keys of the router: made once, shown once, and kept as a hash.

A key is `fw_`, 32 random letters and digits (190 bits), and 6 more that are a CRC-32 of them, so that a typo is told
from a key that was revoked, and a secret scanner that finds one in a repository knows it for ours. It is stored as its
SHA-256 and nothing slower: a slow hash defends what people choose, and costs every request; 2¹⁹⁰ random keys are not
guessed at any speed. Who reads the table cannot use it.

A rotated key leaves its old one to live on for a while; both are of one *account*, the id of the first, by which rates
are counted and users who are known by their key keep their arm.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ApiKeyError

PREFIX = "fw_"
SCOPES = ("serve", "feedback", "read", "admin")
CHANNEL = "flytewheel_keys"  # PostgreSQL tells it that the table has changed (migrations/)
_RANDOM, _CHECK = 32, 6
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_COLUMNS = (
    "key_id, account, hash, scopes, name, created_at, expires_at, revoked_at,"
    " requests_per_minute, tokens_per_minute, user_requests_per_minute, user_tokens_per_minute"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use a minute; None is no limit.

    Attributes:
        requests: of everybody who shares the key.
        tokens: prompt and answer together, likewise.
        user_requests: of each user that the key's holder names.
        user_tokens: likewise.
    """

    requests: int | None = None
    tokens: int | None = None
    user_requests: int | None = None
    user_tokens: int | None = None

    def __bool__(self) -> bool:
        return not (self.requests is self.tokens is self.user_requests is self.user_tokens is None)


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored.

    Attributes:
        key_id: names it in lists and logs; says nothing of the key.
        account: id of the first key of its line.
        hash: SHA-256 of the whole key, 32 bytes.
        scopes: what it may, of SCOPES.
        name: what people call it.
        expires_at: None: never.
        revoked_at: None: it was not.
    """

    key_id: str
    account: str
    hash: bytes
    scopes: frozenset[str]
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    limits: Limits = UNLIMITED

    def is_live(self, now: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def describe_state(self, now: datetime) -> str:
        """`live`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if self.is_live(now) else "expired"


def new_secret() -> str:
    """A fresh key."""
    body = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return PREFIX + body + _checksum(body)


def is_well_formed(secret: str) -> bool:
    """Whether a text is a key of this form whose checksum fits; says nothing of whether it is known."""
    body = secret.removeprefix(PREFIX)
    return (
        secret.startswith(PREFIX)
        and len(body) == _RANDOM + _CHECK
        and all(letter in _DIGITS for letter in body)
        and _checksum(body[:_RANDOM]) == body[_RANDOM:]
    )


def hash_secret(secret: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode()).digest()


def create_key(
    database_url: str,
    scopes: Iterable[str],
    *,
    name: str = "",
    expires_at: datetime | None = None,
    limits: Limits = UNLIMITED,
    secret: str | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key; returns it with the secret, which nobody can read again.

    Args:
        database_url: of the loop's PostgreSQL.
        scopes: at least one of SCOPES.
        name: what people call it.
        expires_at: with a time zone; None: never.
        limits: what it may use a minute.
        secret: one that was made before, with `new_secret`; a key that is stored already is left as it is.

    Raises:
        ApiKeyError: an unknown scope or none, a limit below 1, an end that is past.
        DatabaseError: PostgreSQL is away.
    """
    now = datetime.now(UTC)
    if expires_at is not None and expires_at <= now:
        raise ApiKeyError(f"the key would end at {expires_at:%Y-%m-%d %H:%M}, which is past: give a later time")
    secret = secret or new_secret()
    key_id = "key_" + secrets.token_hex(5)
    key = ApiKey(key_id, key_id, hash_secret(secret), check_scopes(scopes), name, now, expires_at, None, limits)
    _check_limits(limits)
    with connect(database_url) as connection:
        return _insert(connection, key), secret


def rotate_key(database_url: str, key_id: str, overlap: timedelta) -> tuple[ApiKey, str]:
    """Makes the successor of a key, with its name, scopes and limits; the old one ends after `overlap`.

    Raises:
        ApiKeyError: no such key, or it opens nothing any more.
        DatabaseError: PostgreSQL is away; nothing has changed.
    """
    now = datetime.now(UTC)
    secret = new_secret()
    with connect(database_url) as connection:
        old = _find(connection, key_id, lock=True)
        if not old.is_live(now):
            raise ApiKeyError(
                f"key {old.key_id} is {old.describe_state(now)}: make a new one with `flytewheel keys create`"
            )
        ends = min(filter(None, (now + overlap, old.expires_at)))
        connection.execute("UPDATE api_keys SET expires_at = %s WHERE key_id = %s", (ends, old.key_id))
        lifetime = None if old.expires_at is None else now + (old.expires_at - old.created_at)
        fresh = ApiKey(
            "key_" + secrets.token_hex(5), old.account, hash_secret(secret), old.scopes, old.name, now, lifetime, None,
            old.limits,
        )  # fmt: skip
        return _insert(connection, fresh), secret


def revoke_key(database_url: str, key_id: str) -> ApiKey:
    """Ends a key at once; one that was revoked before stays as it is.

    Raises:
        ApiKeyError: no such key.
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        key = _find(connection, key_id, lock=True)
        connection.execute(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %s", (key.key_id,)
        )
        return _find(connection, key.key_id)


def list_keys(database_url: str) -> list[ApiKey]:
    """All keys, the newest first.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        return read_keys(connection)


def read_keys(connection: Connection) -> list[ApiKey]:
    """All keys, the newest first, over an open connection."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at DESC, key_id".encode()).fetchall()
    return [_parse(row) for row in rows]


def find_secret(database_url: str, secret: str) -> ApiKey | None:
    """The key that a secret is of, live or not; None where nobody made it."""
    with connect(database_url) as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM api_keys WHERE hash = %s".encode(), (hash_secret(secret),)
        ).fetchall()
    return _parse(rows[0]) if rows else None


def encode_keys(keys: Iterable[ApiKey]) -> list[dict[str, Any]]:
    """The keys as JSON takes them, for a copy on disk: hashes, no secrets."""
    return [
        {
            "key_id": key.key_id,
            "account": key.account,
            "hash": key.hash.hex(),
            "scopes": sorted(key.scopes),
            "name": key.name,
            "created_at": key.created_at.isoformat(),
            "expires_at": key.expires_at and key.expires_at.isoformat(),
            "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
            "limits": [key.limits.requests, key.limits.tokens, key.limits.user_requests, key.limits.user_tokens],
        }
        for key in keys
    ]


def decode_keys(rows: Sequence[Mapping[str, Any]]) -> list[ApiKey]:
    """The keys of `encode_keys`."""
    return [
        ApiKey(
            row["key_id"],
            row["account"],
            bytes.fromhex(row["hash"]),
            frozenset(row["scopes"]),
            row["name"],
            datetime.fromisoformat(row["created_at"]),
            datetime.fromisoformat(row["expires_at"]) if row["expires_at"] else None,
            datetime.fromisoformat(row["revoked_at"]) if row["revoked_at"] else None,
            Limits(*row["limits"]),
        )
        for row in rows
    ]


def check_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes as a set.

    Raises:
        ApiKeyError: none, or one that is not known.
    """
    given = frozenset(scopes)
    unknown = sorted(given - set(SCOPES))
    if unknown or not given:
        raise ApiKeyError(f"scope {', '.join(unknown) or '(none)'}: expected one or more of {', '.join(SCOPES)}")
    return given


def _check_limits(limits: Limits) -> None:
    for limit in (limits.requests, limits.tokens, limits.user_requests, limits.user_tokens):
        if limit is not None and not 0 < limit < 1 << 31:
            raise ApiKeyError(f"a limit of {limit} a minute: expected 1 to {(1 << 31) - 1}, or none")


def _checksum(body: str) -> str:
    value, letters = zlib.crc32(body.encode()), []
    for _ in range(_CHECK):
        value, digit = divmod(value, len(_DIGITS))
        letters.append(_DIGITS[digit])
    return "".join(reversed(letters))


def _insert(connection: Connection, key: ApiKey) -> ApiKey:
    limits = key.limits
    connection.execute(
        f"INSERT INTO api_keys ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s)"
        " ON CONFLICT (hash) DO NOTHING".encode(),
        (
            key.key_id, key.account, key.hash, sorted(key.scopes), key.name, key.created_at, key.expires_at,
            limits.requests, limits.tokens, limits.user_requests, limits.user_tokens,
        ),
    )  # fmt: skip
    rows = connection.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE hash = %s".encode(), (key.hash,)).fetchall()
    return _parse(rows[0])


def _find(connection: Connection, key_id: str, *, lock: bool = False) -> ApiKey:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM api_keys WHERE key_id = %s{' FOR UPDATE' if lock else ''}".encode(),
        (key_id.replace("\0", ""),),
    ).fetchall()
    if not rows:
        raise ApiKeyError(f"no API key {key_id[:100]!r}; `flytewheel keys list` shows them")
    return _parse(rows[0])


def _parse(row: Sequence[Any]) -> ApiKey:
    key_id, account, digest, scopes, name, created, expires, revoked, *limits = row
    return ApiKey(
        key_id, account, bytes(digest), frozenset(scopes), name, created, expires, revoked, Limits(*limits)
    )  # fmt: skip
