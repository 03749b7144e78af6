from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from flytewheel.errors import ExportError
from flytewheel.export.parity import divergence
from flytewheel.export.parity.divergence import Gap, Noise, compare, judge


def test_divergence_by_hand() -> None:
    # KL((3/4, 1/4) || (1/2, 1/2)) = 3/4 ln(3/2) + 1/4 ln(1/2); a constant added to all logits changes nothing.
    one, other = torch.log(torch.tensor([[3.0, 1.0], [3.0, 1.0]])) + 5, torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    gap = compare(one, other)
    assert gap.nats.tolist() == pytest.approx([0.75 * math.log(1.5) + 0.25 * math.log(0.5), 0.0], abs=1e-7)
    assert gap.lead == pytest.approx(math.log(3))  # the first token leads by ln 3, and by nothing
    assert gap.logits == pytest.approx(5 + math.log(3))


def test_many_positions_are_those_of_few() -> None:
    torch.manual_seed(1)
    one, other = torch.randn(100, 7), torch.randn(100, 7)
    whole = compare(one, other)
    parts = [compare(one[at : at + 1], other[at : at + 1]) for at in range(100)]
    assert whole.nats.tolist() == pytest.approx([float(part.nats[0]) for part in parts])
    assert whole.differs.tolist() == [bool(part.differs[0]) for part in parts]
    assert (whole.logits, whole.lead) == (max(part.logits for part in parts), max(part.lead for part in parts))


def gap(nats: float, differing: int = 0, positions: int = 100) -> Gap:
    best, other = np.zeros(positions, dtype=int), np.zeros(positions, dtype=int)
    other[positions - differing :] = 7
    return Gap(np.full(positions, nats), best, other, 1.0, 0.1)


def ask(found: list[Gap], executed: list[Gap], noise: list[Gap], base: list[Gap], kind: str = "Q4_K_M") -> None:
    judge(
        "f", kind, found, executed, Noise(tuple(noise)), Noise(tuple(base)), factor=4.0, tell=lambda index: f"t{index}"
    )


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"executed": [gap(4e-4), gap(4e-4)]}, r"something else than these numbers say, 0.0004 .* \(at most 0.0003"),
        ({"executed": [gap(0), gap(math.nan)]}, "computes something else"),
        ({"found": [gap(1e-4), gap(math.inf)]}, "text 2: logits that are not finite"),
        ({"found": [gap(5e-4), gap(5e-4)]}, r"loses 5 times what Q4_K_M costs the base on the same texts \(at most 4"),
        ({"found": [gap(2e-4), gap(2e-4)], "base": [gap(1e-6), gap(1e-6)]}, "loses 200 times"),
        (
            {"found": [gap(1e-4, 0), gap(1e-4, 12)]},
            r"another at 12 of 200 positions \(at most 10; rounding alone makes 4\), first at text 2, token 89: t0 for",
        ),
        ({"executed": [gap(9e-6, 0, 1000), gap(3e-3, 0, 10)]}, "text 2: llama.cpp computes .* only some texts use"),
    ],
    ids=["execution", "nan", "infinite", "factor", "base", "top1", "one-text"],
)
def test_each_bound_refuses_and_says_why(figures: dict[str, Any], told: str) -> None:
    right = {
        "found": [gap(1e-4, 2), gap(1e-4, 2)],
        "executed": [gap(1e-5), gap(1e-5)],
        "noise": [gap(1e-4, 2), gap(1e-4, 2)],
        "base": [gap(1e-4, 2), gap(1e-4, 2)],
    }
    ask(**right)
    with pytest.raises(ExportError, match=told):
        ask(**{**right, **figures})


@pytest.mark.parametrize(("kind", "most"), [("F32", 1e-6), ("F16", 1e-4), ("BF16", 1e-3)])
def test_floats_are_bounded_whatever_the_base_does(kind: str, most: float) -> None:
    for nats, passes in ((most * 0.9, True), (most * 1.1, False)):
        given = [gap(nats)]
        if passes:
            ask(given, [gap(0)], given, given, kind)
            continue
        with pytest.raises(ExportError, match=rf"differ from the trained weights by .* for {kind}"):
            ask(given, [gap(0)], given, given, kind)


def test_too_few_positions_and_none_below_the_floor() -> None:
    few = [gap(1e-9, positions=31)]
    with pytest.raises(ExportError, match="31 positions are too few to tell"):
        ask(few, few, few, few)
    # Below the floor a ratio means nothing: sums in another order.
    tiny, nothing = [gap(5e-9)], [gap(0.0)]
    ask(tiny, tiny, nothing, nothing, "F32")


def test_a_ratio_is_a_geometric_mean_over_texts() -> None:
    assert divergence.geometric_ratio([gap(4e-4), gap(1e-4)], [gap(1e-4), gap(1e-4)]) == pytest.approx(2)
