"""What the table of methods calls an improvement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.methods import Figures, judge

BASE = Figures(perplexity=1.2, accuracy=0.2, style=0.0, faultless=0.0)
SFT = Figures(perplexity=1.05, accuracy=0.7, style=0.5, faultless=0.4)
BETTER = Figures(perplexity=1.06, accuracy=0.8, style=0.7, faultless=0.5)
FOUND = {"base": BASE, "sft": SFT, "sft full": SFT, "start": SFT, "dpo": BETTER, "kto": BETTER, "orpo": BETTER}


def test_all_that_improves_holds() -> None:
    goals = judge(FOUND)
    assert len(goals) == 8
    assert all(goal.holds for goal in goals)


@pytest.mark.parametrize(
    ("method", "fields", "short"),
    [
        ("sft full", {"perplexity": 1.2}, "sft full: held-out loss in nats a token, after by before"),
        ("kto", {"style": 0.5}, "kto: share of the preferred style gained"),
        ("dpo", {"accuracy": 0.7}, "dpo: preference accuracy gained"),
    ],
)
def test_what_does_not_improve_is_short(method: str, fields: dict[str, float], short: str) -> None:
    goals = judge({**FOUND, method: replace(FOUND[method], **fields)})
    assert [goal.name for goal in goals if not goal.holds] == [short]
