"""What a reaction is worth, told to whoever listens the moment that it is stored: bandits, metrics, other processes.

A `Note` is one event with its worth (DESIGN §3). Of an interaction's notes the last vote counts and what was observed
adds up: `RewardBook` folds them, in any order and however often each comes. A subscriber is called in the event loop
right after the store has said yes, so it must be quick; the figures of an interaction that began before this process
are not known here and say None.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from flytewheel.feedback.rewards import rank_vote, score_event
from flytewheel.recipe import Rewards
from flytewheel.records import EXPLICIT_TYPES
from router.feedback.events import Made

logger = logging.getLogger("router.feedback")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Note(NamedTuple):
    """One stored event and its worth. `value` is in [-1, 1]; `at_us` microseconds since 1970, `given_ms` of the answer
    in milliseconds; `name`, `version`, `arm`, `propensity`, `experiment_id` and `user` are those of the answer.
    """

    event_id: str
    interaction_id: str
    feedback_type: str
    value: float
    explicit: bool
    rank: int
    at_us: int
    name: str
    version: str
    arm: str
    propensity: float | None
    experiment_id: str | None
    given_ms: int
    user: str = ""


class Total(NamedTuple):
    """Worth of an interaction, each in [-1, 1]; None where nothing of the kind was said or seen."""

    explicit: float | None
    implicit: float | None
    total: float | None


Subscriber = Callable[[Sequence[Note]], None]


def make_note(made: Made, value: float) -> Note:
    """The note of a stored event that is worth `value`."""
    row, given, kind = made.row, made.given, made.feedback_type
    return Note(
        row.event_id,
        row.interaction_id,
        row.feedback_type,
        value,
        kind in EXPLICIT_TYPES,
        rank_vote(kind),
        (row.timestamp - _EPOCH) // _MICROSECOND,
        given.source,
        given.version,
        given.arm,
        given.propensity,
        given.experiment_id,
        given.given_ms,
        given.user,
    )


@dataclass(slots=True)
class _Page:
    given_ms: int
    vote: tuple[int, int, str, float] | None = None  # rank, time, id, value
    observed: dict[str, float] = field(default_factory=dict)


class RewardBook:
    """Worth of the latest interactions, from their notes.

    Args:
        since_ms: nothing is known of interactions that began before; milliseconds since 1970.
        most: interactions that are kept, the latest ones.
    """

    def __init__(self, since_ms: int, most: int = 100_000) -> None:
        self._since_ms = since_ms
        self._most = most
        self._pages: OrderedDict[str, _Page] = OrderedDict()

    def add(self, note: Note) -> Total | None:
        """Takes a note; the interaction's worth with it, None where earlier notes may have been missed."""
        page = self._pages.get(note.interaction_id)
        if page is None:
            if note.given_ms < self._since_ms:
                return None
            page = self._pages[note.interaction_id] = _Page(note.given_ms)
            if len(self._pages) > self._most:
                _, forgotten = self._pages.popitem(last=False)
                self._since_ms = max(self._since_ms, forgotten.given_ms + 1)
        else:
            self._pages.move_to_end(note.interaction_id)
        if note.explicit:
            vote = (note.rank, note.at_us, note.event_id, note.value)
            page.vote = vote if page.vote is None else max(page.vote, vote)
        else:
            page.observed[note.event_id] = note.value
        return _sum_page(page)


def _sum_page(page: _Page) -> Total:
    explicit = page.vote[3] if page.vote is not None else None
    implicit = max(-1.0, min(1.0, sum(page.observed.values()))) if page.observed else None
    total = max(-1.0, min(1.0, (explicit or 0.0) + (implicit or 0.0)))
    return Total(explicit, implicit, total)


class RewardHub:
    """Tells this process's subscribers of rewards, from here and from other processes, each event once.

    Args:
        rewards: what each reaction is worth.
        clock: seconds since 1970.
    """

    def __init__(self, rewards: Rewards | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.rewards = rewards or Rewards()
        self.book = RewardBook(int(clock() * 1000))
        self._subscribers: dict[int, Subscriber] = {}
        self._forward: Subscriber | None = None
        self._wanted: Callable[[], bool] = lambda: True
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._next = 0

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls `subscriber` with every batch of new notes; returns what ends that."""
        key, self._next = self._next, self._next + 1
        self._subscribers[key] = subscriber
        return lambda: self._subscribers.pop(key, None) and None

    def forward_to(self, forward: Subscriber | None, wanted: Callable[[], bool] = lambda: True) -> None:
        """Where this process's own notes go besides, while they are `wanted`: the way to other processes."""
        self._forward, self._wanted = forward, wanted

    def publish(self, stored: Sequence[Made]) -> list[float]:
        """Scores what was stored just now, tells everyone, and returns what each event is worth."""
        values = [max(-1.0, min(1.0, score_event(made, self.rewards))) for made in stored]
        forward = self._forward if self._forward is not None and self._wanted() else None
        if stored and (forward is not None or self._subscribers):
            notes = [make_note(made, value) for made, value in zip(stored, values, strict=True)]
            if forward is not None:
                forward(notes)
            if self._subscribers:
                self.deliver(notes)
        return values

    def deliver(self, notes: Iterable[Note]) -> None:
        """Tells this process's subscribers of those notes that they were not told of before."""
        fresh = [note for note in notes if self._is_new(note.event_id)]
        for subscriber in list(self._subscribers.values()) if fresh else ():
            try:
                subscriber(fresh)
            except Exception:  # one listener's fault is not the sender's
                logger.exception("a subscriber of rewards failed")

    def is_news(self, event_id: str) -> bool:
        """Whether nobody was told of an event yet, as far as is remembered."""
        return event_id not in self._seen

    def _is_new(self, event_id: str) -> bool:
        if event_id in self._seen:
            return False
        self._seen[event_id] = None
        if len(self._seen) > 100_000:
            self._seen.popitem(last=False)
        return True


def to_json(note: Note, total: Total | None) -> dict[str, Any]:
    """A note as it is sent out."""
    return {
        "event_id": note.event_id,
        "interaction_id": note.interaction_id,
        "feedback_type": note.feedback_type,
        "reward": note.value,
        "explicit": note.explicit,
        "timestamp": (_EPOCH + timedelta(microseconds=note.at_us)).isoformat().replace("+00:00", "Z"),
        "name": note.name,
        "version": note.version,
        "arm": note.arm,
        "propensity": note.propensity,
        "experiment_id": note.experiment_id,
        "interaction": None if total is None else total._asdict(),
    }
