from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import RecipeError
from flytewheel.profiles import PROFILES, Device, find_device
from flytewheel.training.align import align
from flytewheel.training.arguments import check_adapter, check_base, preference_arguments, sft_arguments
from flytewheel.training.packing import pace_packed, pace_unpacked
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec

CUDA = Device("H100", PROFILES["cuda-bf16"])
OLD_CUDA = Device("T4", PROFILES["cuda-fp16"])
MPS = Device("arm64", PROFILES["mps"])
OLD_MPS = Device("arm64", PROFILES["mps-fp32"])
BF16_CPU = Device("2 threads", PROFILES["cpu-bf16"])
CPU = Device("2 threads", PROFILES["cpu"])


def _sft(device: Device, *, parameters: int = 10**6, **fields: Any) -> dict[str, Any]:
    training = training_spec(**fields)
    return sft_arguments(
        base_spec(Path("/models/base")), training, pace=pace_unpacked(training), device=device, parameters=parameters,
        sequences=100, validate=True, seed=7, folder=Path("run"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "bf16", "fp16", "use_cpu"),
    [
        (CUDA, True, False, False),
        (OLD_CUDA, False, True, False),
        (MPS, False, False, False),
        (OLD_MPS, False, False, False),
        (CPU, False, False, True),
        (BF16_CPU, False, False, True),
    ],
)
def test_each_device_has_its_profile(device: Device, bf16: bool, fp16: bool, use_cpu: bool) -> None:
    arguments = _sft(device)
    assert (arguments["bf16"], arguments["fp16"], arguments["use_cpu"]) == (bf16, fp16, use_cpu)
    assert (arguments["packing"], arguments["train_sampling_strategy"]) == (False, "group_by_length")
    assert arguments["dataloader_num_workers"] == 0
    assert arguments["dataloader_pin_memory"] is (device.kind == "cuda")
    assert arguments["report_to"] == "none"
    assert arguments["push_to_hub"] is False
    assert arguments["activation_checkpointing"] is False
    assert _sft(device, parameters=8 * 10**9)["activation_checkpointing"] is True


@pytest.mark.parametrize(
    ("device", "fields", "refused"),
    [
        (MPS, {"dtype": "float16"}, "base.dtype: 'float16' is not for mps .*never float16.*take 'auto' or 'float32'"),
        (CPU, {"dtype": "bfloat16"}, "base.dtype: 'bfloat16' is not for cpu .*without bf16 instructions"),
        (OLD_CUDA, {"dtype": "bfloat16"}, "base.dtype: .*only emulates bf16; take 'auto' or 'float32' or 'float16'"),
        (BF16_CPU, {"dtype": "bfloat16"}, None),
        (CUDA, {"dtype": "float16", "attention": "eager"}, None),
        (CPU, {"dtype": "float32", "attention": "sdpa"}, None),
        (CPU, {"attention": "flash_attention_2"}, "base.attention: .*CUDA only; take 'auto' or 'sdpa' or 'eager'"),
        (MPS, {"attention": "flash_attention_2", "dtype": "float16"}, "base.dtype: .*base.attention: "),
    ],
)
def test_what_a_device_does_badly_is_refused_by_name(
    device: Device, fields: dict[str, Any], refused: str | None
) -> None:
    base = base_spec(Path("/models/base"), **fields)
    if refused is None:
        check_base(base, device)
    else:
        with pytest.raises(RecipeError, match=refused):
            check_base(base, device)


def test_a_training_refuses_it_before_anything_is_loaded(tmp_path: Path) -> None:
    """There is neither a model nor a data set."""
    if "float16" in find_device().profile.dtypes.value:
        pytest.skip("this card trains in float16: run it where there is none, or on one that knows bfloat16")
    base = base_spec(tmp_path / "none", dtype="float16")
    options: dict[str, Any] = {"base": base, "training": training_spec(), "seed": 1, "at": Workplace(tmp_path)}
    with pytest.raises(RecipeError, match=r"base\.dtype"):
        train_sft(tmp_path / "data", tmp_path / "out", **options)
    with pytest.raises(RecipeError, match=r"base\.dtype"):
        align(tmp_path / "data", None, tmp_path / "out", rlhf=rlhf_spec(), **options)
    assert list(tmp_path.iterdir()) == []


def test_qlora_wants_cuda() -> None:
    for device in (CPU, MPS):
        with pytest.raises(RecipeError, match=r"'qlora' needs a CUDA device, found .*; take 'lora'"):
            check_adapter(training_spec(adapter="qlora"), device)


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


def test_a_pace_goes_before_the_recipe() -> None:
    training = training_spec(batch_size=4, gradient_accumulation=2, learning_rate=1e-4, max_steps=40)
    pace = pace_packed(training, rows=64, sequences=2)
    arguments = sft_arguments(
        base_spec(Path("base")), training, pace=pace, device=CUDA, parameters=1, sequences=2, validate=True, seed=7,
        folder=Path("run"),
    )  # fmt: skip
    assert (arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]) == (1, 1)
    assert (arguments["learning_rate"], arguments["max_steps"]) == (pytest.approx(2e-4), 10)
    assert arguments["per_device_eval_batch_size"] == 1  # validation holds no more than training


def test_trl_takes_every_argument(tmp_path: Path) -> None:
    from trl.import_utils import suppress_experimental_warning
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
    orpo = preference_arguments(base, training, rlhf_spec(method="orpo"), kto=False, **options)
    orpo.pop("loss_type")
    with suppress_experimental_warning():
        from trl.experimental.orpo import ORPOConfig
    assert ORPOConfig(**orpo).max_length == base.max_length
