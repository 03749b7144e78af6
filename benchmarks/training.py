"""SFT here against padding to the longest row and against TRL: useful tokens a CPU-second, at the same loss.

All train on the same rows, one epoch, so the same optimizer steps' worth of tokens, with the same batch size, adapter
and learning rate, in float32 and without recomputing activations:

- `flytewheel`: `training.sft` as a recipe runs it;
- `longest`: transformers' `Trainer`, every batch padded to the longest row of the data set, as the reference design does;
- `trl`: TRL's `SFTTrainer`, batches in random order, each padded to its own longest row.

CPU time of the process is the clock, not wall time, and the contestants take turns, forwards and then backwards: other
work on the machine then slows all of them alike. Lengths are drawn from a log-normal distribution cut at
`base.max_length`, mean 0.27 of the longest (the bundled feedback: 0.32, GSM8K: 0.29). Two models: `pocket`, with its
vocabulary of 1,024, and a Llama of random weights with 32,000, whose head is most of its work as it is in real small
models; this one decides where the two disagree. Each row's answer is a phrase that its prompt names, over and over, so
that there is something to learn.

The cache of DPO's reference is measured along with it (`benchmarks.training_preference`).
"""  # noqa: E501

from __future__ import annotations

import gc
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from flytewheel.models import find_device, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, TrainingSpec
from flytewheel.training.feed import feed_rows
from flytewheel.training.rows import IGNORED, Rows
from flytewheel.training.sequences import Sequences, collate
from flytewheel.training.sft import make_sft_trainer

MAX_LENGTH = 512
VALIDATION_ROWS = 64
_PHRASES = 12


@dataclass(frozen=True, slots=True)
class Race:
    """What all contestants have in common."""

    base: BaseModelSpec
    training: TrainingSpec
    tokenizer: Any
    train: Rows
    validation: Rows
    folder: Path


@dataclass(frozen=True, slots=True)
class Run:
    """What one contestant needed for one epoch, and what it came to."""

    cpu_s: float
    loss: float


def draw_rows(count: int, vocabulary: int, *, seed: int) -> Rows:
    """Rows of token ids, as `rows.sft_rows` makes them of texts: prompts about twice as long as answers."""
    from datasets import Dataset

    chance, phrases = random.Random(seed), random.Random(0)
    words = [[phrases.randrange(10, vocabulary) for _ in range(8)] for _ in range(_PHRASES)]
    records = []
    for _ in range(count):
        length = min(MAX_LENGTH, 16 + int(chance.lognormvariate(math.log(95), 0.75)))
        answer = max(4, int(length * chance.uniform(0.2, 0.5)))
        phrase = chance.randrange(_PHRASES)
        prompt = [chance.randrange(10, vocabulary) for _ in range(length - answer - 1)] + words[phrase][:1]
        ids = prompt + [words[phrase][at % 8] for at in range(1, answer + 1)]
        records.append({"input_ids": ids, "labels": [IGNORED] * len(prompt) + ids[len(prompt) :], "length": len(ids)})
    return Rows(Dataset.from_list(records), count, 0)


def train_here(race: Race, seed: int) -> Any:
    """The trainer that a recipe gets."""
    device = find_device()
    feed = feed_rows(race.train, race.base, race.training, seed=seed, device=device)
    return make_sft_trainer(
        race.train, Rows(None, 0, 0), race.tokenizer, [], feed,
        base=race.base, training=race.training, seed=seed, device=device, folder=race.folder,
    )  # fmt: skip


def train_trl(race: Race, seed: int) -> Any:
    """TRL's trainer in float32, without recomputing activations."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from flytewheel.models import load_model
    from flytewheel.training.arguments import lora_config

    return SFTTrainer(
        model=load_model(race.base, device="cpu"),
        args=SFTConfig(
            **_common(race, seed),
            max_length=MAX_LENGTH,
            activation_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=race.train.table,
        processing_class=race.tokenizer,
        peft_config=lora_config(race.training),
    )


def train_longest(race: Race, seed: int) -> Any:
    """transformers' trainer, each batch padded to the longest row of all."""
    import torch
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments, set_seed

    from flytewheel.models import load_model
    from flytewheel.training.arguments import lora_config

    longest = max(race.train.table["length"])

    def pad(items: list[dict[str, Any]]) -> dict[str, Any]:
        fill = {"input_ids": race.tokenizer.pad_token_id, "labels": IGNORED, "attention_mask": 0}
        rows = [{**item, "attention_mask": [1] * len(item["input_ids"])} for item in items]
        return {
            name: torch.tensor([row[name] + [empty] * (longest - len(row[name])) for row in rows])
            for name, empty in fill.items()
        }

    set_seed(seed)
    return Trainer(
        model=get_peft_model(load_model(race.base, device="cpu"), lora_config(race.training)),
        args=TrainingArguments(**_common(race, seed)),
        train_dataset=race.train.table,
        data_collator=pad,
    )


