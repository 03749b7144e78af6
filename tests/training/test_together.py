"""Two processes on a CPU train what one trains: the same rows a step, the same adapter, one set of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.training.align import align
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec
from tests.training.together_child import train


def _launch(processes: int, *arguments: Any) -> dict[int, Any]:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id="together", rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0", max_restarts=0, monitor_interval=0.2, start_method="spawn",
    )  # fmt: skip
    found: dict[int, Any] = elastic_launch(config, train)(*arguments)
    return found


def _distance(one: Path, other: Path) -> float:
    from safetensors.numpy import load_file

    a, b = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    return max(float(abs(a[name] - b[name]).max()) for name in a)


def test_two_processes_learn_what_one_learns_and_go_on_after_one_broke(
    base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options: dict[str, Any] = {
        "base": base_spec(base_model), "training": training_spec(lora_dropout=0.0), "seed": 5,
        "at": Workplace(tmp_path / "alone"),
    }  # fmt: skip
    alone = train_sft(teaching_data, tmp_path / "one", **options)
    aligned = align(teaching_data, tmp_path / "one", tmp_path / "one-dpo", rlhf=rlhf_spec(), **options)

    place = tmp_path / "together"
    with pytest.raises(ChildFailedError):
        _launch(2, str(base_model), str(teaching_data), str(place), 12)
    (folder,) = place.glob("checkpoints/sft-*")
    assert (folder / "checkpoint-10" / "complete").is_file()
    assert (folder / "checkpoint-10" / "rng_state_1.pth").is_file(), "each process keeps its random state"
    found = _launch(2, str(base_model), str(teaching_data), str(place), None)

    assert set(found) == {0, 1}
    assert found[0]["sft"] == found[1]["sft"]
    assert (found[0]["published"], found[1]["published"]) == (["dpo", "sft"], [])
    sft, dpo = found[0]["sft"], found[0]["dpo"]
    assert (sft["steps"], sft["resumed_from_step"]) == (alone.steps, 10)
    assert (dpo["method"], dpo["steps"]) == ("dpo", aligned.steps)
    assert sft["tokens"] == alone.tokens, "the rows of both are counted"
    assert _distance(tmp_path / "one", place / "out-0" / "sft") < 1e-4
    assert _distance(tmp_path / "one-dpo", place / "out-0" / "dpo") < 1e-3
    assert sft["eval_loss"] == pytest.approx(alone.eval_loss, abs=1e-4)
