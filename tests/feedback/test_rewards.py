"""Rewards against figures worked by hand from the reference design's table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.feedback.rewards import Reward, score
from flytewheel.recipe import FeedbackSpec, Rewards
from flytewheel.records import FeedbackEvent

NOON = datetime(2026, 11, 9, 12, tzinfo=UTC)
SPEC = FeedbackSpec()


def event(
    kind: str, *, after_s: float = 0, name: str = "e", rating: float | None = None, **metadata: Any
) -> FeedbackEvent:
    return FeedbackEvent(
        event_id=name,
        interaction_id="i",
        user_id="u",
        feedback_type=kind,
        timestamp=NOON + timedelta(seconds=after_s),
        rating=rating,
        corrected_response="better" if kind == "correction" else None,
        metadata=metadata,
    )


@pytest.mark.parametrize(
    ("reaction", "worth"),
    [
        (event("thumbs_up"), 1.0),
        (event("thumbs_down"), -1.0),
        (event("rating", rating=1), -1.0),
        (event("rating", rating=2), -0.5),
        (event("rating", rating=3), 0.0),
        (event("rating", rating=4.5), 0.75),
        (event("rating", rating=5), 1.0),
        (event("correction"), -0.5),
        (event("abandonment"), -0.8),
        (event("follow_up"), 0.0),
    ],
)
def test_explicit_reaction(reaction: FeedbackEvent, worth: float) -> None:
    assert score([reaction], SPEC) == Reward(explicit=worth, implicit=None, total=worth)


@pytest.mark.parametrize(
    ("reaction", "worth"),
    [
        (event("reformulation"), -0.5),
        (event("accepted", seconds=1.2), 0.6),
        (event("accepted", seconds=3), 0.6),
        (event("accepted", seconds=3.1), 0.0),
        (event("accepted"), 0.0),
        (event("copied"), 0.4),
        (event("citation_click"), 0.3),
        (event("citation_click", count=2), 0.6),
        (event("citation_click", count=0), 0.0),
        (event("read_time", read_s=24, expected_s=30), 0.5),
        (event("read_time", read_s=2.4, expected_s=3), 0.5),
        (event("read_time", read_s=23.9, expected_s=30), 0.0),
        (event("read_time", read_s=40, expected_s=30), 0.5),
        (event("read_time", read_s=40), 0.0),
        (event("read_time", read_s=40, expected_s=0), 0.0),
    ],
)
def test_implicit_reaction(reaction: FeedbackEvent, worth: float) -> None:
    assert score([reaction], SPEC) == Reward(explicit=None, implicit=pytest.approx(worth), total=pytest.approx(worth))


def test_nothing_said_and_nothing_seen_is_not_zero() -> None:
    assert score([], SPEC) == Reward(None, None, None)


def test_what_is_no_vote_outweighs_none() -> None:
    up, left, next_question = event("thumbs_up"), event("abandonment", after_s=60), event("follow_up", after_s=90)
    assert score([left, next_question, up], SPEC).explicit == 1.0
    assert score([next_question, left], SPEC).explicit == -0.8


def test_last_explicit_event_counts_by_time_then_id() -> None:
    down = event("thumbs_down", after_s=5, name="a")
    assert score([down, event("thumbs_up", after_s=1, name="z")], SPEC).explicit == -1.0
    assert score([down, event("thumbs_up", after_s=5, name="b")], SPEC).explicit == 1.0  # same second: the later id


def test_implicit_events_add_up_beside_the_explicit_one() -> None:
    """-0.5 (correction), and 0.4 + 0.3 = 0.7: together 0.2."""
    reward = score([event("correction"), event("copied"), event("citation_click", count=1)], SPEC)
    assert reward.explicit == -0.5
    assert reward.implicit == pytest.approx(0.7)
    assert reward.total == pytest.approx(0.2)


def test_sum_is_clipped() -> None:
    """1 + 0.6 = 1.6 is 1; and no number of clicks (9 × 0.3 = 2.7, clipped to 1) outweighs a thumb: -1 + 1 = 0."""
    assert score([event("thumbs_up"), event("accepted", seconds=1)], SPEC).total == 1.0
    assert score([event("abandonment"), event("reformulation")], SPEC).total == -1.0  # -0.8 - 0.5 = -1.3
    assert score([event("thumbs_down"), event("citation_click", count=9)], SPEC) == Reward(-1.0, 1.0, 0.0)


def test_recipe_chooses_what_is_listened_to() -> None:
    events = [event("thumbs_down"), event("copied"), event("reformulation")]
    assert score(events, FeedbackSpec(enable_explicit=False)) == Reward(None, pytest.approx(-0.1), pytest.approx(-0.1))
    assert score(events, FeedbackSpec(enable_implicit=False)) == Reward(-1.0, None, -1.0)
    assert score(events, FeedbackSpec(implicit_tracking_events=("copied",))).implicit == 0.4
    assert score(events, FeedbackSpec(implicit_tracking_events=())).implicit is None


def test_recipe_sets_the_figures() -> None:
    rewards = Rewards(thumbs_up=0.9, copied=0.05, accepted_within_s=10.0, read_share=0.5)
    spec = FeedbackSpec(rewards=rewards)
    assert score([event("thumbs_up"), event("copied")], spec).total == pytest.approx(0.95)
    assert score([event("accepted", seconds=9)], spec).implicit == 0.6
    assert score([event("read_time", read_s=5, expected_s=10)], spec).implicit == 0.5


def test_short_sessions_say_nothing_implicitly() -> None:
    spec = FeedbackSpec(min_session_duration_s=10)
    events = [event("thumbs_up"), event("reformulation")]
    assert score(events, spec, session_duration_s=9.9) == Reward(1.0, None, 1.0)
    assert score(events, spec, session_duration_s=10) == Reward(1.0, -0.5, 0.5)
    assert score(events, spec) == Reward(1.0, -0.5, 0.5)  # not known is not short


KINDS = st.sampled_from(["thumbs_up", "thumbs_down", "abandonment", "copied", "reformulation", "citation_click"])


@given(
    st.lists(st.tuples(KINDS, st.integers(0, 3)), max_size=8).flatmap(
        lambda said: st.tuples(st.just(said), st.permutations(said))
    )
)
def test_order_does_not_matter_and_parts_stay_in_range(orders: tuple[list[Any], list[Any]]) -> None:
    names = {said: f"e{place}" for place, said in enumerate(sorted(set(orders[0])))}
    first, second = (
        score([event(kind, after_s=at, name=names[kind, at]) for kind, at in order], SPEC) for order in orders
    )
    assert first == second
    assert all(part is None or -1 <= part <= 1 for part in (first.explicit, first.implicit, first.total))