CONTESTANTS: Mapping[str, Callable[[Race, int], Any]] = {
    "flytewheel": train_here,
    "trl": train_trl,
    "longest": train_longest,
}


def _common(race: Race, seed: int) -> dict[str, Any]:
    training = race.training
    return {
        "output_dir": str(race.folder),
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation,
        "learning_rate": training.learning_rate,
        "warmup_steps": training.warmup_ratio,
        "weight_decay": training.weight_decay,
        "lr_scheduler_type": training.lr_scheduler,
        "max_grad_norm": training.max_grad_norm,
        "use_cpu": True,
        "bf16": False,
        "seed": seed,
        "save_strategy": "no",
        "logging_steps": 10,
        "report_to": "none",
        "disable_tqdm": True,
    }


def race_once(name: str, race: Race, seed: int) -> Run:
    """Trains one contestant for an epoch."""
    from transformers.trainer_callback import PrinterCallback

    trainer = CONTESTANTS[name](race, seed)
    trainer.remove_callback(PrinterCallback)
    gc.collect()
    started = time.process_time()
    trainer.train()
    spent = time.process_time() - started
    return Run(spent, _validate(trainer.model, race.validation.table))


def _validate(model: Any, table: Any) -> float:
    """Nats a token of the rows one by one: no padding, no packing, transformers' own loss."""
    import torch

    model.eval()
    rows = Sequences(table)
    total = 0.0
    with torch.no_grad():
        for at in range(len(rows)):
            batch = collate(0)([rows[at]])
            total += model(input_ids=batch["input_ids"], labels=batch["labels"]).loss.item() * rows.loss_lengths[at]
    return total / sum(rows.loss_lengths)


def build_llama(folder: Path, tokenizer: Any, vocabulary: int) -> Path:
    """A Llama of random weights: hidden 256, 4 layers, the head as wide as `vocabulary`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=2048, tie_word_embeddings=True, initializer_range=0.05,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def measure(quick: bool) -> list[Goal]:
    """Two models, two rounds of 320 rows (`--quick`: one of 96, and half as many validated)."""
    from benchmarks import training_preference

    goals: list[Goal] = []
    rows, rounds = (96, 1) if quick else (320, 2)
    with quiet_libraries(), tempfile.TemporaryDirectory(prefix="flytewheel-bench-") as scratch:
        pocket = BaseModelSpec(model="pocket", max_length=MAX_LENGTH)
        tokenizer = load_tokenizer(pocket)
        wide = build_llama(Path(scratch) / "wide", tokenizer, 32_000)
        for name, base, vocabulary in (
            ("pocket", pocket, 1024),
            ("32k words", BaseModelSpec(model=str(wide), max_length=MAX_LENGTH), 32_000),
        ):
            race = Race(
                base=base,
                training=TrainingSpec(
                    batch_size=8, gradient_accumulation=1, epochs=1.0, learning_rate=2e-3, checkpoint_every=1_000_000
                ),
                tokenizer=tokenizer,
                train=draw_rows(rows, vocabulary, seed=1),
                validation=draw_rows(VALIDATION_ROWS // (2 if quick else 1), vocabulary, seed=2),
                folder=Path(scratch) / "run",
            )
            goals += _run_race(name, race, rounds)
    return goals + list(training_preference.measure(quick))


def _run_race(model: str, race: Race, rounds: int) -> list[Goal]:
    runs: dict[str, list[Run]] = {name: [] for name in CONTESTANTS}
    for number in range(rounds):
        for name in list(CONTESTANTS)[:: 1 if number % 2 == 0 else -1]:
            run = race_once(name, race, seed=number)
            runs[name].append(run)
            print(f"{model}, {name}: {run.cpu_s:.1f} CPU-seconds, validation loss {run.loss:.4f}", flush=True)
    lengths = race.train.table["length"]
    tokens = sum(lengths)
    spent = {name: sum(run.cpu_s for run in own) / rounds for name, own in runs.items()}
    loss = {name: sum(run.loss for run in own) / rounds for name, own in runs.items()}
    mean = tokens / len(lengths)
    print(f"{model}: {len(lengths)} rows, {tokens:,} tokens, mean length {mean:.0f} of {max(lengths)}")
    for name in CONTESTANTS:
        print(f"  {name}: {tokens / spent[name]:,.0f} useful tokens a CPU-second, validation loss {loss[name]:.4f}")
    ours, here = spent["flytewheel"], loss["flytewheel"]
    return [
        Goal(f"{model}: times as fast as padding to the longest row", spent["longest"] / ours, 3.0, at_most=False),
        Goal(f"{model}: times as fast as TRL", spent["trl"] / ours, 1.6, at_most=False),
        *(
            Goal(f"{model}: loss away from that of {name}", abs(here / loss[name] - 1), 0.01)
            for name in ("longest", "trl")
        ),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
