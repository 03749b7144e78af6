"""Decks from the reports that the stations leave; those of whole turns are in tests/workflows."""

from __future__ import annotations

from typing import Any

from flytewheel import decks
from flytewheel.records import Interval, to_jsonable
from flytewheel.training.pair_quality import describe_pairs
from flytewheel.turn import describe_card
from tests.dataset.made import CARD

INTERVAL = to_jsonable(Interval(0.5, 0.4, 0.6))


def test_a_data_sets_deck_shows_each_step_and_why_rows_went() -> None:
    report: dict[str, Any] = {
        "digest": "d1",
        "interactions": 1200,
        "events": 7,
        "counts": {"sft": {"train": 3, "test": 1}},
        "topics": {"disk": 3},
        "steps": [
            {
                "name": "screen",
                "rows_in": 9,
                "rows_out": 4,
                "dropped": {"toxic": 5},
                "examples": {"toxic": ["<EMAIL_1> is a <b>"]},
                "changed": {},
            }
        ],
    }
    deck = decks.describe("curate", report)
    assert "1,200 interactions, 7 feedback events" in deck
    assert "toxic 5" in deck
    assert "&lt;EMAIL_1&gt; is a &lt;b&gt;" in deck
    assert "data set d1" in deck


def test_a_data_sets_deck_shows_what_a_card_shows() -> None:
    deck = decks.describe("curate", describe_card(CARD, replay=""))
    for title in ("Rows left after each stage", "Quality of the answers", "Words of the answers", "Topics, before and"):
        assert title in deck
    assert deck.count("<svg") == 5
    assert "chosen answers are +2.0 words longer than rejected ones" in deck
    assert "way too long, &lt;EMAIL_1&gt;" in deck
    assert "&lt;EMAIL_1&gt; is a &lt;b&gt;fool&lt;/b&gt;" in deck
    assert "holdout" in deck
    assert "<script" not in deck
    assert "src=" not in deck


def test_a_trainings_deck_draws_the_loss() -> None:
    report = {
        "method": "sft",
        "curve": [{"step": 1, "loss": 2.0}, {"step": 2, "eval_loss": 1.5}, {"step": 3, "loss": 1.0}],
    }
    deck = decks.describe("train_sft", report)
    assert "loss over step: 2 to 1" in deck
    assert "<svg" not in decks.describe("align", {"method": "skipped", "curve": []})


def test_a_reward_models_deck_shows_accuracy_beside_length_and_calibration() -> None:
    margins, lengths = [2.0, 1.0, -0.5, 0.1], [(5, 3), (2, 4), (3, 4), (6, 1)]
    held_out = to_jsonable(describe_pairs(margins, lengths, "longer"))
    report = {"method": "reward", "curve": [{"step": 1, "loss": 0.7}], "held_out": held_out}
    deck = decks.describe("train_reward", report)
    assert "held-out accuracy 0.750 [0.301, 0.954] over 4 pairs" in deck
    assert "length alone (longer wins) 0.500 [" in deck
    assert "only 4 held-out pairs" in deck
    assert deck.count("<h2>Held out</h2>") == 1
    assert '<td class="n">1</td><td>0.731</td><td>1.000</td>' in deck  # sigmoid(1), a bin of its own


def test_a_grpo_trainings_deck_draws_the_reward_and_says_what_was_gained() -> None:
    gain = to_jsonable(Interval(0.5, 0.2, 0.8))
    held_out = {"prompts": 40, "reward_start": 1.0, "reward_end": 1.5, "reward_gain": gain, "kl": 0.01}
    curve = [{"step": 1, "loss": 0.0, "reward": 1.0}, {"step": 2, "loss": 0.1, "reward": 1.75}]
    deck = decks.describe("align", {"method": "grpo", "curve": curve, "held_out": held_out})
    assert "reward over step: 1 to 1.75" in deck
    assert "mean reward 1.000 → 1.500, gain 0.500 [0.200, 0.800] over 40 held-out prompts" in deck
    assert "KL 0.0100 nats a token" in deck


def test_an_evaluations_deck_compares_and_a_verdicts_lists_reasons() -> None:
    metric = {"candidate": INTERVAL, "champion": INTERVAL, "difference": to_jsonable(Interval(None, None, None))}
    deck = decks.describe("evaluate", {"metrics": {"rouge_l": metric}})
    assert "<td>rouge_l</td><td>0.500 [0.400, 0.600]</td>" in deck
    assert "cannot tell" in deck
    verdict = decks.describe("gate", {"decision": "hold", "reasons": ["cannot tell: few"], "metrics": {}})
    assert "<p>hold</p>" in verdict
    assert "cannot tell: few" in verdict
