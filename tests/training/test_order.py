"""A training that goes on in the middle of a later epoch sees the rows in the order that it would have seen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flytewheel.training.align import align
from flytewheel.training.order import order_by_epoch
from flytewheel.training.report import TrainingReport
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_every_epoch_has_an_order_of_its_own_and_a_new_process_draws_the_same(strategy: str) -> None:
    import torch
    from torch.utils.data import RandomSampler
    from transformers.trainer_pt_utils import LengthGroupedSampler

    rows = list(range(40))

    def draw(epoch: float, *, seed: int = 3, state: int) -> list[int]:
        def get_train_sampler() -> Any:
            if strategy == "random":
                return RandomSampler(rows)
            return LengthGroupedSampler(2, lengths=[row % 7 for row in rows])

        trainer = SimpleNamespace(_get_train_sampler=get_train_sampler, state=SimpleNamespace(epoch=epoch))
        order_by_epoch(trainer, seed)
        torch.manual_seed(state)
        return list(trainer._get_train_sampler())

    orders = [draw(epoch, state=epoch) for epoch in range(3)]
    assert [draw(epoch + 0.4, state=9) for epoch in range(3)] == orders
    assert all(sorted(order) == rows for order in orders)
    assert len({tuple(order) for order in [*orders, draw(0, seed=4, state=0)]}) == 4


@pytest.mark.parametrize(
    ("method", "stop", "step"),
    [
        ("sft", 18, 15),  # in the middle of the second epoch
        ("sft", 13, 12),  # at the end of an epoch, before its validation
        ("dpo", 10, 9),
        ("dpo", 25, 24),  # at the end of an epoch
        ("kto", 10, 9),  # its rows stay in sequence
    ],
)
def test_a_stopped_training_goes_on_to_the_same_bytes(
    method: str, stop: int, step: int, base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    def train(name: str, at: Workplace) -> TrainingReport:
        common: dict[str, Any] = {
            "base": base_spec(base_model), "training": training_spec(), "seed": 5, "at": at
        }  # fmt: skip
        if step == 12:
            common["training"] = training_spec(checkpoint_every=4)
        if method == "sft":
            return train_sft(teaching_data, tmp_path / name, **common)
        rlhf = rlhf_spec(method=method, epochs=4.0 if stop > 20 else 2.0)
        return align(teaching_data, sft_adapter, tmp_path / name, rlhf=rlhf, **common)

    def interrupt(what: str, done: int, total: int | None) -> None:
        if (what, done) == (method, stop):
            raise KeyboardInterrupt

    straight = train("straight", Workplace(tmp_path / "fresh"))
    with pytest.raises(KeyboardInterrupt):
        train("out", Workplace(tmp_path / "checkpoints", progress=interrupt))
    resumed = train("out", Workplace(tmp_path / "checkpoints"))
    assert straight.method == resumed.method == method
    assert (straight.resumed_from_step, resumed.resumed_from_step) == (0, step)
    assert resumed.adapter_digest == straight.adapter_digest
    losses = [[point["loss"] for point in report.curve if "loss" in point] for report in (straight, resumed)]
    assert losses[0] == losses[1]
