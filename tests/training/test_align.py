from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import BaseModelError, DatasetError
from flytewheel.models import find_device, load_adapted, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.training.align import align, choose_method, make_preference_trainer
from flytewheel.training.reference_store import ReferenceStore
from flytewheel.training.report import TrainingReport, read_report
from flytewheel.training.rows import preference_rows
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
from tests.training.teaching import base_spec, rlhf_spec, training_spec, write_teaching_data

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def _adapter_bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ADAPTER]


def _values(report: TrainingReport, key: str) -> list[float]:
    return [point[key] for point in report.curve if key in point]


@pytest.mark.parametrize(
    ("rlhf", "counts", "method", "reason"),
    [
        ({}, (10, 0, 0), "dpo", "10 of 10 pairs: dpo as rlhf.method says"),
        ({}, (9, 5, 5), "kto", "9 of 10 pairs, 10 of 10 unpaired: kto as rlhf.fallback says"),
        (
            {},
            (9, 5, 4),
            "skipped",
            "9 of 10 pairs, 9 of 10 unpaired: skipped, rlhf.fallback 'kto' has too little as well",
        ),
        ({}, (9, 10, 0), "skipped", "10 of 10 unpaired (all liked): skipped"),
        (
            {"fallback": "skip"},
            (9, 50, 50),
            "skipped",
            "9 of 10 pairs, 100 of 10 unpaired: skipped as rlhf.fallback says",
        ),
        ({"method": "kto"}, (99, 5, 5), "kto", "10 of 10 unpaired: kto as rlhf.method says"),
        ({"method": "kto"}, (99, 0, 5), "skipped", "5 of 10 unpaired: skipped"),
        ({"enable": False}, (99, 99, 99), "skipped", "rlhf.enable is false"),
    ],
)
def test_the_method_is_chosen_by_what_there_is(
    rlhf: dict[str, Any], counts: tuple[int, int, int], method: str, reason: str
) -> None:
    choice = choose_method(rlhf_spec(**rlhf), *counts)
    assert choice.method == method
    assert reason in choice.reason


