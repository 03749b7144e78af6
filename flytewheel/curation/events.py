"""Joins reactions to the answers they are about, and takes personal data out of both.

Decides which events can count: the interaction is in the window, and the event comes from the person who asked. Votes
that are not somebody's own opinion are found later, over all users (`abuse`).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from flytewheel.curation.ledger import Tally
from flytewheel.curation.marks import read_lines
from flytewheel.curation.mirrors import parse_record
from flytewheel.dataset import Step
from flytewheel.pii import redact_changed
from flytewheel.records import FeedbackEvent, Interaction, Message

FindNames = Callable[[Sequence[str]], list[list[tuple[int, int]]]]

_SAID = ("corrected_response", "other_response", "comment")
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
    identity = "event_id" if model is FeedbackEvent else "interaction_id"
    identify = attrgetter(identity)
    kept: dict[str, tuple[bytes, _Record]] = {}
    others: defaultdict[str, set[bytes]] = defaultdict(set)
    faults: dict[bytes, str] = {}
    for line in read_lines(path):
        try:
            record = parse_record(line, model)
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]
            # Only where and why: a line cut short may hold half of an address, which nothing would recognise.
            faults[line] = f"{'.'.join(map(str, fault['loc'])) or 'line'}: {fault['msg']}"
            continue
        except ValueError as error:
            faults[line] = f"line: {error}"
            continue
        name = identify(record)
        first, _ = kept.setdefault(name, (line, record))
        if first != line:
            others[name] |= {first, line}
            kept[name] = min(kept[name], (line, record), key=itemgetter(0))
    copies = {name: len(bodies) - 1 for name, bodies in others.items()}
    tally = Tally(f"read {path.stem}", len(kept) + sum(copies.values()) + len(faults))
    for said in faults.values():
        tally.drop("unreadable", said)
    for name, count in copies.items():
        tally.drop("same id, other content", name, count=count)
    records = [record for _, record in kept.values()]
    return sorted(records, key=attrgetter("timestamp", identity)), tally.close()


def join_events(interactions: Sequence[Interaction], events: Sequence[FeedbackEvent]) -> tuple[list[Reviewed], Step]:
    """Gives every interaction the events about it that its own user sent."""
    tally = Tally("join feedback", len(events))
    known = {interaction.interaction_id: interaction for interaction in interactions}
    kept: dict[str, list[FeedbackEvent]] = defaultdict(list)
    for event in events:
        interaction = known.get(event.interaction_id)
        if interaction is None:
            tally.drop("unknown interaction", event.interaction_id)
        elif event.user_id != interaction.user_id:
            tally.drop("another user's feedback", event.event_id)
        else:
            kept[event.interaction_id].append(event)
    lasted = _measure_sessions(interactions, kept)
    reviewed = [
        Reviewed(item, tuple(kept.get(item.interaction_id, ())), lasted.get((item.user_id, item.session_id or "")))
        for item in interactions
    ]
    return reviewed, tally.close()


def keep_reacted(reviewed: Sequence[Reviewed]) -> tuple[list[Reviewed], Step]:
    """Keeps interactions that somebody reacted to, and turns of sessions in which somebody did."""
    tally = Tally("keep what was reacted to", len(reviewed))
    sessions = {_name_session(item) for item in reviewed if item.events and item.interaction.session_id}
    kept = []
    for item in reviewed:
        if item.events or _name_session(item) in sessions:
            kept.append(item)
        else:
            tally.drop("no reaction", item.interaction.query)
    return kept, tally.close()


def redact_all(reviewed: Sequence[Reviewed], find_names: FindNames | None = None) -> tuple[list[Reviewed], Step]:
    """Replaces personal data in every text of every interaction, its context and history, and in its events."""
    tally = Tally("redact personal data", len(reviewed))
    conversations = [_list_texts(item) for item in reviewed]
    redacted = list(reviewed)
    changed: Counter[str] = Counter()
    for place, (clean, counts) in redact_changed(conversations, names=find_names).items():
        changed.update(counts)
        if clean != conversations[place]:
            redacted[place] = _put_texts(reviewed[place], clean)
    return redacted, tally.close(changed=changed)


def mask_names(names: Iterable[str]) -> dict[str, str]:
    """Names that hold personal data (a user id that is an e-mail address) become pseudonyms, the same in every week."""
    known = sorted(set(names))
    masked = {name: name for name in known}
    for place, ((text,), _) in redact_changed([[name] for name in known]).items():
        if text != known[place]:
            masked[known[place]] = f"user-{hashlib.sha256(known[place].encode()).hexdigest()[:16]}"
    return masked


def _name_session(item: Reviewed) -> tuple[str, str | None]:
    return item.interaction.user_id, item.interaction.session_id


def _list_texts(item: Reviewed) -> list[str]:
    one = item.interaction
    # As the conversation went: a later turn that brings this one as history gives it the same placeholders.
    texts = [turn.content for turn in one.history]
    texts += (one.query, one.response, one.context or "")
    for event in item.events:
        texts += [text for name in _SAID if (text := getattr(event, name)) is not None]
    return texts


def _put_texts(item: Reviewed, texts: Sequence[str]) -> Reviewed:
    one = item.interaction
    before = len(one.history)
    query, response, context, *rest = texts[before:]
    turns = tuple(Message(role=turn.role, content=text) for turn, text in zip(one.history, texts[:before], strict=True))
    said = iter(rest)
    events = tuple(
        event.model_copy(update={name: next(said) for name in _SAID if getattr(event, name) is not None})
        for event in item.events
    )
    update = {"query": query, "context": context or None, "response": response, "history": turns}
    return replace(item, interaction=one.model_copy(update=update), events=events)


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
