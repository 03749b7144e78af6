"""Every damaged block is found, in every type, by what rounding it must cost; and the numbers land in the model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flytewheel.errors import ExportError
from flytewheel.export.parity import numbers
from flytewheel.export.parity.reference import load_trained
from flytewheel.export.source import Source, open_source
from tests.export.parity.conftest import KINDS, POCKET, Candidate
from tests.export.written import edit_tensor

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft


@pytest.fixture(scope="module")
def model(candidate: Candidate) -> Any:
    return load_trained(POCKET, candidate.adapter)


@pytest.fixture(scope="module")
def source(candidate: Candidate) -> Iterator[Source]:
    with open_source(POCKET, candidate.adapter) as opened:
        yield opened


def read_back(model: Any, source: Source, path: Path) -> float:
    planned = numbers.plan_tensors(source)
    return numbers.round_model(model, source, planned, numbers.read_tensors(path), check=path.name)


def test_peft_and_our_merge_agree_and_a_file_holds_it(model: Any, source: Source, candidate: Candidate) -> None:
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    assert read_back(model, source, candidate.files["F16"]) <= 1
    for name, weight in model.named_parameters():
        half = before[name].half().float() if weight.dim() > 1 else before[name]
        torch.testing.assert_close(weight, half, rtol=2**-10, atol=1e-7)  # an f16 ulp where sums end differently
    numbers.fill_model(model, source, numbers.plan_tensors(source))
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, before[name], rtol=1e-5, atol=1e-7)


def flip(byte: int, bit: int) -> Callable[[Any], None]:
    def change(rows: Any) -> None:
        rows[5, byte] ^= 1 << bit

    return change


def zero(first: int, stop: int) -> Callable[[Any], None]:
    return lambda rows: rows[3, first:stop].fill(0)


def swap_rows(rows: Any) -> None:
    rows[[7, 8]] = rows[[8, 7]]


@pytest.mark.parametrize("kind", [*KINDS, "F16"])
@pytest.mark.parametrize(
    ("tensor", "change"),
    [
        ("blk.2.ffn_up.weight", zero(0, 34)),
        ("blk.2.ffn_up.weight", zero(100, 116)),
        ("blk.2.attn_k.weight", flip(1, 2)),
        ("blk.0.attn_output.weight", flip(1, 6)),
        ("blk.1.attn_q.weight", swap_rows),
        ("token_embd.weight", zero(0, 17)),
        ("output_norm.weight", lambda rows: rows.reshape(-1).__setitem__(3, 0)),
    ],
    ids=["block", "half-block", "scale-halved", "scale-huge", "two-rows", "embedding", "norm"],
)
def test_a_damaged_block_is_told(
    tensor: str, change: Any, kind: str, model: Any, source: Source, candidate: Candidate, tmp_path: Path
) -> None:
    path = candidate.copy(tmp_path, kind)
    edit_tensor(path, tensor, change)
    with pytest.raises(
        ExportError, match=rf"model-{kind}\.gguf: {tensor}: the \d+ numbers from row \d+, column \d+ are"
    ):
        read_back(model, source, path)


@pytest.mark.parametrize("kind", KINDS)
def test_another_models_file_is_told(
    kind: str, model: Any, source: Source, candidate: Candidate, tmp_path: Path
) -> None:
    base = dataclasses.replace(candidate, adapter=None)
    with pytest.raises(ExportError, match=r"a damaged block, another tensor, or another model's file"):
        read_back(model, source, base.write(tmp_path, kind)[kind])


def test_missing_and_further_tensors_and_other_shapes_are_told(
    model: Any, source: Source, candidate: Candidate
) -> None:
    planned, tensors = numbers.plan_tensors(source), numbers.read_tensors(candidate.files["Q8_0"])

    def check(of: dict[str, Any]) -> None:
        numbers.round_model(model, source, planned, of, check="f")

    norm = tensors["output_norm.weight"]
    with pytest.raises(ExportError, match=r"has no output_norm\.weight"):
        check({name: tensor for name, tensor in tensors.items() if name != "output_norm.weight"})
    with pytest.raises(ExportError, match=r"has a tensor that the trained model has not: extra"):
        check({**tensors, "extra": norm})
    with pytest.raises(ExportError, match=r"output_norm\.weight is \(128,\), the trained model has \(256,\)"):
        check({**tensors, "output_norm.weight": dataclasses.replace(norm, shape=(128,))})


def test_errors_by_hand() -> None:
    # One block of two rows of 32; rounding costs 0.1 in every number, sqrt(32) · 0.1 in the block; the file twice.
    trained = np.ones((2, 32), dtype=np.float32)
    rounded, written = trained + np.float32(0.1), trained.copy()
    written[1] -= np.float32(0.2)
    with pytest.raises(ExportError, match="from row 11, column 0 are off by 2 times"):
        numbers._measure_error(trained, rounded, written, "Q8_0", "f: t", 10)
    within = trained + np.float32(0.104)
    assert numbers._measure_error(trained, rounded, within, "Q8_0", "f: t", 0) == pytest.approx(1.04, rel=1e-4)
    for broken in (math.nan, math.inf):
        written[1, 3] = broken
        with pytest.raises(ExportError, match="off by"):
            numbers._measure_error(trained, rounded, written, "Q8_0", "f: t", 0)