def test_the_reference_is_the_sft_policy(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    import torch

    base = base_spec(base_model)
    tokenizer: Any = load_tokenizer(base)
    rows = preference_rows(Dataset(teaching_data).preferences("train"), tokenizer, base.max_length)
    with quiet_libraries():
        trainer = make_preference_trainer(
            "dpo", rows, preference_rows([], tokenizer, base.max_length), tokenizer, [], sft_adapter,
            base=base, training=training_spec(), rlhf=rlhf_spec(), seed=1, device=find_device(), folder=tmp_path,
            reference=ReferenceStore(None, {}),
        )  # fmt: skip
        sft: Any = load_adapted(base, sft_adapter)
        bare: Any = load_adapted(base, None)
    assert trainer.ref_model is None
    assert set(trainer.model.peft_config) == {"default"}  # TRL's frozen copy is gone
    assert not [name for name, _ in trainer.model.named_parameters() if ".ref." in name]
    trained = [name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".default." in name for name in trained)

    row = trainer.train_dataset[3]
    for column, answer in (("ref_chosen_logps", "chosen_ids"), ("ref_rejected_logps", "rejected_ids")):
        ids = torch.tensor([row["prompt_ids"] + row[answer]])
        picked = []
        with torch.no_grad():
            for model in (sft, bare):
                logps = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
                picked.append(float(logps[len(row["prompt_ids"]) - 1 :].sum()))
        assert row[column] == pytest.approx(picked[0], abs=1e-4)
        assert abs(row[column] - picked[1]) > 0.1


def test_dpo_prefers_what_people_preferred(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    report = align(
        teaching_data, sft_adapter, tmp_path / "out", base=base_spec(base_model), training=training_spec(),
        rlhf=rlhf_spec(loss=("sigmoid", "sft")), seed=3, at=Workplace(tmp_path / "checkpoints"),
    )  # fmt: skip
    margins = _values(report, "rewards/margins")
    assert (report.method, report.rows, report.steps) == ("dpo", 32, 8)
    assert margins[0] == pytest.approx(0, abs=1e-5)  # at step 0 policy and reference are the same
    assert margins[-1] > 0.2
    assert report.last_loss is not None
    assert report.first_loss is not None
    assert report.last_loss < report.first_loss
    assert report.eval_loss is not None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*ADAPTER, "report.json"]
    assert read_report(tmp_path / "out" / "report.json") == report
    assert (
        json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == base_model.name
    )
    (last,) = tmp_path.glob("checkpoints/align-*/checkpoint-8")
    assert not (last / "ref").exists()
    assert _adapter_bytes(tmp_path / "out") != _adapter_bytes(sft_adapter)


def test_an_interrupted_alignment_goes_on_to_the_same_bytes(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    def power_cut(what: str, done: int, total: int | None) -> None:
        if (what, done) == ("dpo", 5):
            raise KeyboardInterrupt

    options: dict[str, Any] = {
        "base": base_spec(base_model), "training": training_spec(), "rlhf": rlhf_spec(), "seed": 3,
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        align(teaching_data, sft_adapter, tmp_path / "out", at=Workplace(tmp_path / "c", progress=power_cut), **options)
    resumed = align(teaching_data, sft_adapter, tmp_path / "out", at=Workplace(tmp_path / "c"), **options)
    straight = align(teaching_data, sft_adapter, tmp_path / "straight", at=Workplace(tmp_path / "d"), **options)
    assert (resumed.resumed_from_step, straight.resumed_from_step) == (3, 0)
    assert _adapter_bytes(tmp_path / "out") == _adapter_bytes(tmp_path / "straight")
    assert _values(resumed, "rewards/margins") == _values(straight, "rewards/margins")


def test_too_few_pairs_fall_back_to_thumbs(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    report = align(
        teaching_data, sft_adapter, tmp_path / "out", base=base_spec(base_model), training=training_spec(),
        rlhf=rlhf_spec(min_preference_pairs=33), seed=3, at=Workplace(tmp_path / "checkpoints"),
    )  # fmt: skip
    assert report.method == "kto"
    assert report.reason == "32 of 33 pairs, 32 of 10 unpaired: kto as rlhf.fallback says"
    assert _values(report, "rewards/margins")[-1] > 0.2
    assert _adapter_bytes(tmp_path / "out") != _adapter_bytes(sft_adapter)


def test_nothing_to_learn_hands_the_sft_adapter_on(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "base": base_spec(base_model), "training": training_spec(), "seed": 3, "at": Workplace(tmp_path / "c"),
    }  # fmt: skip
    off = rlhf_spec(enable=False)
    report = align(teaching_data, sft_adapter, tmp_path / "out", rlhf=off, **options)
    assert report.method == "skipped"
    assert _adapter_bytes(tmp_path / "out") == _adapter_bytes(sft_adapter)
    assert report.adapter_digest == read_report(sft_adapter / "report.json").adapter_digest
    assert read_report(tmp_path / "out" / "report.json") == report
    with pytest.raises(DatasetError, match="no SFT adapter to hand on"):
        align(teaching_data, None, tmp_path / "none", rlhf=off, **options)


def test_an_adapter_of_other_weights_under_the_same_name_is_refused(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    other = build_tiny_model(tmp_path / base_model.name, seed=1)
    with pytest.raises(BaseModelError, match=r"was trained on the base \w{12}, base\.model .* is \w{12} now; pin"):
        align(
            teaching_data, sft_adapter, tmp_path / "out", base=base_spec(other), training=training_spec(),
            rlhf=rlhf_spec(), seed=3, at=Workplace(tmp_path / "checkpoints"),
        )  # fmt: skip
    assert not (tmp_path / "checkpoints").exists()


def test_without_sft_the_reference_is_the_base(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    report = align(
        teaching_data, None, tmp_path / "out", base=base_spec(base_model), training=training_spec(),
        rlhf=rlhf_spec(max_steps=3), seed=3, at=Workplace(tmp_path / "checkpoints"),
    )  # fmt: skip
    assert report.steps == 3
    assert _values(report, "rewards/margins")[0] == pytest.approx(0, abs=1e-5)
    assert list(tmp_path.glob("checkpoints/align-*/checkpoint-3/ref")) == []


def test_wrong_inputs_are_refused_in_one_line(base_model: Path, sft_adapter: Path, tmp_path: Path) -> None:
    data = write_teaching_data(tmp_path / "data", rows=4)
    options: dict[str, Any] = {"training": training_spec(), "seed": 1, "at": Workplace(tmp_path / "checkpoints")}
    base = base_spec(base_model)
    with pytest.raises(BaseModelError, match="expected an adapter"):
        align(data, tmp_path, tmp_path / "out", base=base, rlhf=rlhf_spec(), **options)
    with pytest.raises(DatasetError, match="all 32 are longer"):
        align(
            data, sft_adapter, tmp_path / "out", base=base_spec(base_model, max_length=16), rlhf=rlhf_spec(), **options
        )
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_base_is_refused(sft_adapter: Path, teaching_data: Path, tmp_path: Path) -> None:
    from tests.tiny_model import build_tiny_model

    wider = build_tiny_model(tmp_path / "wider", hidden=96)
    unsigned = Path(shutil.copytree(sft_adapter, tmp_path / "unsigned"))
    (unsigned / "report.json").unlink()  # which names the base
    with pytest.raises(BaseModelError, match=r"does not fit base\.model"):
        align(
            teaching_data, unsigned, tmp_path / "out", base=base_spec(wider), training=training_spec(),
            rlhf=rlhf_spec(), seed=1, at=Workplace(tmp_path / "checkpoints"),
        )  # fmt: skip
