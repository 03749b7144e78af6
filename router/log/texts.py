"""What is kept of what people say: all of it, all but personal data, or none.

Without texts a row keeps ids, arms, figures, times and lengths, and no digest of a text, since whoever guesses a text
could prove it with one. `metadata.text` says so ("none" or "redacted"); curation drops rows without text and counts
them. A correction without its text still says that the answer was wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flytewheel.records import TEXT_NOT_KEPT, Message

_SAID = ("query", "response", "context", "topic")
_WRITTEN = ("comment", "corrected_response", "other_response")
_NEEDED = ("query", "corrected_response", "other_response")  # a record is none without them
# Of the metadata, texts that the router itself chose; all others are a user's, or a backend's that may quote them.
_OURS = frozenset(
    ("endpoint", "unit", "router", "finish_reason", "served_arm", "assigned_version", "broken", "protocol")
)
_LONGEST = 200  # characters of a text that the router itself chose


def list_texts(record: Mapping[str, Any]) -> list[str]:
    """Every text of an interaction or event in which personal data may stand, in a fixed order."""
    texts = [record[key] for key in (*_SAID, *_WRITTEN) if isinstance(record.get(key), str)]
    texts += [turn["content"] for turn in _turns(record)]
    return [*texts, *_walk(record.get("metadata"))]


def replace_texts(record: Mapping[str, Any], texts: list[str]) -> dict[str, Any]:
    """The record with other texts, in the order of `list_texts`; marked where one of them differs."""
    if texts == list_texts(record):
        return dict(record)
    left = iter(texts)
    made = dict(record)
    for key in (*_SAID, *_WRITTEN):
        if isinstance(record.get(key), str):
            made[key] = next(left)
    if record.get("history"):
        made["history"] = [{"role": turn["role"], "content": next(left)} for turn in _turns(record)]
    made["metadata"] = {**_rebuild(record.get("metadata") or {}, left), "text": "redacted"}
    return made


def drop_texts(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without any text, with its lengths in characters."""
    kept = {key: value for key, value in record.items() if key not in (*_SAID, *_WRITTEN, "history", "metadata")}
    metadata: dict[str, Any] = {
        key: value
        for key, value in (record.get("metadata") or {}).items()
        if value is None
        or isinstance(value, bool | int | float)
        or (key in _OURS and isinstance(value, str) and len(value) <= _LONGEST)
    }
    for key in (*_SAID, *_WRITTEN):
        if isinstance(record.get(key), str):
            metadata[f"{key}_chars"] = len(record[key])
            if key in _NEEDED:
                kept[key] = TEXT_NOT_KEPT
    if "response" in record:
        kept["response"] = ""
    if record.get("history"):
        metadata["history_turns"] = len(record["history"])
    return kept | {"metadata": {**metadata, "text": "none"}}


def _turns(record: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"role": turn.role, "content": turn.content} if isinstance(turn, Message) else turn
        for turn in record.get("history") or ()
    ]


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _rebuild(value: Any, left: Iterator[str]) -> Any:
    if isinstance(value, str):
        return next(left)
    if isinstance(value, dict):
        return {key: _rebuild(item, left) for key, item in value.items()}
    if isinstance(value, list):
        return [_rebuild(item, left) for item in value]
    return value
