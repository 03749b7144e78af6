"""What a reaction is worth: events of one interaction become a reward in [-1, 1] (the reference design's table).

Explicit (said): thumbs +1/-1, rating (r - 3) / 2, correction -0.5, abandonment -0.8, follow-up 0, edit 0, a blind duel
won or lost ±0.5; of several the last one counts. Implicit (observed): reformulation -0.5, accepted within 3 s +0.6,
copied +0.4, each citation click +0.3, read at least 80 % of the expected time +0.5; they add up. Figures are fields of
the recipe (`feedback.rewards`).

Beyond the design: a follow-up and an abandonment are no votes. They are what a person did next, often seen by a client
that knows of no thumb: they count only where nobody voted, an abandonment before a follow-up. The implicit sum is
clipped to [-1, 1] before it meets the explicit part, so that no number of clicks outweighs a thumb; an amount that is
not given (`seconds`, `expected_s`) is no evidence and counts 0, a missing click `count` counts 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from flytewheel.recipe import FeedbackSpec, Rewards
from flytewheel.records import EXPLICIT_TYPES, FeedbackEvent, FeedbackType

_ROUNDING = 1e-9  # 2.4 s of 3 s is 0.7999999999999999 in doubles, and read to 80 % all the same
_WEIGHED = frozenset(  # worth what came with them; all others have one figure in the recipe
    (
        FeedbackType.RATING,
        FeedbackType.DUEL,
        FeedbackType.ACCEPTED,
        FeedbackType.CITATION_CLICK,
        FeedbackType.READ_TIME,
    )
)
_WEAK = {FeedbackType.FOLLOW_UP: 0, FeedbackType.ABANDONMENT: 1}


@dataclass(frozen=True, slots=True)
class Reward:
    """Reward of an interaction, each part in [-1, 1]; `None` where there was no event of that kind."""

    explicit: float | None
    implicit: float | None
    total: float | None


def score(events: Iterable[FeedbackEvent], spec: FeedbackSpec, *, session_duration_s: float | None = None) -> Reward:
    """Scores the events of one interaction; their order does not matter. Of votes at one time the greater id counts.

    Args:
        events: all events of the interaction.
        spec: which reactions are listened to, and what each is worth.
        session_duration_s: length of the interaction's session; implicit signals of a session shorter than
            `spec.min_session_duration_s` are ignored. `None` (not known) is not short.
    """
    said, seen = [], []
    short = session_duration_s is not None and session_duration_s < spec.min_session_duration_s
    for event in events:
        kind = event.feedback_type
        if kind in EXPLICIT_TYPES:
            if spec.enable_explicit:
                said.append(event)
        elif spec.enable_implicit and not short and kind in spec.implicit_tracking_events:
            seen.append(event)
    explicit = implicit = None
    if said:
        last = said[0] if len(said) == 1 else max(said, key=_rank)
        explicit = _clip(score_event(last, spec.rewards))
    if seen:
        implicit = _clip(math.fsum(score_event(event, spec.rewards) for event in seen))
    parts = [part for part in (explicit, implicit) if part is not None]
    return Reward(explicit, implicit, _clip(math.fsum(parts)) if parts else None)


class Scored(Protocol):
    """What an event is scored by."""

    @property
    def feedback_type(self) -> FeedbackType: ...
    @property
    def rating(self) -> float | None: ...
    @property
    def preferred(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


def score_event(event: Scored, rewards: Rewards) -> float:
    """Gives what one event is worth by itself, not clipped."""
    kind = event.feedback_type
    if kind not in _WEIGHED:
        return float(getattr(rewards, kind))
    match kind:
        case FeedbackType.RATING:
            return 0.0 if event.rating is None else (event.rating - 3) / 2
        case FeedbackType.DUEL:
            return {"this": rewards.duel, "other": -rewards.duel}.get(event.preferred or "tie", 0.0)
        case FeedbackType.ACCEPTED:
            seconds = _amount(event, "seconds")
            return rewards.accepted if seconds is not None and seconds <= rewards.accepted_within_s else 0.0
        case FeedbackType.CITATION_CLICK:
            count = _amount(event, "count")
            return rewards.citation_click * (1 if count is None else count)
        case _:
            read_s, expected_s = _amount(event, "read_s"), _amount(event, "expected_s")
            if read_s is None or not expected_s:
                return 0.0
            return rewards.read_time if read_s / expected_s >= rewards.read_share - _ROUNDING else 0.0


def rank_vote(kind: FeedbackType) -> int:
    """How much an explicit event counts beside others: those of the highest rank decide, the last of them."""
    return _WEAK.get(kind, 2)


def _rank(event: FeedbackEvent) -> tuple[int, datetime, str]:
    return rank_vote(event.feedback_type), event.timestamp, event.event_id


def _amount(event: Scored, name: str) -> float | None:
    value = event.metadata.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _clip(value: float) -> float:
    return value if -1.0 <= value <= 1.0 else max(-1.0, min(1.0, value))
