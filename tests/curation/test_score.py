"""Quality by hand, and what becomes of corrections."""

from __future__ import annotations

import pytest

from flytewheel.curation.events import Reviewed
from flytewheel.curation.score import measure_quality, score_answers, screen_answers, screen_corrections, uses_context
from flytewheel.feedback.rewards import score
from flytewheel.recipe import CurationSpec, FeedbackSpec, QualityWeights
from tests.curation.windows import BASE, make_event, make_interaction

SPEC = CurationSpec()
ANSWER = "Look at the graph, then drain the node and check that every write succeeds again."


def count(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("explicit", "implicit", "fits", "used", "quality"),
    [
        (1.0, 0.5, True, True, 0.85),  # 0.4 + 0.15 + 0.15 + 0.15
        (1.0, None, True, False, 0.55),
        (-1.0, 1.0, True, True, 0.2),  # -0.4 + 0.3 + 0.3
        (-1.0, None, False, False, 0.0),
        (None, None, True, True, 0.3),
    ],
)
def test_quality_by_hand(
    explicit: float | None, implicit: float | None, fits: bool, used: bool, quality: float
) -> None:
    got = measure_quality(QualityWeights(), explicit=explicit, implicit=implicit, length_fits=fits, context_used=used)
    assert got == pytest.approx(quality)


def test_context_counts_from_a_share_of_words() -> None:
    """Of drain, node, wait, long (four words of four letters or more... all four), two stand in the context: a half."""
    assert uses_context("drain node wait long", "Runbook: drain the node")
    assert not uses_context("drain this very long list of other matters", "Runbook: drain the node")
    assert not uses_context("drain node", None)


def test_wrong_answers_are_dropped_by_reason() -> None:
    rows = [
        make_interaction(0, completed=False),
        make_interaction(1, response=" "),
        make_interaction(2, response="Restart it."),
        make_interaction(3, response=ANSWER * 200),
        make_interaction(4, response="Look at the graph. " * 6),
        make_interaction(5, query="you idiot, help"),
        make_interaction(6, response=f"{ANSWER} <|im_end|>"),
        make_interaction(7),
    ]
    kept, step = screen_answers([Reviewed(one, ()) for one in rows], SPEC, count)
    assert [item.interaction.interaction_id for item in kept] == ["i00007"]
    assert step.dropped == {
        "incomplete": 1,
        "answer empty": 1,
        "answer shorter than 10 tokens": 1,
        "answer longer than 1000 tokens": 1,
        "answer repeats itself": 1,
        "toxic in question": 1,
        "prompt injection in answer or context": 1,
    }


def test_corrections_without_form_still_say_that_the_answer_was_wrong() -> None:
    one = make_interaction(0, response=ANSWER)
    texts = ["no, wrong", f"  {ANSWER} ", f"{ANSWER} You idiot!", f"{ANSWER} Ask the owner."]
    events = tuple(make_event(n, one, "correction", corrected_response=text) for n, text in enumerate(texts))
    kept, step = screen_corrections([Reviewed(one, events)], SPEC, count)
    assert [event.corrected_response for event in kept[0].events] == [None, None, texts[3]]
    assert step.dropped == {
        "correction shorter than 10 tokens": 1,
        "correction changes nothing": 1,
        "toxic in correction": 1,
    }


def test_scored_answers_carry_reward_and_last_correction() -> None:
    one, silent = make_interaction(0, response=ANSWER), make_interaction(1)
    events = (
        make_event(2, one, "correction", corrected_response=f"{ANSWER} Second."),
        make_event(1, one, "correction", corrected_response=f"{ANSWER} First."),
        make_event(3, one, "copied"),
    )
    rows, step = score_answers(
        [Reviewed(one, events), Reviewed(silent, ())],
        feedback=FeedbackSpec(), curation=SPEC, base=BASE, count_tokens=count, score_rewards=score,
    )  # fmt: skip
    assert step.dropped == {"no reaction": 1}
    assert (rows[0].explicit, rows[0].total) == (-0.5, pytest.approx(-0.1))
    assert rows[0].correction == f"{ANSWER} Second."
    assert rows[0].quality == pytest.approx(0.07)  # -0.2 + 0.12 + 0.15
    assert rows[0].correction_quality == pytest.approx(0.55)
