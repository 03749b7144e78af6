from __future__ import annotations

import pytest

from flytewheel.training.micro_batch import MicroBatch, is_out_of_memory, of_spec
from tests.training.teaching import rlhf_spec, training_spec


def _chain(batch: MicroBatch, least: int = 1) -> list[tuple[int, int]]:
    chain, following = [], batch.halve(least)
    while following is not None:
        chain.append((following.rows, following.accumulation))
        following = following.halve(least)
    return chain


@pytest.mark.parametrize(
    ("start", "least", "chain"),
    [
        (MicroBatch(8, 2), 1, [(4, 4), (2, 8), (1, 16)]),
        (MicroBatch(6, 1), 1, [(3, 2), (1, 6)]),
        (MicroBatch(5, 4), 1, [(2, 10), (1, 20)]),
        (MicroBatch(7, 1), 1, [(1, 7)]),
        (MicroBatch(8, 1), 2, [(4, 2), (2, 4)]),
        (MicroBatch(6, 1), 2, [(3, 2), (2, 3)]),
        (MicroBatch(3, 1), 2, []),
        (MicroBatch(1, 16), 1, []),
    ],
)
def test_halving_keeps_the_rows_of_a_step(start: MicroBatch, least: int, chain: list[tuple[int, int]]) -> None:
    assert _chain(start, least) == chain
    assert {rows * accumulation for rows, accumulation in chain} <= {start.step_rows}


def test_a_recipe_keeps_all_but_the_two_numbers() -> None:
    spec = training_spec(batch_size=8, gradient_accumulation=2)
    assert of_spec(spec) == MicroBatch(8, 2)
    assert of_spec(rlhf_spec(batch_size=1), least=2) == MicroBatch(2, 1)
    smaller = MicroBatch(4, 4).apply(spec)
    assert smaller == training_spec(batch_size=4, gradient_accumulation=4)


def test_every_device_says_it_in_its_own_words() -> None:
    import torch

    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB, max allowed: 9.07 GB)."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
        MemoryError(),
    ):
        assert is_out_of_memory(error)
    for other in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), OSError(28)):
        assert not is_out_of_memory(other)
