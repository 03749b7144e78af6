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
from router.log.bodies import dump, encode_slowly, is_name, is_plain, is_plain_float, is_time, spell_time

COLUMNS = 'interaction_id, source, user_id, "timestamp", body, digest'
_TYPES: dict[str, type[Any]] = dict[str, type[Any]].fromkeys(Interaction.model_fields, str) | {
    "timestamp": datetime,
    "history": list,  # of turns, in any sequence
    "completed": bool,
    "latency_ms": float,
    "propensity": float,
    "metadata": dict,
}


def encode_interaction(fields: Mapping[str, Any], source: str) -> bytes:
    """The line of an interaction.

    Raises:
        FeedbackError: it is none, or holds what cannot be stored; the message says which.
    """
    if "\0" in source:
        raise FeedbackError("Interaction refused: a source with a NUL character")
    data = _plain_fields(fields)
    body = dump(data) if data is not None else None
    if body is None:
        record, text, digest = encode_slowly(Interaction, fields)
        body, name, user, time = text.encode(), record.interaction_id, record.user_id, record.timestamp
    else:
        digest = hashlib.sha256(body).hexdigest()
        name, user, time = fields["interaction_id"], fields["user_id"], fields["timestamp"]
    return join_row((name, source, user, spell_time(time)), body, digest.encode())


def name_of(line: bytes) -> str:
    """The id of an interaction's line."""
    name = line[: line.index(b"\t")]
    return (split_columns(name)[0] if b"\\" in name else name).decode()


def _plain_fields(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields as they are dumped; None where one of them is anything but plain."""
    data: dict[str, Any] = {"completed": True, "metadata": {}, "history": []}
    for key, value in fields.items():
        kind = _TYPES.get(key)
        if kind is None or value is None:
            continue
        if kind is list:
            data[key] = turns = [_turn(turn) for turn in value]
            if None in turns:
                return None
        elif type(value) is not kind or (kind is float and not (value > 0 and is_plain_float(value))):
            return None
        else:
            data[key] = value
    if not (is_name(data.get("interaction_id")) and is_name(data.get("user_id")) and is_time(data.get("timestamp"))):
        return None
    if not data.get("query") or "response" not in data or data.get("propensity", 1.0) > 1:
        return None
    return data if is_plain(data["metadata"]) else None


def _turn(turn: Any) -> dict[str, str] | None:
    if type(turn) is Message:
        return {"role": turn.role, "content": turn.content}
    if type(turn) is not dict or len(turn) != 2 or type(turn.get("content")) is not str:
        return None
    return turn if turn.get("role") in _ROLES else None


_ROLES = ("system", "user", "assistant", "tool")
