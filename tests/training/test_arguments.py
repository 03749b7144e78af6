from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.models import Device
from flytewheel.training.arguments import preference_arguments, sft_arguments
from tests.training.teaching import base_spec, rlhf_spec, training_spec

CUDA = Device("cuda", "H100", "bfloat16")
OLD_CUDA = Device("cuda", "T4", "float16")
MPS = Device("mps", "arm64", "bfloat16")
CPU = Device("cpu", "2 threads", "float32")


def _sft(device: Device, *, parameters: int = 10**6, **fields: Any) -> dict[str, Any]:
    return sft_arguments(
        base_spec(Path("/models/base")), training_spec(**fields), device=device, parameters=parameters, rows=100,
        validate=True, seed=7, folder=Path("run"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "bf16", "fp16", "use_cpu", "packing", "sampling"),
    [
        (CUDA, True, False, False, True, "random"),
        (OLD_CUDA, False, True, False, True, "random"),
        (MPS, False, False, False, False, "group_by_length"),
        (CPU, False, False, True, False, "group_by_length"),
    ],
)
def test_each_device_has_its_profile(
    device: Device, bf16: bool, fp16: bool, use_cpu: bool, packing: bool, sampling: str
) -> None:
    arguments = _sft(device)
    assert (arguments["bf16"], arguments["fp16"], arguments["use_cpu"]) == (bf16, fp16, use_cpu)
    assert (arguments["packing"], arguments["train_sampling_strategy"]) == (packing, sampling)
    assert arguments["dataloader_num_workers"] == 0
    assert arguments["report_to"] == "none"
    assert arguments["push_to_hub"] is False
    assert arguments["activation_checkpointing"] is False
    assert _sft(device, parameters=8 * 10**9)["activation_checkpointing"] is True


def test_the_recipe_decides_steps_and_checkpoints() -> None:
    by_epoch = _sft(CPU, checkpoint_every="epoch", epochs=3.0, warmup_ratio=0.1)
    assert (by_epoch["save_strategy"], by_epoch["max_steps"], by_epoch["num_train_epochs"]) == ("epoch", -1, 3.0)
    assert by_epoch["warmup_steps"] == 0.1
    by_step = _sft(CPU, checkpoint_every=20, max_steps=120, warmup_ratio=1.0)
    assert (by_step["save_strategy"], by_step["save_steps"], by_step["max_steps"]) == ("steps", 20, 120)
    assert by_step["warmup_steps"] < 1  # 1 would be one step
    assert by_step["logging_steps"] == 2  # 120 // 50
    assert _sft(CPU, max_steps=10_000)["logging_steps"] == 10
    assert (by_step["seed"], by_step["data_seed"]) == (7, 7)


def test_trl_takes_every_argument(tmp_path: Path) -> None:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.sft_config import SFTConfig

    sft = SFTConfig(**{**_sft(CPU), "output_dir": str(tmp_path)})
    assert (sft.bf16, sft.fp16, sft.gradient_checkpointing) == (False, False, False)
    options: dict[str, Any] = {
        "device": CPU, "parameters": 1, "rows": 10, "validate": False, "seed": 1, "folder": tmp_path,
    }  # fmt: skip
    base, training = base_spec(Path("base")), training_spec()
    dpo = DPOConfig(
        **preference_arguments(base, training, rlhf_spec(loss=("sigmoid", "sft"), beta=0.2), kto=False, **options)
    )
    assert (dpo.loss_type, dpo.beta, dpo.bf16, dpo.gradient_checkpointing) == (["sigmoid", "sft"], 0.2, False, False)
    kto = KTOConfig(**preference_arguments(base, training, rlhf_spec(batch_size=1), kto=True, **options))
    assert kto.per_device_train_batch_size == 2  # one row has no neighbour to estimate the KL term with
    assert kto.train_sampling_strategy == "sequential"
