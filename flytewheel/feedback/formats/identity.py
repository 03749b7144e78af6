"""Who, when, under which id: what others' logs write in their own ways, in ours.

People: a user id that looks like personal data (an e-mail address, a name with a space, a telephone number, an IP
address) is replaced by `user-` and 16 hex digits of its SHA-256, the same one in every log. There is no salt, so that
weeks and logs agree; whoever guesses an address can check the guess. Who is not named becomes `anonymous-` with a
digest of the conversation's id: nobody is taken for somebody else, and the split by user keeps a conversation whole.

Ids: a text is kept. A number, of a row or of a person, counts within its own log only, so it goes behind the source's
name; an id that is missing is a digest of the content: the same row again is a duplicate, wherever it stands. Times:
Unix seconds to nanoseconds by their size, ISO 8601; without a zone they are UTC.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flytewheel.records import canonical_json

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # stands for a time that a log does not tell: nobody takes it for a real one

_EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
_PERSONAL = re.compile(
    r"@|\s|^\+?[\d().-]*\d[\d().-]{2,}[().-]\d{2,}$|^\+\d{6,}$|^(?:\d{1,3}\.){3}\d{1,3}$|^[\da-f]*:[\da-f:]{2,}$", re.I
)
_PERSONAL_NAMES = re.compile(
    r"(?i)e-?mail|phone|address|(?:first|last|full|sur|user|real|display)_?name|^name$|^ip$|_ip$|ip_|birth|ssn"
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_DATE = re.compile(r"(?:19|20)\d\d[01]\d[0-3]\d")
_MAX_ID = 180  # of 200: the number of the turn and the kind of reaction go behind it


def first_of(row: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that is there, is not null and is not empty text."""
    for name in names:
        value = row.get(name)
        if value is not None and value != "":
            return value
    return None


def name_user(value: Any, conversation: str, source: str) -> str:
    """Gives the user's id, a pseudonym where it looks like personal data or is missing; a number is the source's."""
    if isinstance(value, Mapping):
        value = first_of(value, "id", "user_id", "userId", "uid", "email", "name")
    if isinstance(value, bool) or value is None or not isinstance(value, str | int | float):
        return f"anonymous-{hash_text(conversation)}"
    text = str(value).strip()
    if not text:
        return f"anonymous-{hash_text(conversation)}"
    if len(text) > _MAX_ID or _PERSONAL.search(text):
        return f"user-{hash_text(text.casefold())}"
    return f"{source[:120]}:{text[:50]}" if _NUMBER.fullmatch(text) else text


def hide_emails(raw: bytes) -> bytes:
    """Replaces e-mail addresses in a row that is kept as it came: quarantine holds no personal ids either."""
    if b"@" not in raw:
        return raw
    text = raw.decode("utf-8", "surrogateescape")
    return _EMAIL.sub(lambda found: f"user-{hash_text(found[0].casefold())}", text).encode("utf-8", "surrogateescape")


def keep_metadata(data: Any) -> dict[str, Any]:
    """Keeps the plain values of a row's metadata, but for those that look like personal data, by name or by content."""
    if not isinstance(data, Mapping):
        return {}
    kept: dict[str, Any] = {}
    for name, value in data.items():
        plain = isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
        if isinstance(value, str):
            plain = len(value) <= 200 and "@" not in value and not (_PERSONAL.search(value) and " " not in value)
        if plain and len(kept) < 20 and not _PERSONAL_NAMES.search(str(name)):
            kept[str(name)] = value
    return kept


def name_row(value: Any, content: Any, source: str) -> str:
    """Gives the id of a row: its own, else a digest of its content."""
    if isinstance(value, str) and value.strip() and not _NUMBER.fullmatch(value.strip()):
        text = value.strip()
        return text if len(text) <= _MAX_ID else hash_text(text, 32)
    if isinstance(value, int | float | str) and not isinstance(value, bool) and str(value).strip():
        return f"{source[:120]}:{str(value).strip()[:50]}"
    return digest_of(content)


def digest_of(content: Any) -> str:
    """32 hex digits of the content's SHA-256, whatever odd values it holds."""
    try:
        return hashlib.sha256(canonical_json(content)).hexdigest()[:32]
    except (ValueError, TypeError, RecursionError):  # NaN, lone surrogates, times of a table
        return hash_text(repr(content), 32)


def hash_text(text: str, digits: int = 16) -> str:
    """The first hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def read_time(value: Any) -> str | None:
    """Gives a time as ISO 8601 in UTC; what cannot be read comes back as it is, for the import to refuse.

    `None` stands for no time at all.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = value.strip() if _DATE.fullmatch(value.strip()) else float(value)
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        for unit, largest in ((1, 1e11), (1e3, 1e14), (1e6, 1e17), (1e9, 1e20)):
            if 0 <= value < largest:
                found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(value / unit * 1e6))
                break
        else:
            return str(value)
    else:
        text = str(value).strip()
        text = re.sub(r"\s*UTC$", "+00:00", text)
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return text
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC).isoformat()
    try:
        return found.astimezone(UTC).isoformat()
    except OverflowError:
        return str(value)


def shift(time: str, seconds: float) -> str:
    """Gives a time so many seconds later; one that cannot be read stays."""
    try:
        return (datetime.fromisoformat(time) + timedelta(seconds=seconds)).isoformat()
    except (ValueError, OverflowError):
        return time
