"""Decks from the reports that the stations leave; those of whole turns are in tests/workflows."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any
from xml.etree import ElementTree

from flytewheel import decks
from flytewheel.records import Interval, to_jsonable
from flytewheel.training.pair_quality import describe_pairs
from flytewheel.training.report import TrainingReport
from flytewheel.turn import describe_card
from tests.dataset.made import CARD
from tests.run_reports import trained

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


def test_a_verdicts_deck_says_the_decision_first_and_on_which_side_a_reason_is() -> None:
    report = {
        "decision": "promote_to_canary", "verdict": "hold", "override": {"by": "Ann <a>"},
        "reasons": ["overruled by Ann <a>", "for: x < y", "against: b", "cannot tell: c: d"],
    }  # fmt: skip
    deck = decks.describe("gate", report)
    ElementTree.fromstring(f"<div>{deck}</div>")
    assert (
        deck.index("<b>promote_to_canary</b>") < deck.index("was hold; Ann &lt;a&gt; overruled it") < deck.index("<tr>")
    )
    cells = re.findall(r'<tr><td style="color:(\S+);white-space:nowrap"><b>([^<]*)</b></td><td>([^<]*)</td>', deck)
    assert [(side, text) for _, side, text in cells] == [
        ("", "overruled by Ann &lt;a&gt;"), ("for", "x &lt; y"), ("against", "b"), ("cannot tell", "c: d"),
    ]  # fmt: skip
    assert len({colour for colour, *_ in cells}) == 4
    old = decks.describe("gate", {"decision": "hold", "reasons": []})  # of an earlier version
    assert "<b>hold</b>" in old


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


def test_a_trainings_deck_tells_facts_in_units_and_draws_its_curves() -> None:
    report = {
        **trained([(step, 2 / step) for step in range(1, 120)]),
        "rows": 12000, "resumed_from_step": 60, "seconds": 3725.0, "truncated_rows": 4, "tokens": 1234567,
        "mean_useful_share": 0.9712, "mean_useful_tokens_per_s": 23100.4, "peak_memory_gib": 1.25,
        "adapter_digest": None, "budget_stop": {"hours": 2}, "lucky": True,
    }  # fmt: skip
    report["curve"] = [
        {
            **point, "tokens_per_s": 900.0, "useful_tokens_per_s": 800.0, "useful_share": 0.9, "memory_gib": 1.0,
            "rewards/chosen": 0.5, "rewards/rejected": -0.5, "rewards/margins": 1.0, "logps/chosen": -3.0,
        }
        for point in report["curve"]
    ]  # fmt: skip
    deck = decks.describe("align", report)
    ElementTree.fromstring(f"<div>{deck}</div>")
    cells = dict(re.findall("<tr><td>([^<]*)</td><td>([^<]*)</td></tr>", deck))
    assert cells["rows trained on"] == "12,000"
    assert cells["resumed"] == "step 60"
    assert cells["wall time of the last attempt"] == "1 h 02 min"
    assert cells["rows longer than base.max_length"] == "4"
    assert cells["tokens, without padding"] == "1,234,567"
    assert cells["useful share of computed tokens"] == "97.1%"
    assert cells["useful tokens"] == "23,100 a second"
    assert cells["peak memory"] == "1.25 GiB"
    assert cells["device"] == "cpu (1 thread, float32)"
    assert cells["budget_stop"] == "{&quot;hours&quot;: 2}"  # not known to the deck, shown all the same
    assert cells["lucky"] == "true"
    assert "digest of the adapter" not in cells
    assert "curve" not in cells
    charts = re.findall('aria-label="([^"]*)" viewBox', deck)
    assert charts == [
        "loss", "learning rate", "gradient norm", "tokens a second", "share of computed tokens", "peak memory, GiB",
        "rewards",
    ]  # fmt: skip
    assert "reward margin from 1 to 1 over step 1 to 119" in deck
    captions = re.findall("<figcaption>(.*?)</figcaption>", deck)
    assert [re.findall("</svg>([^<]+)</span>", caption) for caption in captions] == [
        ["training loss", "validation loss"],
        ["all tokens/s, padding included", "useful tokens/s"],
        ["reward of liked answers", "reward of disliked answers", "reward margin"],
    ]


def test_a_trainings_deck_says_above_its_table_what_was_changed_and_has_no_raw_names() -> None:
    report = {
        **trained([(1, 2.0), (2, 1.0)], method="dpo"),
        "reference_answers": 724, "reference_computed": 24, "reference_discarded": 0, "truncated_tokens": 1310,
        "truncation": "4 rows were cut", "batching": "packed", "micro_batch": 4, "stopped": "stopped at step 2",
        "fitted": ["8 rows became 4"], "total_seconds": 90.0, "start_loss": 1.25, "taken_back": True,
        "batches": {
            "batches": 75, "rows": 296, "tokens": 31000, "loss_tokens": 12000, "padded_tokens": 33000,
            "steps_per_epoch": 37,
        },
        "held_out": {},
    }  # fmt: skip
    deck = decks.describe("align", report)
    assert re.findall("<p>([^<]*)</p>", deck) == [
        "Taken back: nothing of this training is published, the adapter is the one that it started from.",
        "stopped at step 2", "4 rows were cut", "packed", "8 rows became 4",
    ]  # fmt: skip
    cells = dict(re.findall("<tr><td>([^<]*)</td><td>([^<]*)</td></tr>", deck))
    assert cells["one epoch"] == (
        "296 rows, 75 forward passes, 37 steps, 31,000 tokens, 12,000 of them with loss, 33,000 computed, "
        "padding included"
    )
    assert cells["answers scored by the reference policy"] == "724"
    assert cells["of them computed, the others were cached"] == "24"
    assert cells["tokens lost with these rows"] == "1,310"
    assert cells["rows through the model at once"] == "4"
    assert cells["wall time of all attempts"] == "1 min 30 s"
    assert cells["validation loss before the first step"] == "1.25"
    assert "broken files of that cache thrown away" not in cells
    assert not set(report).intersection(cells) - {"method", "device", "steps"}


def test_every_field_of_a_training_report_has_words() -> None:
    report = {field.name: 3 for field in fields(TrainingReport)} | {"curve": [], "fitted": [], "held_out": {}}
    report |= {name: "said" for name in ("stopped", "truncation", "batching")}
    deck = decks.describe("align", report)
    raw = [field.name for field in fields(TrainingReport) if f"<td>{field.name}</td>" in deck]
    assert raw == ["method", "steps", "device"]  # words already


def test_a_station_that_is_not_known_shows_its_curves_and_a_skipped_one_none() -> None:
    assert "<svg" in decks.describe("train_reward", trained([(1, 2.0), (2, 1.0)], method="reward"))
    skipped = decks.describe("align", {"method": "skipped", "reason": "3 of 500 pairs", "curve": []})
    assert "<svg" not in skipped
    assert "3 of 500 pairs" in skipped


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
    assert "mean reward from 1 to 1.75 over step 1 to 2" in deck
    assert "mean reward 1.000 → 1.500, gain 0.500 [0.200, 0.800] over 40 held-out prompts" in deck
    assert "KL 0.0100 nats a token" in deck


def test_an_evaluations_deck_compares_and_a_verdicts_lists_reasons() -> None:
    metric = {"candidate": INTERVAL, "champion": INTERVAL, "difference": to_jsonable(Interval(None, None, None))}
    deck = decks.describe("evaluate", {"metrics": {"rouge_l": metric}})
    assert "<td>rouge_l</td><td>0.500 [0.400, 0.600]</td>" in deck
    assert "cannot tell" in deck
    verdict = decks.describe("gate", {"decision": "hold", "reasons": ["cannot tell: few"], "metrics": {}})
    assert "<b>hold</b>" in verdict
    assert "<b>cannot tell</b></td><td>few</td>" in verdict
