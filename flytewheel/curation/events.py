"""Joins reactions to the answers they are about, and quarantines those that are not one person's own opinion.

Decides which events count: the interaction is in the window, the event comes from the person who asked, and it does
not belong to a burst (`BURST_EVENTS` of one person within `BURST_S` seconds: scripts vote so fast, people do not).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from flytewheel.curation.ledger import Tally
from flytewheel.curation.pii import redact_conversation
from flytewheel.dataset import Step
from flytewheel.errors import DatasetError
from flytewheel.records import FeedbackEvent, Interaction, Message

BURST_EVENTS = 20
BURST_S = 60.0

_Record = TypeVar("_Record", Interaction, FeedbackEvent)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An interaction with the reactions to it, in the order of their time; `session_s`: how long its session lasted."""

    interaction: Interaction
    events: tuple[FeedbackEvent, ...]
    session_s: float | None = None


def read_records(path: Path, model: type[_Record]) -> tuple[list[_Record], Step]:
    """Reads a file of records, sorted by time and id, so that the order of its lines does not matter.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        lines = sorted({line for line in path.read_bytes().split(b"\n") if line.strip()})
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; write the window again") from None
    tally = Tally(f"read {path.stem}", len(lines))
    records: dict[str, _Record] = {}
    for line in lines:
        try:
            record = model.model_validate_json(line)
        except ValidationError as error:
            tally.drop("unreadable", f"{error.errors()[0]['msg']}: {line[:80]!r}")
            continue
        name = _identify(record)
        if name in records:
            tally.drop("same id, other content", name)
        else:
            records[name] = record
    return sorted(records.values(), key=lambda record: (record.timestamp, _identify(record))), tally.close()


def join_events(interactions: Sequence[Interaction], events: Sequence[FeedbackEvent]) -> tuple[list[Reviewed], Step]:
    """Gives every interaction the events about it, without those in quarantine."""
    tally = Tally("join feedback", len(events))
    known = {interaction.interaction_id: interaction for interaction in interactions}
    bursts = find_bursts(events)
    kept: dict[str, list[FeedbackEvent]] = defaultdict(list)
    for event in events:
        interaction = known.get(event.interaction_id)
        if interaction is None:
            tally.drop("unknown interaction", event.interaction_id)
        elif event.user_id != interaction.user_id:
            tally.drop("another user's feedback", event.event_id)
        elif event.event_id in bursts:
            tally.drop("burst", f"{event.user_id}: {event.feedback_type.value} at {event.timestamp:%Y-%m-%d %H:%M:%S}")
        else:
            kept[event.interaction_id].append(event)
    lasted = _measure_sessions(interactions, kept)
    reviewed = [
        Reviewed(item, tuple(kept[item.interaction_id]), lasted.get((item.user_id, item.session_id or "")))
        for item in interactions
    ]
    return reviewed, tally.close()


def find_bursts(events: Iterable[FeedbackEvent]) -> set[str]:
    """Ids of events that lie, with `BURST_EVENTS` - 1 others of the same user, within `BURST_S` seconds."""
    by_user: dict[str, list[FeedbackEvent]] = defaultdict(list)
    for event in events:
        by_user[event.user_id].append(event)
    found: set[str] = set()
    for own in by_user.values():
        own.sort(key=lambda event: (event.timestamp, event.event_id))
        for place in range(len(own) - BURST_EVENTS + 1):
            burst = own[place : place + BURST_EVENTS]
            if (burst[-1].timestamp - burst[0].timestamp).total_seconds() <= BURST_S:
                found.update(event.event_id for event in burst)
    return found


def redact_all(reviewed: Sequence[Reviewed]) -> tuple[list[Reviewed], Step]:
    """Replaces personal data in every text of every interaction, its context and history, and in corrections."""
    tally = Tally("redact personal data", len(reviewed))
    changed: dict[str, int] = defaultdict(int)
    redacted = []
    for item in reviewed:
        one = item.interaction
        corrections = [event.corrected_response or "" for event in item.events]
        texts = [one.query, one.context or "", one.response, *(turn.content for turn in one.history), *corrections]
        clean, counts = redact_conversation(texts)
        if not counts:
            redacted.append(item)
            continue
        for kind, count in counts.items():
            changed[kind] += count
        query, context, response, *rest = clean
        turns = tuple(
            Message(role=turn.role, content=text)
            for turn, text in zip(one.history, rest[: len(one.history)], strict=True)
        )
        events = tuple(
            event.model_copy(update={"corrected_response": text}) if event.corrected_response else event
            for event, text in zip(item.events, rest[len(one.history) :], strict=True)
        )
        update = {"query": query, "context": context or None, "response": response, "history": turns}
        redacted.append(replace(item, interaction=one.model_copy(update=update), events=events))
    return redacted, tally.close(changed=changed)


def _identify(record: BaseModel) -> str:
    return record.event_id if isinstance(record, FeedbackEvent) else str(getattr(record, "interaction_id", ""))


def _measure_sessions(
    interactions: Sequence[Interaction], events: Mapping[str, Sequence[FeedbackEvent]]
) -> dict[tuple[str, str], float]:
    """Seconds from the first interaction of a session to the last thing seen in it; without a session id: not known."""
    seen: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for item in interactions:
        if item.session_id:
            times = [item.timestamp, *(event.timestamp for event in events.get(item.interaction_id, ()))]
            seen[item.user_id, item.session_id] += times
    return {name: (max(times) - min(times)).total_seconds() for name, times in seen.items()}
