"""Signals against views worked by hand, and as properties: no order, repeat, gap or later event changes one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.feedback.reading import CHARACTERS_A_MINUTE, OTHER, OTHER_WIDE, WIDE_A_MINUTE, expect_reading_ms
from flytewheel.feedback.rewards import score
from flytewheel.feedback.signals import KINDS, LONGEST_MS, Seen, View, compare_questions, find_signals, needs_question
from flytewheel.recipe import FeedbackSpec
from flytewheel.records import FeedbackEvent

OLD = 60_000  # ms: a session that counts


def see(*kinds: tuple[Any, ...] | str, every_ms: int = 1_000) -> list[Seen]:
    """Events numbered from 0, one each second unless `(kind, at_ms, …)` says when."""
    made = []
    for number, kind in enumerate(kinds):
        name, at_ms, *more = (kind, number * every_ms) if isinstance(kind, str) else kind
        made.append(Seen(number, at_ms, name, **(more[0] if more else {})))
    return made


def found(view: View) -> dict[str, dict[str, Any]]:
    return {signal.kind.value: signal.metadata for signal in find_signals(view)}


def test_reading_time_is_characters_by_the_languages_speed() -> None:
    """987 English characters take a minute; a German text of as many 60 000 · 987 / 920 = 64 369.6 ms."""
    assert expect_reading_ms(987, 0, "en") == expect_reading_ms(987, 0, "en-GB") == 60_000
    assert expect_reading_ms(987, 0, "de") == 64_370
    assert expect_reading_ms(255, 255, "zh-Hans") == 60_000
    assert expect_reading_ms(930 + 306, 306, None) == expect_reading_ms(930 + 306, 306, "tlh") == 120_000
    assert expect_reading_ms(3, 0, "en") == 1_000
    letters = list(CHARACTERS_A_MINUTE.values())
    assert abs(sum(letters) / len(letters) - OTHER) < 7
    assert sum(WIDE_A_MINUTE.values()) / 2 == OTHER_WIDE


def test_read_to_four_fifths() -> None:
    """1,000 ms of reading for a short answer: 800 are enough, whatever is seen later."""
    view = View(see("shown", ("hidden", 799)), OLD, characters=10)
    assert "read_time" not in found(view)
    for last in (800, 5_000, 500_000):
        view = View(see("shown", ("hidden", last)), OLD, characters=10)
        assert found(view) == {"read_time": {"read_s": 0.8, "expected_s": 1.0}}
        assert find_signals(view)[0].at_ms == 800
    away = View(see("shown", ("hidden", 500), ("visible", 90_000), ("hidden", 90_300)), OLD, characters=10)
    assert find_signals(away)[0].at_ms == 90_300
    assert "read_time" not in found(View(see("shown", ("hidden", 9_000)), OLD, characters=0))


def test_a_long_answer_must_be_scrolled_through() -> None:
    half = ("shown", 0, {"depth": 0.5})
    assert "read_time" not in found(View(see(half, ("hidden", 9_000)), OLD, characters=10))
    scrolled = View(see(half, ("scroll", 4_000, {"depth": 0.85}), ("hidden", 9_000)), OLD, characters=10)
    assert found(scrolled) == {"read_time": {"read_s": 4.0, "expected_s": 1.0}}


def test_taken_copied_and_clicked() -> None:
    view = View(see("shown", ("accepted", 1_200), "copy", "copy", "citation", "accepted", "citation"), OLD)
    assert [(signal.kind.value, signal.name, signal.metadata) for signal in find_signals(view)] == [
        ("accepted", "", {"seconds": 1.2}),
        ("copied", "", {}),
        ("citation_click", "4", {}),
        ("citation_click", "6", {}),
    ]


def test_the_next_question() -> None:
    asked = "How do I restart the billing service?"
    for text, kind in (
        ("how can I restart billing service", "reformulation"),
        (asked, "reformulation"),
        ("What is the SLA of the search service?", "follow_up"),
        ("the", "follow_up"),
        ("", "follow_up"),
        ("?!", "follow_up"),
    ):
        view = View(see("shown", ("follow_up", 9_000, {"text": text})), OLD, question=asked)
        assert list(found(view)) == [kind], text
    assert needs_question(View(see("shown", ("follow_up", 9_000, {"text": "x"}))))
    assert not needs_question(View(see("shown", "follow_up")))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Wie kündige ich mein Abo?", "Wie kann ich mein Abo kündigen", True),
        ("東京の天気は?", "東京の今日の天気は?", True),
        ("如何重启计费服务", "怎么重启计费服务", True),
        ("東京の天気は?", "おすすめのレストランは?", False),
        ("ﬁx the build", "FIX THE BUILD", True),
        ("😀", "😀", False),
    ],
)
def test_questions_are_compared_in_any_script(one: str, other: str, alike: bool) -> None:
    assert (compare_questions(one, other) >= 0.75) is alike


def test_left_without_a_look() -> None:
    quick = View(see("shown", ("left", 500)), OLD, characters=987)
    assert found(quick) == {"abandonment": {"read_s": 0.5, "expected_s": 63.678}}
    assert found(replace(quick, seen=see("shown", ("left", 20_000)))) == {}
    assert "abandonment" not in found(replace(quick, seen=see("shown", ("rated", 300), ("left", 500))))
    back = replace(quick, seen=see("shown", ("left", 500), "visible", ("copy", 900)))
    assert list(found(back)) == ["abandonment"]  # a view ends when it is left; who comes back opens another


def test_nothing_counts_in_a_session_below_ten_seconds() -> None:
    view = View(see("shown", ("copy", 900), ("hidden", 3_999)), 6_000)
    assert found(view) == {}
    assert list(found(replace(view, session_ms=6_001))) == ["copied"]


def test_clocks_that_jump() -> None:
    backwards = View(see("shown", ("copy", 5_000), ("accepted", -9_000)), OLD)
    assert found(backwards)["accepted"] == {"seconds": 5.0}
    far = find_signals(View(see("shown", ("copy", 2**60)), OLD))
    assert far[0].at_ms == LONGEST_MS


def test_a_list_says_nothing_beyond_its_gap() -> None:
    assert found(View([], OLD)) == found(View(see("copy", "shown"), OLD)) == {}
    whole = see("shown", "hidden", "copy", "accepted")
    assert found(View([whole[0], whole[1], whole[3]], OLD)) == {}


events = st.builds(
    Seen,
    number=st.integers(0, 8),
    at_ms=st.integers(-1_000, 40_000) | st.integers(-(2**62), 2**62),
    kind=st.sampled_from(KINDS),
    depth=st.floats(0, 1),
    text=st.sampled_from(["", "how to restart it", "how do I restart it", "thanks"]),
)
views = st.builds(
    View,
    seen=st.lists(events, max_size=12).map(lambda rest: [Seen(0, 0, "shown"), *rest]),
    session_ms=st.integers(0, 20_000),
    characters=st.integers(0, 400),
    wide=st.integers(0, 400),
    language=st.sampled_from([None, "de", "ja"]),
    question=st.none() | st.just("how do I restart it?"),
)


def deliver(batches: Sequence[Sequence[Seen]], view: View) -> dict[tuple[str, str], Any]:
    """What a store that keeps the first of each id holds in the end; the same id must never come with other content."""
    held: dict[tuple[str, str], Any] = {}
    for batch in batches:
        for signal in find_signals(replace(view, seen=batch)):
            assert held.setdefault((signal.kind.value, signal.name), signal) == signal
    return held


@given(views, st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing(view: View, chance: random.Random) -> None:
    again = [*view.seen, *chance.choices(view.seen, k=5)]
    chance.shuffle(again)
    assert find_signals(replace(view, seen=again)) == find_signals(view)


@given(st.lists(st.sampled_from(KINDS), max_size=12), st.data())
def test_parts_of_a_view_lead_to_the_same_signals(kinds: list[str], data: st.DataObject) -> None:
    """A list cut anywhere, sent in any order, any number of times, with the whole among it."""
    times = sorted(data.draw(st.lists(st.integers(0, 60_000), min_size=len(kinds), max_size=len(kinds))))
    seen = see("shown", *((kind, at, {"depth": 0.9, "text": "next"}) for kind, at in zip(kinds, times, strict=True)))
    view = View(seen, data.draw(st.integers(0, 20_000)), characters=data.draw(st.integers(0, 300)), question="first")
    batches = [data.draw(st.lists(st.sampled_from(seen), max_size=len(seen))) for _ in range(4)] + [seen]
    held = deliver(data.draw(st.permutations(batches)), view)
    assert {(signal.kind.value, signal.name) for signal in find_signals(view)} == set(held)


def test_each_signal_is_worth_what_the_design_says() -> None:
    seen = see("shown", ("accepted", 1_000), "copy", "citation", ("hidden", 20_000))
    view = View(seen, OLD, characters=100)
    made = [
        FeedbackEvent(
            event_id=f"{signal.kind}-{signal.name}",
            interaction_id="i",
            user_id="u",
            feedback_type=signal.kind,
            timestamp="2026-11-28T00:00:00Z",
            metadata=signal.metadata,
        )
        for signal in find_signals(view)
    ]
    # accepted 0.6, copied 0.4, one click 0.3, read 0.5: 1.8, clipped
    assert score(made, FeedbackSpec()).implicit == 1.0
    assert [score([event], FeedbackSpec()).total for event in made] == [0.6, 0.4, 0.3, 0.5]
