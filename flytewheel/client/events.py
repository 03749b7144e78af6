"""What is sent, and what comes back: bodies, batches, results, and when to try again. No I/O here."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from flytewheel.client.answers import Proofs
from flytewheel.client.refusals import RefusedError

MOST_EVENTS = 1_000  # the router's limits of one request
MOST_BYTES = 900_000
RETRIED = frozenset((429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an event: `stored`, `duplicate` (it was there), `nothing` (a view that says nothing), `refused`.

    `code` and `message` say why it was refused; `signals` what was read from a view.
    """

    status: str
    event_id: str | None = None
    code: int | None = None
    message: str | None = None
    signals: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and how long to wait: doubling from `first_s`, a random half of it, never beyond `longest_s`."""

    attempts: int = 5
    first_s: float = 0.2
    longest_s: float = 10.0

    def wait_s(self, attempt: int, asked: str | None, chance: random.Random) -> float:
        """Seconds before the next attempt; `asked` is the Retry-After of the answer."""
        if asked is not None and asked.isdigit():
            return min(self.longest_s, float(asked))
        return min(self.longest_s, self.first_s * 2.0**attempt) * (0.5 + chance.random() / 2)


def build_event(proofs: Proofs, event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as it is sent: with its answer's proof and an id of its own; sent twice it counts once.

    Args:
        proofs: known receipts.
        event: `answer` (an Answer, or an interaction's id) and the fields of `/v1/feedback`.
    """
    fields = {key: value for key, value in event.items() if value is not None and key != "answer"}
    answer = event.get("answer", fields.get("interaction_id"))
    if answer is None:
        raise RefusedError(422, "an event needs `answer`: what `chat` or `keep` gave, or an interaction's id")
    interaction_id, receipt = proofs.find(answer)
    fields["interaction_id"] = interaction_id
    if receipt is not None:
        fields.setdefault("receipt", receipt)
    if "observed" not in fields and "event_id" not in fields:  # who brings an id may bring it again, at another time
        fields["event_id"] = uuid.uuid4().hex
        fields.setdefault("timestamp", datetime.now(UTC))
    return fields


def split_batches(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, bytes]]:
    """Bodies of batches with how many events each holds, in order, within the router's limits."""
    parts: list[bytes] = []
    size = 0
    for event in events:
        part = orjson.dumps(event)
        if parts and (len(parts) == MOST_EVENTS or size + len(part) > MOST_BYTES):
            yield len(parts), _join(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield len(parts), _join(parts)


def read_result(status: int, body: bytes) -> Result:
    """The result of a single event.

    Raises:
        RefusedError: it was refused.
    """
    said = _read(body)
    if status >= 400:
        raise RefusedError(status, _message(said))
    return _result(said)


def read_results(status: int, body: bytes, count: int) -> list[Result]:
    """The results of a batch, in its order.

    Raises:
        RefusedError: the batch as such was refused.
    """
    said = _read(body)
    results = said.get("results")
    if not isinstance(results, list) or len(results) != count:
        raise RefusedError(status, _message(said))
    return [_result(each) for each in results]


def _join(parts: Sequence[bytes]) -> bytes:
    return b'{"events":[' + b",".join(parts) + b"]}"


def _read(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _result(said: Mapping[str, Any]) -> Result:
    return Result(
        str(said.get("status")), said.get("event_id"), said.get("code"), said.get("message"),
        tuple(said.get("signals") or ()),
    )  # fmt: skip


def _message(said: Mapping[str, Any]) -> str:
    error = said.get("error")
    return str(error.get("message")) if isinstance(error, dict) else "the answer was not a router's"
