from __future__ import annotations

import numpy as np
import pytest
import torch

from flytewheel.errors import ExportError
from flytewheel.export.parity.rounding import round_inputs, round_rows

KINDS = ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q5_0"]
ERRORS = [0, 3e-4, 3e-3, 6e-3, 2e-2, 4e-2, 9e-2, 5e-2]  # root mean square, of that of normal numbers


@pytest.mark.parametrize(("kind", "most"), [*zip(KINDS, ERRORS, strict=True)])
def test_rows_come_back_as_near_as_the_type_is(kind: str, most: float) -> None:
    rows = np.random.default_rng(1).standard_normal((8, 512)).astype(np.float32)
    back = round_rows(rows, kind)
    error = float(np.sqrt(np.square(back - rows).mean()))
    assert most / 5 <= error <= most
    assert np.array_equal(round_rows(back, kind), back) or kind.endswith("K")  # K-quants look for a scale anew


def test_q8_rows_by_hand() -> None:
    # A block's scale is its largest number / 127 in f16: 2 / 127 = 0.01574707…; 1 is 63.5 of it, rounded to 64.
    rows = np.zeros((1, 32), dtype=np.float32)
    rows[0, :3] = 2, 1, -2
    scale = float(np.float16(2 / 127))
    assert round_rows(rows, "Q8_0")[0, :4].tolist() == pytest.approx([127 * scale, 64 * scale, -127 * scale, 0])


@pytest.mark.parametrize(
    ("kind", "block", "half"), [("Q8_0", 32, True), ("Q5_0", 32, True), ("Q4_K", 256, False), ("Q6_K", 256, False)]
)
def test_inputs_are_rounded_to_127ths_of_their_blocks_largest(kind: str, block: int, half: bool) -> None:
    inputs = torch.zeros(1, 2, 512)
    inputs[0, 0, 0], inputs[0, 0, 1] = 12.7, 0.26  # the scale is 0.1: 2.6 of it is 3
    inputs[0, 0, block] = 1e-3
    found = round_inputs(inputs, kind)
    scale = float(torch.tensor(0.1).half()) if half else 0.1
    assert found[0, 0, :2].tolist() == pytest.approx([127 * scale, 3 * scale], rel=1e-6)
    assert float(found[0, 0, block]) == pytest.approx(1e-3, rel=1e-2)
    assert not found[0, 1].any()


def test_inputs_of_floats_are_rounded_to_them() -> None:
    inputs = torch.tensor([[1 + 2**-9, 1 + 2**-12]])
    assert round_inputs(inputs, "F32") is inputs
    assert round_inputs(inputs, "F16").tolist() == [[1 + 2**-9, 1.0]]
    assert round_inputs(inputs, "BF16").tolist() == [[1.0, 1.0]]


def test_what_a_type_cannot_hold_is_said() -> None:
    with pytest.raises(ExportError, match="a weight does not fit F16"):
        round_rows(np.full((1, 32), 1e6, dtype=np.float32), "F16")
