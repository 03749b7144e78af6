"""An interaction as it is stored: a line of COPY with its columns, canonical body and digest, made of plain fields.

The line lies in the spool as it goes to the database, so it is made once. Measured on a turn of 1.5 kB: see
`python -m benchmarks.log`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flytewheel.errors import FeedbackError
from flytewheel.records import Interaction, Message
from flytewheel.spool import join_row, split_columns
from router.log.bodies import dump, encode_slowly, is_plain, is_time, spell_time

COLUMNS = 'interaction_id, source, user_id, "timestamp", body, digest'
_FLOATS = ("latency_ms", "propensity")
_LEAST, _MOST = 1e-4, 1e16  # what both ways write alike, as in `is_plain_float`
_KINDS: dict[str, type[Any]] = {  # of a plain field's value
    **dict.fromkeys(("interaction_id", "session_id", "user_id", "query", "response", "context", "topic"), str),
    **dict.fromkeys(("model_version", "experiment_id", "arm", "model_digest"), str),
    **dict.fromkeys(_FLOATS, float),
    "timestamp": datetime,
    "completed": bool,
    "metadata": dict,
}


class Plain(dict[str, Any]):
    """Fields whose kinds and lengths the caller vouches for, none of them None, that its metadata is `is_plain`, and
    that names stand in order at every depth: half the price of looking again.

    Numbers are looked at all the same, and texts that cannot be stored are met by the encoder.
    """


def encode_interaction(fields: Mapping[str, Any], source: str) -> bytes:
    """The line of an interaction.

    Raises:
        FeedbackError: it is none, or holds what cannot be stored; the message says which.
    """
    if "\0" in source:
        raise FeedbackError("Interaction refused: a source with a NUL character")
    data = _plain_fields(fields)
    body = dump(data, ordered=type(data) is Plain) if data is not None else None
    if body is None:
        record, text, digest = encode_slowly(Interaction, fields)
        body, name, user, time = text.encode(), record.interaction_id, record.user_id, record.timestamp
    else:
        digest = hashlib.sha256(body).hexdigest()
        name, user, time = fields["interaction_id"], fields["user_id"], fields["timestamp"]
    return join_row((name, source, user, spell_time(time)), body, digest.encode())


def name_of(line: bytes) -> str:
    """The id of an interaction's line."""
    return split_columns(line.split(b"\t", 1)[0])[0].decode()


def _plain_fields(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields as they are dumped; None where one of them is anything but plain."""
    vouched = type(fields) is Plain
    data: dict[str, Any] | None = fields if vouched else _check_fields(fields)  # type: ignore[assignment]
    if data is None:
        return None
    if "latency_ms" in data and not _LEAST <= data["latency_ms"] < _MOST:
        return None
    if "propensity" in data and not _LEAST <= data["propensity"] <= 1:
        return None
    return data if vouched or is_plain(data["metadata"]) else None


def _check_fields(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    data: dict[str, Any] = {}
    for key, value in fields.items():
        if value is not None and (kind := _KINDS.get(key)) is not None:
            if type(value) is not kind:
                return None
            data[key] = value
    given = fields.get("history", ())
    if type(given) is not tuple and type(given) is not list:
        return None
    data["history"] = history = [_turn(turn) for turn in given]
    if None in history:
        return None
    name, user, query = data.get("interaction_id", ""), data.get("user_id", ""), data.get("query")
    if not (0 < len(name) <= 200 and 0 < len(user) <= 200 and query and "response" in data):
        return None
    if not is_time(data.get("timestamp")):
        return None
    data.setdefault("completed", True)
    data.setdefault("metadata", {})
    return data


def _turn(turn: Any) -> dict[str, str] | None:
    if type(turn) is Message:
        return {"role": turn.role, "content": turn.content}
    if type(turn) is not dict or len(turn) != 2 or type(turn.get("content")) is not str:
        return None
    return turn if turn.get("role") in _ROLES else None


_ROLES = ("system", "user", "assistant", "tool")
