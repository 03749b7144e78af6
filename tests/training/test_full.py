"""Training of all weights: what is published, what alignment starts from, and the same bytes after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import BaseModelError, CheckpointError
from flytewheel.models import find_device, load_adapted, load_full, load_model, load_tokenizer, trained_files
from flytewheel.progress import quiet_libraries
from flytewheel.training.align import align
from flytewheel.training.fit import digest_adapter
from flytewheel.training.full import reload_full
from flytewheel.training.preference import make_preference_trainer
from flytewheel.training.report import read_report
from flytewheel.training.rows import preference_rows, sft_rows
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
from tests.training.teaching import base_spec, rlhf_spec, training_spec, write_teaching_data

FILES = ["config.json", "generation_config.json", "model.safetensors"]
RATE = 1e-3  # the adapter's 5e-3 is too much for all weights


def _spec(**fields: Any) -> Any:
    return training_spec(**{"adapter": "full", "learning_rate": RATE, **fields})


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="session")
def full_sft(base_model: Path, teaching_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full weights trained on the SFT rows; do not write into it."""
    root = tmp_path_factory.mktemp("full")
    train_sft(
        teaching_data, root / "out", base=base_spec(base_model), training=_spec(), seed=3,
        at=Workplace(root / "checkpoints"),
    )  # fmt: skip
    return root / "out"


def _perplexity(model: Any, data: Path, base: Any) -> float:
    import torch

    rows = sft_rows(Dataset(data).sft("validation"), load_tokenizer(base), base.max_length)
    losses = []
    with torch.no_grad():
        for row in rows.table:
            ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
            losses.append(float(model(input_ids=ids, labels=labels).loss))
    return float(torch.tensor(losses).mean().exp())


def test_every_weight_is_trained_and_published(full_sft: Path, base_model: Path, teaching_data: Path) -> None:
    import torch

    report = read_report(full_sft / "report.json")
    assert sorted(path.name for path in full_sft.iterdir()) == [*FILES, "report.json"]
    assert trained_files(full_sft) == FILES
    assert report.adapter_digest == digest_adapter(full_sft)
    assert (report.method, report.rows, report.steps) == ("sft", 48, 24)
    base = base_spec(base_model)
    with quiet_libraries():
        trained, bare = load_adapted(base, full_sft), load_adapted(base, None)
    for (name, after), (_, before) in zip(trained.named_parameters(), bare.named_parameters(), strict=True):
        assert after.dtype == torch.float32
        assert not torch.equal(after, before), name
    assert _perplexity(trained, teaching_data, base) < 0.5 * _perplexity(bare, teaching_data, base)
    for name in ("config.json", "generation_config.json"):
        assert str(base_model.parent) not in (full_sft / name).read_text()


@pytest.mark.parametrize("method", ["dpo", "kto", "orpo"])
def test_alignment_goes_on_from_the_sft_weights(
    base_model: Path, teaching_data: Path, full_sft: Path, tmp_path: Path, method: str
) -> None:
    report = align(
        teaching_data, full_sft, tmp_path / "out", base=base_spec(base_model), training=_spec(),
        rlhf=rlhf_spec(method=method, learning_rate=2e-4), seed=3, at=Workplace(tmp_path / "checkpoints"),
    )  # fmt: skip
    margins = [point["rewards/margins"] for point in report.curve if "rewards/margins" in point]
    assert report.method == method
    assert report.eval_loss is not None
    if method == "dpo":
        assert margins[0] == pytest.approx(0, abs=1e-4)  # at step 0 policy and reference are the same
    assert margins[-1] > margins[0] + 0.02
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*FILES, "report.json"]
    assert _weights(tmp_path / "out") != _weights(full_sft)


