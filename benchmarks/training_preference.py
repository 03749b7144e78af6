"""DPO with the reference's log-probabilities cached, against TRL computing them in every step: rows a CPU-second.

The same rows, model, batches and steps, one thread, arms in turn, CPU time of everything from loading the model to the
last step. `online` is TRL's own trainer with the SFT adapter cloned as its frozen reference; `first` computes the
reference once and keeps it; `again` finds all of it. A step without a reference is a forward and a backward pass of
about the same cost (frozen weights have no gradients), so three epochs can gain at most 9/7 = 1.29 times, and a second
run 3/2.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from flytewheel.models import attach_adapter, find_device, load_model, load_tokenizer, locate_base
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, RlhfSpec, TrainingSpec
from flytewheel.records import Message, Preference
from flytewheel.training.arguments import lora_config, preference_arguments
from flytewheel.training.grouping import group_batches
from flytewheel.training.preference import count_tokens, make_preference_trainer
from flytewheel.training.reference import reference_key
from flytewheel.training.reference_store import ReferenceStore
from flytewheel.training.rows import Rows, preference_rows

BASE = BaseModelSpec(model="pocket", max_length=512)
TRAINING = TrainingSpec()
RLHF = RlhfSpec(epochs=3.0, batch_size=4, gradient_accumulation=2, learning_rate=5e-5)
SEED = 11
TEXT = "restart the queue then check disk of service and tell on-call team that log is full scale workers"
_NONE = Rows(None, 0, 0)


def measure(quick: bool) -> list[Goal]:
    """Trains the three arms in turn, two rounds (`quick`: one)."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spent = {"online": 0.0, "first": 0.0, "again": 0.0}
    differences = [0.0]
    try:
        with tempfile.TemporaryDirectory() as name, quiet_libraries():
            root = Path(name)
            tokenizer: Any = load_tokenizer(BASE)
            rows = preference_rows(_draw_pairs(64 if quick else 96), tokenizer, BASE.max_length)
            adapter = _make_adapter(root / "adapter")
            key = reference_key(BASE, TRAINING, tokenizer, find_device(), base_digest="pocket", start="drawn")
            _train("online", rows, tokenizer, adapter, root / "warm", None, steps=2)
            for turn in range(1 if quick else 2):
                store = ReferenceStore(root / f"kept-{turn}", key)
                losses = {}
                for arm in spent:
                    started = time.process_time()
                    losses[arm] = _train(arm, rows, tokenizer, adapter, root / f"{arm}-{turn}", store)
                    seconds = time.process_time() - started
                    spent[arm] += seconds
                    print(f"{arm}: {rows.count} pairs, 3 epochs, {seconds:.1f} CPU-s", file=sys.stderr, flush=True)
                    shutil.rmtree(root / f"{arm}-{turn}", ignore_errors=True)
                differences += [abs(a - b) for a, b in zip(losses["online"], losses["first"], strict=True)]
                differences += [1.0] * (losses["first"] != losses["again"])
    finally:
        torch.set_num_threads(threads)
    return [
        Goal("DPO over 3 epochs, times the rows/CPU-s with the cache", spent["online"] / spent["first"], 1.2, False),
        Goal("a second run on the same rows, times the rows/CPU-s", spent["online"] / spent["again"], 1.4, False),
        Goal("greatest difference of a step's loss, with the cache and without", max(differences), 1e-3),
    ]


def _draw_pairs(count: int) -> list[Preference]:
    """Pairs of random words: prompts of about 20 to 150 tokens, answers of 20 to 250, both log-normal as chats are."""
    draw, words = random.Random(SEED), TEXT.split()

    def write(median: int, most: int) -> str:
        length = min(most, max(4, int(draw.lognormvariate(0, 0.6) * median)))
        return " ".join(draw.choice(words) for _ in range(length))

    return [
        Preference(
            f"p{at}", f"u{at}", "alerts", (Message(role="user", content=write(30, 90)),), write(45, 130),
            write(45, 130), 1.0, "same_prompt",
        )
        for at in range(count)
    ]  # fmt: skip


def _make_adapter(folder: Path) -> Path:
    """An adapter with something in it: drawn, as training would have left it."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(SEED)
    model: Any = get_peft_model(load_model(BASE), lora_config(TRAINING))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def _train(
    arm: str, rows: Rows, tokenizer: Any, adapter: Path, folder: Path, store: ReferenceStore | None, steps: int = -1
) -> list[float]:
    """Trains one arm and returns the losses that it logged."""
    from transformers.trainer_callback import PrinterCallback

    rlhf = RLHF if steps < 0 else RLHF.model_copy(update={"max_steps": steps})
    if arm == "online":
        trainer = _make_online(rows, tokenizer, adapter, folder, rlhf)
    else:
        trainer = make_preference_trainer(
            "dpo", rows, _NONE, tokenizer, [], adapter, base=BASE, training=TRAINING, rlhf=rlhf, seed=SEED,
            device=find_device(), folder=folder, reference=store or ReferenceStore(None, {}),
        )  # fmt: skip
        computed = trainer.reference_use.computed
        if (computed == 0) != (arm == "again"):
            raise AssertionError(f"{arm}: {computed} log-probabilities computed")
    trainer.args.save_strategy = "no"
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


def _make_online(rows: Rows, tokenizer: Any, adapter: Path, folder: Path, rlhf: RlhfSpec) -> Any:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    model: Any = attach_adapter(load_model(BASE), adapter, trainable=True)
    model.peft_config["default"].base_model_name_or_path = locate_base(BASE)
    arguments = preference_arguments(
        BASE, TRAINING, rlhf, kto=False, device=find_device(), parameters=model.num_parameters(), rows=rows.count,
        validate=False, seed=SEED, folder=folder,
    )  # fmt: skip
    arguments["precompute_ref_log_probs"] = False
    # Batches as ours: what is compared is the cache.
    trainer = group_batches(DPOTrainer)(
        model=model, args=DPOConfig(**arguments), train_dataset=rows.table, processing_class=tokenizer
    )
    trainer.train_lengths = count_tokens(trainer.train_dataset)
    return trainer


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
