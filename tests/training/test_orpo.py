"""ORPO: the loss against the paper's formula, what is learnt, and the same bytes after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.models import find_device, load_adapted, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.training.align import align, choose_method
from flytewheel.training.preference import make_preference_trainer
from flytewheel.training.reference_store import ReferenceStore
from flytewheel.training.rows import encode, preference_rows
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def _adapter_bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ADAPTER]


def _options(base_model: Path, **rlhf: Any) -> dict[str, Any]:
    return {
        "base": base_spec(base_model), "training": training_spec(), "rlhf": rlhf_spec(method="orpo", **rlhf), "seed": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "method", "reason"),
    [
        ((10, 0, 0), "orpo", "10 of 10 pairs: orpo as rlhf.method says"),
        ((9, 5, 5), "kto", "9 of 10 pairs, 10 of 10 unpaired: kto as rlhf.fallback says"),
        ((9, 5, 4), "skipped", "rlhf.fallback 'kto' has too little as well"),
    ],
)
def test_too_few_pairs_fall_back(counts: tuple[int, int, int], method: str, reason: str) -> None:
    choice = choose_method(rlhf_spec(method="orpo"), *counts)
    assert choice.method == method
    assert reason in choice.reason


def test_the_loss_is_the_papers_on_the_answer_alone(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    """Equation 6, from the log-probabilities of one row at a time: -l(c) + λ·softplus(-(odds(c) - odds(r)))."""
    import torch

    base = base_spec(base_model)
    tokenizer = load_tokenizer(base)
    pairs = Dataset(teaching_data).preferences("train")[:4]
    with quiet_libraries():
        trainer = make_preference_trainer(
            "orpo", preference_rows(pairs, tokenizer, base.max_length), preference_rows([], tokenizer, base.max_length),
            tokenizer, [], sft_adapter, base=base, training=training_spec(), rlhf=rlhf_spec(method="orpo", beta=0.3),
            seed=1, device=find_device(), folder=tmp_path, reference=ReferenceStore(None, {}),
        )  # fmt: skip
        sft: Any = load_adapted(base, sft_adapter)
    assert list(trainer.model.peft_config) == ["default"]  # no reference
    assert getattr(trainer, "ref_model", None) is None

    def mean_logprob(pair: Any, answer: str) -> Any:
        prompt, completion = encode(tokenizer, pair.prompt, answer)
        assert tokenizer.decode(completion) == f"{answer}<|im_end|>"
        ids = torch.tensor([[*prompt, *completion]])
        with torch.no_grad():
            logprobs = torch.log_softmax(sft(ids).logits[0, len(prompt) - 1 : -1].double(), -1)
        return logprobs.gather(1, ids[0, len(prompt) :, None]).mean()

    losses = []
    for pair in pairs:
        chosen, rejected = mean_logprob(pair, pair.chosen), mean_logprob(pair, pair.rejected)
        odds = [value - torch.log1p(-torch.exp(value)) for value in (chosen, rejected)]
        losses.append(-chosen + 0.3 * torch.nn.functional.softplus(-(odds[0] - odds[1])))
    (batch,) = trainer.get_train_dataloader()
    trainer.model.eval()
    with torch.no_grad():
        loss, measured = trainer.get_batch_loss_metrics(trainer.model, batch)
    assert float(loss) == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    assert measured["nll_loss"] < float(loss)


def test_orpo_prefers_what_people_preferred(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    report = align(
        teaching_data, sft_adapter, tmp_path / "out", at=Workplace(tmp_path / "checkpoints"), **_options(base_model)
    )
    odds = [point["log_odds_chosen"] for point in report.curve if "log_odds_chosen" in point]
    assert (report.method, report.rows, report.steps) == ("orpo", 32, 8)
    assert odds[-1] > odds[0] + 1
    assert report.last_loss is not None
    assert report.first_loss is not None
    assert report.last_loss < report.first_loss
    assert report.eval_loss is not None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*ADAPTER, "report.json"]
    assert list(tmp_path.glob("checkpoints/align-*/checkpoint-*/ref")) == []
    assert _adapter_bytes(tmp_path / "out") != _adapter_bytes(sft_adapter)


def test_an_interrupted_orpo_goes_on_to_the_same_bytes(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    def power_cut(what: str, done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    options = _options(base_model)
    with pytest.raises(KeyboardInterrupt):
        align(teaching_data, sft_adapter, tmp_path / "out", at=Workplace(tmp_path / "c", progress=power_cut), **options)
    resumed = align(teaching_data, sft_adapter, tmp_path / "out", at=Workplace(tmp_path / "c"), **options)
    straight = align(teaching_data, sft_adapter, tmp_path / "straight", at=Workplace(tmp_path / "d"), **options)
    assert (resumed.resumed_from_step, straight.resumed_from_step) == (3, 0)
    assert _adapter_bytes(tmp_path / "out") == _adapter_bytes(tmp_path / "straight")


def test_without_sft_a_fresh_adapter_is_trained(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    report = align(
        teaching_data, None, tmp_path / "out", at=Workplace(tmp_path / "c"), **_options(base_model, max_steps=2)
    )
    assert (report.method, report.steps) == ("orpo", 2)