def test_the_reference_is_the_sft_policy_without_a_second_model(
    base_model: Path, teaching_data: Path, full_sft: Path, tmp_path: Path
) -> None:
    """The precomputed log-probabilities are those of the SFT weights, one row at a time."""
    import torch

    base = base_spec(base_model)
    tokenizer: Any = load_tokenizer(base)
    rows = preference_rows(Dataset(teaching_data).preferences("train")[:6], tokenizer, base.max_length)
    with quiet_libraries():
        trainer = make_preference_trainer(
            "dpo", rows, preference_rows([], tokenizer, base.max_length), tokenizer, [], full_sft,
            base=base, training=_spec(), rlhf=rlhf_spec(), seed=1, device=find_device(), folder=tmp_path,
        )  # fmt: skip
        sft: Any = load_adapted(base, full_sft)
    assert trainer.ref_model is None
    assert all(weight.requires_grad for weight in trainer.model.parameters())
    for row in trainer.train_dataset:
        for side in ("chosen", "rejected"):
            ids = torch.tensor([[*row["prompt_ids"], *row[f"{side}_ids"]]])
            with torch.no_grad():
                logprobs = torch.log_softmax(sft(ids).logits[0, :-1].float(), -1).gather(1, ids[0, 1:, None])
            expected = float(logprobs[len(row["prompt_ids"]) - 1 :].sum())
            assert row[f"ref_{side}_logps"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("station", ["sft", "dpo", "kto"])
def test_an_interrupted_training_goes_on_to_the_same_bytes(
    base_model: Path, teaching_data: Path, full_sft: Path, tmp_path: Path, station: str
) -> None:
    def power_cut(what: str, done: int, total: int | None) -> None:
        if (what, done) == (station, 7):
            raise KeyboardInterrupt

    def train(out: str, at: Workplace) -> Any:
        shared: dict[str, Any] = {"base": base_spec(base_model), "training": _spec(), "seed": 3, "at": at}
        if station == "sft":
            return train_sft(teaching_data, tmp_path / out, **shared)
        rlhf = rlhf_spec(method=station, learning_rate=2e-4)
        return align(teaching_data, full_sft, tmp_path / out, rlhf=rlhf, **shared)

    with pytest.raises(KeyboardInterrupt):
        train("out", Workplace(tmp_path / "c", progress=power_cut))
    resumed, straight = train("out", Workplace(tmp_path / "c")), train("straight", Workplace(tmp_path / "d"))
    assert (resumed.resumed_from_step, straight.resumed_from_step) == (5 if station == "sft" else 6, 0)
    assert _weights(tmp_path / "out") == _weights(tmp_path / "straight")
    assert resumed.adapter_digest == straight.adapter_digest
    assert resumed.eval_loss == straight.eval_loss

    # Killed between the last step and the publishing: nothing is trained again.
    (finished,) = tmp_path.glob("c/*/finished")
    finished.rename(tmp_path / "lost")

    def refuse(what: str, done: int, total: int | None) -> None:
        assert what != station, "trained again"

    last = train("last", Workplace(tmp_path / "c", progress=refuse))
    assert last.resumed_from_step == straight.steps
    assert _weights(tmp_path / "last") == _weights(tmp_path / "straight")


def test_nothing_to_learn_hands_the_full_weights_on(
    base_model: Path, teaching_data: Path, full_sft: Path, tmp_path: Path
) -> None:
    report = align(
        teaching_data, full_sft, tmp_path / "out", base=base_spec(base_model), training=_spec(),
        rlhf=rlhf_spec(enable=False), seed=3, at=Workplace(tmp_path / "c"),
    )  # fmt: skip
    assert report.adapter_digest == read_report(full_sft / "report.json").adapter_digest
    assert _weights(tmp_path / "out") == _weights(full_sft)


def test_what_the_recipe_does_not_train_is_no_start(
    base_model: Path, teaching_data: Path, sft_adapter: Path, full_sft: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "base": base_spec(base_model), "rlhf": rlhf_spec(), "seed": 3, "at": Workplace(tmp_path / "c"),
    }  # fmt: skip
    with pytest.raises(BaseModelError, match=r"holds full weights, training\.adapter: 'lora' goes on from a LoRA ada"):
        align(teaching_data, full_sft, tmp_path / "out", training=training_spec(), **options)
    with pytest.raises(BaseModelError, match=r"holds a LoRA adapter, training\.adapter: 'full' goes on from full"):
        align(teaching_data, sft_adapter, tmp_path / "out", training=_spec(), **options)
    assert not (tmp_path / "c").exists()


def test_weights_in_shards_with_a_head_of_their_own(tmp_path: Path) -> None:
    """Published in shards, as large models are: digested whole, loaded whole, and put back into a model whole."""
    base = base_spec(build_tiny_model(tmp_path / "base", tied=False, spread=0.15))
    data = write_teaching_data(tmp_path / "data", rows=8)
    with quiet_libraries():
        train_sft(data, tmp_path / "out", base=base, training=_spec(max_steps=2), seed=1, at=Workplace(tmp_path / "c"))
        trained: Any = load_full(base, tmp_path / "out")
        trained.save_pretrained(str(tmp_path / "shards"), max_shard_size="100KB")
        again: Any = load_full(base, tmp_path / "shards")
        bare: Any = load_model(base)
    names = trained_files(tmp_path / "shards")
    assert len([name for name in names if name.endswith(".safetensors")]) > 2
    reload_full(bare, tmp_path / "shards")
    for (name, weight), (_, one), (_, other) in zip(
        trained.named_parameters(), again.named_parameters(), bare.named_parameters(), strict=True
    ):
        assert (weight == one).all(), name
        assert (weight == other).all(), name
    before = digest_adapter(tmp_path / "shards")
    (tmp_path / "shards" / names[-1]).unlink()
    with pytest.raises(BaseModelError, match=r"model-.*\.safetensors is missing; train it again"):
        digest_adapter(tmp_path / "shards")
    assert before != digest_adapter(tmp_path / "out")


def test_a_checkpoint_that_lacks_a_tensor_is_refused(base_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with quiet_libraries():
        model: Any = load_model(base_spec(base_model))
    tensors = load_file(base_model / "model.safetensors")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    reload_full(model, tmp_path)  # tied: the head is written once
    lost = tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is missing"):
        reload_full(model, tmp_path)
    save_file({**tensors, "model.other.weight": lost}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.other\.weight is no weight of this model"):
        reload_full(model, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(json.loads((base_model / "config.json").read_text())))
    with pytest.raises(BaseModelError, match="missing from the weights"):
        load_full(base_spec(base_model), tmp_path)
