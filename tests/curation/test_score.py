"""Quality by hand."""

from __future__ import annotations

import pytest

from flytewheel.curation.score import measure_quality
from flytewheel.recipe import QualityWeights


@pytest.mark.parametrize(
    ("explicit", "implicit", "used", "quality"),
    [
        (1.0, 0.5, True, 0.85),  # 0.4 + 0.15 + 0.15 + 0.15
        (1.0, None, False, 0.55),
        (-1.0, 1.0, True, 0.2),  # -0.4 + 0.3 + 0.3
        (-1.0, None, False, 0.0),
        (None, None, True, 0.3),
    ],
)
def test_quality_by_hand(explicit: float | None, implicit: float | None, used: bool, quality: float) -> None:
    got = measure_quality(QualityWeights(), explicit=explicit, implicit=implicit, context_used=used)
    assert got == pytest.approx(quality)


def test_quality_follows_the_recipe_and_stays_in_bounds() -> None:
    weights = QualityWeights(explicit=1.0, implicit=1.0, length=1.0, context=1.0)
    assert measure_quality(weights, explicit=1.0, implicit=1.0, context_used=True) == 1.0
    assert measure_quality(weights, explicit=-1.0, implicit=-1.0, context_used=False) == 0.0
