from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset, digest_content, part_file, read_card, write_card, write_rows
from flytewheel.errors import TrainingError
from flytewheel.models import attach_adapter, find_device, load_adapted, load_model, load_tokenizer, locate_base
from flytewheel.profiles import PROFILES
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import RlhfSpec
from flytewheel.training import reference
from flytewheel.training.align import align
from flytewheel.training.arguments import lora_config, preference_arguments
from flytewheel.training.grouping import group_batches
from flytewheel.training.preference import _weigh_labels, count_tokens, make_preference_trainer
from flytewheel.training.reference import Answer, ReferenceUse, column_answers, reference_key, reference_logps
from flytewheel.training.reference_store import ReferenceStore
from flytewheel.training.report import TrainingReport
from flytewheel.training.rows import Rows, preference_rows, unpaired_rows
from flytewheel.training.workplace import Workplace
from tests.training.teaching import ask, base_spec, rlhf_spec, training_spec

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
NOWHERE = ReferenceStore(None, {})


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_libraries():  # deprecations of transformers that PEFT meets are errors here
        yield


def _adapter_bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ADAPTER]


def _answers(number: int) -> list[Answer]:
    """Answers of 1 to 40 tokens after prompts of 1 to 30, some with the prompt of another."""
    draw = random.Random(number)
    prompts = [[draw.randrange(3, 300) for _ in range(draw.randrange(1, 30))] for _ in range(number // 2 + 1)]
    return [
        Answer((*prompt, *(draw.randrange(3, 300) for _ in range(draw.randrange(1, 40)))), len(prompt))
        for prompt in (draw.choice(prompts) for _ in range(number))
    ]


def _plainly(model: Any, answers: Sequence[Answer]) -> list[float]:
    """From the whole logits of every row by itself, as the definition has it."""
    import torch

    logps = []
    for answer in answers:
        ids = torch.tensor([answer.ids])
        with torch.no_grad():
            each = model(ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        logps.append(float(each[answer.start - 1 :].sum()))
    return logps


def test_it_is_the_sum_of_the_answers_log_probabilities(base_model: Path, sft_adapter: Path) -> None:
    answers = _answers(30)
    model: Any = load_adapted(base_spec(base_model), sft_adapter)
    told: list[tuple[str, int, int | None]] = []
    found, use = reference_logps(model, [*answers, *answers], NOWHERE, progress=lambda *words: told.append(words))
    assert use == ReferenceUse(answers=30, computed=30, discarded=0)
    assert told == [("reference", at, 30) for at in range(1, 31)]
    for answer, expected in zip(answers, _plainly(model, answers), strict=True):
        assert found[answer.digest] == pytest.approx(expected, abs=1e-5 * answer.tokens)


def test_batches_of_an_accelerator_give_the_same(
    base_model: Path, sft_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = sorted(_answers(30), key=lambda answer: -len(answer.ids))
    monkeypatch.setattr(reference, "_BATCH_TOKENS", 200)
    monkeypatch.setattr(reference, "_HEAD_POSITIONS", 7)
    batches = list(reference._batches(answers, alone=False))
    assert [answer for batch in batches for answer in batch] == answers
    assert all(len(batch) * len(batch[0].ids) <= 200 for batch in batches)
    assert len(batches) < 15
    model: Any = load_adapted(base_spec(base_model), sft_adapter)
    import torch

    with torch.no_grad():
        scores = [score for batch in batches for score in reference._score(model, batch, torch.device("cpu"))]
    for answer, score, expected in zip(answers, scores, _plainly(model, answers), strict=True):
        assert score == pytest.approx(expected, abs=1e-5 * answer.tokens)


def test_a_value_depends_on_nothing_else_that_is_computed(base_model: Path, tmp_path: Path) -> None:
    answers = _answers(12)
    model: Any = load_adapted(base_spec(base_model), None)
    shapes: list[tuple[int, int]] = []
    model.register_forward_pre_hook(
        lambda _, args, options: shapes.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    together, _ = reference_logps(model, answers, NOWHERE)
    assert sorted(shapes) == sorted((1, len(answer.ids)) for answer in answers)  # none beside it, and no padding
    store = ReferenceStore(tmp_path, {"base": "b"})
    _, first = reference_logps(model, answers[5:9], store)
    found, rest = reference_logps(model, answers[::-1], store)
    assert (first.computed, rest.computed) == (4, 8)
    assert found == together  # to the last bit


def test_processes_that_share_the_work_leave_nothing_out(base_model: Path) -> None:
    answers = _answers(20)
    model: Any = load_adapted(base_spec(base_model), None)
    whole, _ = reference_logps(model, answers, NOWHERE)
    parts = [reference_logps(model, answers, NOWHERE, share=(process, 3)) for process in range(3)]
    assert sum(use.computed for _, use in parts) == 20
    assert {name: logp for values, _ in parts for name, logp in values.items()} == whole


def test_broken_weights_are_refused(base_model: Path, tmp_path: Path) -> None:
    model: Any = load_model(base_spec(base_model))
    model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(TrainingError, match=r"log-probability nan of an answer of \d+ tokens; the weights that"):
        reference_logps(model, _answers(3), ReferenceStore(tmp_path, {}))
    assert not list(tmp_path.iterdir())


def test_the_key_holds_all_that_decides(base_model: Path) -> None:
    base, training, device = base_spec(base_model), training_spec(), replace(find_device(), profile=PROFILES["cpu"])
    tokenizer: Any = load_tokenizer(base)
    other: Any = load_tokenizer(base)
    other.chat_template += " "
    longer: Any = load_tokenizer(base)
    longer.add_tokens(["<|new|>"])
    facts: dict[str, Any] = {"base_digest": "b", "start": "a"}
    keys = [
        reference_key(base, training, tokenizer, device, **facts),
        reference_key(base, training, other, device, **facts),
        reference_key(base, training, longer, device, **facts),
        reference_key(base_spec(base_model, max_length=64), training, tokenizer, device, **facts),
        reference_key(base_spec(base_model, dtype="bfloat16"), training, tokenizer, device, **facts),
        reference_key(base_spec(base_model, attention="eager"), training, tokenizer, device, **facts),
        reference_key(base, training_spec(adapter="qlora"), tokenizer, device, **facts),
        reference_key(base, training, tokenizer, replace(device, profile=PROFILES["cuda-bf16"]), **facts),
        reference_key(base, training, tokenizer, device, base_digest="c", start="a"),
        reference_key(base, training, tokenizer, device, base_digest="b", start=None),
    ]
    assert len({ReferenceStore(None, key)._name for key in keys}) == len(keys)
    assert reference_key(base, training_spec(epochs=9.0), load_tokenizer(base), device, **facts) == keys[0]
    a, b = Answer((1, 2, 3), 1), Answer((1, 2, 3), 2)
    assert len({a.digest, b.digest, Answer((1, 2, 4), 1).digest, Answer((1, 2, 3, 0), 1).digest}) == 4


def _online(
    method: str, train: Rows, validation: Rows, tokenizer: Any, adapter: Path | None, base_model: Path, rlhf: RlhfSpec,
    folder: Path,
) -> Any:  # fmt: skip
    """TRL's own trainer, which computes the reference in its steps."""
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    base = base_spec(base_model)
    model: Any = load_model(base)
    arguments = preference_arguments(
        base, training_spec(), rlhf, kto=method == "kto", device=find_device(), parameters=model.num_parameters(),
        rows=train.count, validate=True, seed=3, folder=folder,
    )  # fmt: skip
    arguments["precompute_ref_log_probs"] = False
    common: dict[str, Any] = {
        "ref_model": None, "train_dataset": train.table, "eval_dataset": validation.table,
        "processing_class": tokenizer,
    }  # fmt: skip
    if adapter is None:
        common["peft_config"] = lora_config(training_spec())
    else:
        model = attach_adapter(model, adapter, trainable=True)
        model.peft_config["default"].base_model_name_or_path = locate_base(base)
    if method == "kto":
        return KTOTrainer(model=model, args=KTOConfig(**arguments, **_weigh_labels(train)), **common)
    trainer = group_batches(DPOTrainer)(model=model, args=DPOConfig(**arguments), **common)
    trainer.train_lengths = count_tokens(trainer.train_dataset)
    trainer.eval_lengths = count_tokens(trainer.eval_dataset)
    return trainer


def _rows(method: str, data: Path, tokenizer: Any) -> tuple[Rows, Rows]:
    dataset = Dataset(data)
    parts = ("train", "validation")
    if method == "kto":
        train, validation = (unpaired_rows(dataset.unpaired(part), tokenizer, 128, 3) for part in parts)
    else:
        train, validation = (preference_rows(dataset.preferences(part), tokenizer, 128) for part in parts)
    return train, validation


@pytest.mark.parametrize("method", ["dpo", "kto"])
@pytest.mark.parametrize("start", ["sft", "base"])
def test_cached_equals_online(
    method: str, start: str, base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    """1e-5 nats a token; then the same losses and margins, step by step, over two epochs."""
    import torch

    adapter = sft_adapter if start == "sft" else None
    base = base_spec(base_model)
    rlhf = rlhf_spec(epochs=2.0, loss=("sigmoid", "sft") if start == "sft" else ("ipo",))
    tokenizer: Any = load_tokenizer(base)
    train, validation = _rows(method, teaching_data, tokenizer)
    # Each is trained as soon as it is made: the order of its rows is drawn from torch's global generator.
    online = _online(method, train, validation, tokenizer, adapter, base_model, rlhf, tmp_path / "online")
    online.train()
    cached = make_preference_trainer(
        method, train, validation, tokenizer, [], adapter, base=base, training=training_spec(), rlhf=rlhf, seed=3,
        device=find_device(), folder=tmp_path / "cached", reference=NOWHERE,
    )  # fmt: skip
    cached.train()
    columns = (("ref_chosen_logps", "chosen_ids"), ("ref_rejected_logps", "rejected_ids"))
    if method == "kto":
        columns = (("ref_logps", "completion_ids"), ("ref_KL_logps", "KL_completion_ids"))
    rows = [online.train_dataset[at] for at in range(train.count)]
    for first in range(0, len(rows), 4):
        batch = online._prepare_inputs(online.data_collator(rows[first : first + 4]))
        values = online.compute_ref_log_probs(online.model, batch)
        for (column, ids), computed in zip(columns, values, strict=True):
            for at, value in enumerate(computed.tolist(), start=first):
                row = cached.train_dataset[at]
                assert row["prompt_ids"] == rows[at]["prompt_ids"]
                assert row[column] == pytest.approx(value, abs=1e-5 * len(row[ids]))
    for theirs, ours in zip(online.state.log_history, cached.state.log_history, strict=True):
        for name in ("loss", "eval_loss", "rewards/margins", "eval_rewards/margins", "kl"):
            assert (name in theirs) == (name in ours)
            if name in theirs:
                assert ours[name] == pytest.approx(theirs[name], abs=1e-5)
    assert len([entry for entry in cached.state.log_history if "loss" in entry]) == cached.state.max_steps == 16
    weights = dict(online.model.named_parameters())
    for name, weight in cached.model.named_parameters():
        assert torch.allclose(weight, weights[name], atol=1e-3), name


def _align(data: Path, adapter: Path | None, base_model: Path, root: Path, kept: Path | None, **more: Any) -> Any:
    return align(
        data, adapter, root / "out", base=base_spec(base_model), training=training_spec(),
        rlhf=rlhf_spec(**more), seed=3, at=Workplace(root / "checkpoints", reference=kept),
    )  # fmt: skip


def _counts(report: TrainingReport) -> tuple[int, int, int]:
    return report.reference_answers, report.reference_computed, report.reference_discarded


def _curve(report: TrainingReport) -> list[dict[str, float]]:
    """Without what the machine decides."""
    machines = ("tokens_per_s", "useful_tokens_per_s", "memory_gib")
    return [{name: value for name, value in point.items() if name not in machines} for point in report.curve]


def test_a_later_training_computes_nothing_again(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    """32 pairs and the 8 of validation, whose rows are the first 8 of training: 64 answers, and 16 of them again."""
    kept = tmp_path / "kept"
    without = _align(teaching_data, sft_adapter, base_model, tmp_path / "without", None)
    first = _align(teaching_data, sft_adapter, base_model, tmp_path / "first", kept)
    second = _align(teaching_data, sft_adapter, base_model, tmp_path / "second", kept)
    assert _counts(first) == (80, 64, 0)
    assert _counts(second) == (80, 0, 0)
    assert _counts(without) == (80, 80, 0)
    assert _curve(first) == _curve(second) == _curve(without)
    assert _adapter_bytes(tmp_path / "first/out") == _adapter_bytes(tmp_path / "second/out")
    assert _adapter_bytes(tmp_path / "first/out") == _adapter_bytes(tmp_path / "without/out")

    # Another base to start from: nothing of it is known.
    assert _counts(_align(teaching_data, None, base_model, tmp_path / "bare", kept)) == (80, 64, 0)

    # A file that was changed is thrown away, its answers are computed again, and nothing else comes of it.
    for segment in kept.glob("*/*.npy"):
        segment.write_bytes(segment.read_bytes()[:-8] + b"\0" * 8)
    again = _align(teaching_data, sft_adapter, base_model, tmp_path / "again", kept)
    assert _counts(again) == (80, 64, 1)
    assert _adapter_bytes(tmp_path / "again/out") == _adapter_bytes(tmp_path / "first/out")


def test_rows_are_known_in_another_data_set(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    """Next week's data: 31 of last week's pairs, and one with another prompt in place of the last."""
    _align(teaching_data, sft_adapter, base_model, tmp_path / "first", tmp_path / "kept")
    data = Path(shutil.copytree(teaching_data, tmp_path / "data"))
    pairs = Dataset(data).preferences("train")
    changed = replace(pairs[-1], prompt=ask(99))
    write_rows(part_file(data, "preference", "train"), "preference", [*pairs[:-1], changed])
    content = digest_content(data)
    write_card(data, replace(read_card(data), digest=content, content_digest=content))
    report = _align(data, sft_adapter, base_model, tmp_path / "second", tmp_path / "kept")
    assert _counts(report) == (80, 2, 0)


def test_kto_keeps_its_mismatched_answers_too(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    reports = [
        _align(teaching_data, sft_adapter, base_model, tmp_path / name, tmp_path / "kept", method="kto")
        for name in ("first", "second")
    ]
    assert reports[0].method == "kto"
    assert reports[0].reference_computed > 32
    assert reports[1].reference_computed == 0
    assert _curve(reports[0]) == _curve(reports[1])


def test_killed_while_computing_it_goes_on_to_the_same_bytes(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    import torch

    child = subprocess.Popen(
        [
            sys.executable, str(Path(__file__).with_name("reference_child.py")), str(base_model), str(teaching_data),
            str(sft_adapter), str(tmp_path / "killed"), str(torch.get_num_threads()),
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        deadline = time.monotonic() + 180
        for line in child.stdout:
            assert time.monotonic() < deadline
            if line.split() == ["reference", "22"]:
                break
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert not (tmp_path / "killed" / "out").exists()
    resumed = _align(teaching_data, sft_adapter, base_model, tmp_path / "killed", tmp_path / "killed/reference")
    _align(teaching_data, sft_adapter, base_model, tmp_path / "straight", None)
    assert resumed.reference_discarded == 0
    assert 0 < resumed.reference_computed <= 64 - 20  # five segments of four were written before answer 22
    assert _adapter_bytes(tmp_path / "killed/out") == _adapter_bytes(tmp_path / "straight/out")


def test_a_cut_answer_is_known_by_what_is_left_of_it() -> None:
    table = {"prompt_ids": [[1, 2], [3]], "completion_ids": [[4, 5, 6], [7]]}
    assert column_answers(table, "completion_ids", 4) == [Answer((1, 2, 4, 5), 2), Answer((3, 7), 1)]
