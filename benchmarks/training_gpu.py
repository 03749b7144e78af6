"""LoRA SFT and DPO of an 8 B Llama on a CUDA card, ours against TRL's defaults: useful tokens a second, MFU, memory.

One run, one card, the same rows: weights are random, lengths are those of the 5,276 answers and questions of the GSM8K
data (Cobbe et al. 2021, arXiv:2110.14168) in Llama 3's tokenizer, and a system turn. Nothing is fetched. Each
contestant trains for some steps that do not count and some that do; the clock stops only when the card has finished.

- TRL: `SFTTrainer` and `DPOTrainer` as their defaults have them (8 rows a batch, padded to the longest, every layer
  recomputed, bf16), with the same LoRA and loss on the completion only.
- ours: `make_sft_trainer` and `make_preference_trainer`, as the stations call them.

Useful are tokens that are not padding, of both answers of a pair in DPO. MFU counts 4 FLOP for each parameter and
useful token (forward 2, backward 2 through frozen weights), of the steps, against the card's dense bf16 peak. The time
for DPO's reference counts for ours where tokens a second are compared: as if every pair was met once.

`python -m benchmarks.training_gpu --rehearse` tries the same on a CPU with a tiny model, and states no goal.
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from flytewheel.models import find_device, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, RlhfSpec, TrainingSpec
from flytewheel.training.rows import IGNORED, Rows

# 0, 5 … 100 % quantiles of tokens.
QUESTIONS = (22, 32, 35, 38, 40, 43, 45, 48, 50, 53, 55, 58, 60, 63, 67, 70, 75, 80, 89, 102, 185)
ANSWERS = (1, 49, 55, 62, 67, 71, 75, 80, 84, 89, 94, 99, 105, 111, 117, 125, 134, 145, 159, 185, 528)
TURNS = 30  # tokens of a chat template and a short system turn
MAX_LENGTH = 4096
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}  # dense bf16, vendors' sheets
LLAMA_8B = {
    "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 500_000.0,
}  # fmt: skip
TINY = {**LLAMA_8B, "vocab_size": 1100, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}


@dataclass(frozen=True, slots=True)
class Pace:
    """What a contestant did in the steps that count."""

    tokens: int
    computed: int
    seconds: float  # of the steps
    reference_seconds: float
    peak_bytes: int
    parameters: int

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / (self.seconds + self.reference_seconds)

    def mfu(self, peak_flops: float) -> float:
        """Of the steps alone: the reference is a pass of its own, with other FLOP."""
        return 4 * self.parameters * self.tokens / self.seconds / peak_flops


def measure(quick: bool, *, rehearse: bool = False) -> Sequence[Goal]:
    import torch

    if not torch.cuda.is_available() and not rehearse:
        print("not run: there is no CUDA card here")
        return []
    size = TINY if rehearse else LLAMA_8B
    warm, steps = (2, 4) if rehearse else (12, 20) if quick else (20, 60)
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        goals = _measure_sft(size, Path(folder), warm, steps)
        goals += _measure_dpo(size, Path(folder), warm, steps)
    return [] if rehearse else goals


def _measure_sft(size: dict[str, Any], folder: Path, warm: int, steps: int) -> list[Goal]:
    table = _sft_table(6000, size["vocab_size"])
    theirs = _pace(size, lambda model, clock: _trl_sft(model, table, clock, folder), warm, steps)
    ours = _pace(size, lambda model, clock: _our_sft(model, table, clock, folder), warm, steps)
    return _compare("SFT", ours, theirs)


def _measure_dpo(size: dict[str, Any], folder: Path, warm: int, steps: int) -> list[Goal]:
    table = _pair_table(8 * (warm + steps + 2))
    theirs = _pace(size, lambda model, clock: _trl_dpo(model, table, clock, folder), warm, steps)
    ours = _pace(size, lambda model, clock: _our_dpo(model, table, clock, folder), warm, steps)
    return _compare("DPO", ours, theirs)


def _compare(name: str, ours: Pace, theirs: Pace) -> list[Goal]:
    peak = _peak_flops()
    for who, pace in (("TRL's defaults", theirs), ("ours", ours)):
        share = pace.tokens / pace.computed
        print(
            f"{name}, {who}: {pace.tokens_per_s:,.0f} useful tokens/s, {share:.0%} of a batch, "
            f"MFU {pace.mfu(peak):.3f}, peak {pace.peak_bytes / 2**30:.1f} GiB",
            flush=True,
        )
    return [
        Goal(
            f"{name}: times TRL's useful tokens a second", ours.tokens_per_s / theirs.tokens_per_s, 2.0, at_most=False
        ),
        Goal(f"{name}: MFU, 4N FLOP a token", ours.mfu(peak), 0.45, at_most=False),
    ]


class Clock:
    """Times the steps between `warm` and `warm + steps` of a trainer, then stops it."""

    def __init__(self, warm: int, steps: int) -> None:
        self.warm, self.steps = warm, steps
        self.tokens: list[tuple[int, int]] = []  # useful and computed, of each micro-batch in order
        self.marks: dict[int, float] = {}
        self.reference_seconds = 0.0

    def wind(self, trainer: Any) -> Any:
        """Makes the clock part of `trainer`."""
        from transformers import TrainerCallback

        collate, clock = trainer.data_collator, self

        def count(rows: Any) -> Any:
            batch = collate(rows)
            computed = int(batch["input_ids"].numel())
            useful = int(batch["attention_mask"].sum()) if "attention_mask" in batch else computed
            clock.tokens.append((useful, computed))
            return batch

        class Ticks(TrainerCallback):  # type: ignore[misc,unused-ignore]
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step in (clock.warm, clock.warm + clock.steps):
                    _synchronise()
                    clock.marks[state.global_step] = time.monotonic()
                    control.should_training_stop |= state.global_step > clock.warm

        trainer.data_collator = count
        trainer.add_callback(Ticks())
        return trainer

    def read(self, accumulation: int) -> tuple[int, int, float]:
        """Useful and computed tokens of the steps that count, and their seconds."""
        first, last = self.warm, self.warm + self.steps
        counted = self.tokens[first * accumulation : last * accumulation]
        seconds = self.marks[last] - self.marks[first]
        return sum(own[0] for own in counted), sum(own[1] for own in counted), seconds


def _pace(size: dict[str, Any], make_trainer: Callable[[Any, Clock], Any], warm: int, steps: int) -> Pace:
    import torch

    on_card = torch.cuda.is_available()
    gc.collect()
    if on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch._dynamo.reset()
    clock = Clock(warm, steps)
    trainer = make_trainer(_build_model(size), clock)
    parameters = sum(weight.numel() for weight in trainer.model.parameters() if not weight.requires_grad)
    trainer.train()
    tokens, computed, seconds = clock.read(trainer.args.gradient_accumulation_steps)
    peak = torch.cuda.max_memory_allocated() if on_card else 0
    return Pace(tokens, computed, seconds, clock.reference_seconds, peak, parameters)


def _build_model(size: dict[str, Any]) -> Any:
    """A Llama of random weights, made where it computes: nothing is read or fetched."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    device = find_device()
    with torch.device(device.kind):
        return AutoModelForCausalLM.from_config(LlamaConfig(**size), dtype=getattr(torch, device.dtype))


def _trl_sft(model: Any, table: Any, clock: Clock, folder: Path) -> Any:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    arguments = SFTConfig(
        **_as_it_is(folder), max_length=MAX_LENGTH, dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    return clock.wind(
        SFTTrainer(
            model=model, args=arguments, train_dataset=table, processing_class=_tokenizer(), peft_config=_lora(),
        )
    )  # fmt: skip


def _our_sft(model: Any, table: Any, clock: Clock, folder: Path) -> Any:
    from flytewheel.training.feed import feed_rows
    from flytewheel.training.sft import make_sft_trainer

    base = BaseModelSpec(model="pocket", max_length=MAX_LENGTH)
    rows = Rows(table, len(table), 0)
    feed = feed_rows(rows, base, _training(), seed=1, device=find_device())
    print(f"SFT, ours: {feed.pace.told or 'rows as they are'}")
    trainer = make_sft_trainer(
        rows, Rows(None, 0, 0), _tokenizer(), [], feed, base=base, training=_training(), seed=1, device=find_device(),
        folder=folder, load=lambda *_: model,
    )  # fmt: skip
    return clock.wind(trainer)


def _trl_dpo(model: Any, table: Any, clock: Clock, folder: Path) -> Any:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    arguments = DPOConfig(**_as_it_is(folder), max_length=MAX_LENGTH)
    return clock.wind(
        DPOTrainer(
            model=model, ref_model=None, args=arguments, train_dataset=table, processing_class=_tokenizer(),
            peft_config=_lora(),
        )
    )  # fmt: skip


def _our_dpo(model: Any, table: Any, clock: Clock, folder: Path) -> Any:
    from flytewheel.training.preference import make_preference_trainer
    from flytewheel.training.reference_store import ReferenceStore

    base = BaseModelSpec(model="pocket", max_length=MAX_LENGTH)
    rlhf = RlhfSpec(epochs=20, batch_size=8, gradient_accumulation=1, checkpoint_every=10_000)
    ticks: list[float] = []

    def tick(what: str, done: int, total: int | None) -> None:
        if what == "reference":
            ticks.append(time.monotonic())

    trainer = make_preference_trainer(
        "dpo", Rows(table, len(table), 0), Rows(None, 0, 0), _tokenizer(), [], None, base=base, training=_training(),
        rlhf=rlhf, seed=1, device=find_device(), folder=folder, reference=ReferenceStore(None, {}), progress=tick,
        load=lambda *_: model,
    )  # fmt: skip
    clock.reference_seconds = (ticks[-1] - ticks[0]) * clock.steps * 8 / len(table)
    print(f"DPO, ours: the reference of {len(table)} pairs took {ticks[-1] - ticks[0]:.1f} s")
    return clock.wind(trainer)


def _training() -> TrainingSpec:
    return TrainingSpec(epochs=20, batch_size=32, gradient_accumulation=1, checkpoint_every=10_000)


def _lora() -> Any:
    from flytewheel.training.arguments import lora_config

    return lora_config(_training())


def _as_it_is(folder: Path) -> dict[str, Any]:
    """What has to be said so that TRL neither reports nor saves; everything else is its default."""
    import torch

    rehearsing = {} if torch.cuda.is_available() else {"bf16": False, "use_cpu": True}
    return {
        "output_dir": str(folder), "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "num_train_epochs": 20, "learning_rate": 2e-4, "logging_strategy": "no", **rehearsing,
    }  # fmt: skip


def _sft_table(rows: int, vocabulary: int) -> Any:
    from datasets import Dataset

    chance = random.Random(0)
    records = []
    for _ in range(rows):
        prompt, answer = TURNS + _draw(QUESTIONS, chance), 1 + _draw(ANSWERS, chance)
        ids = [chance.randrange(10, vocabulary) for _ in range(prompt + answer)]
        records.append({"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:], "length": len(ids)})
    return Dataset.from_list(records)


def _pair_table(rows: int) -> Any:
    """Pairs as texts: TRL's DPO tokenises by itself. Words are single tokens of the embedded base's tokenizer."""
    from datasets import Dataset

    tokenizer, chance = _tokenizer(), random.Random(1)
    words = [text for number in range(len(tokenizer)) if (text := tokenizer.decode([number])).strip(" ").isalpha()]
    words = [text for text in words if text.startswith(" ") and len(tokenizer.tokenize(text * 3)) == 3]

    def say(tokens: int) -> str:
        return "".join(chance.choices(words, k=tokens))

    records = []
    for _ in range(rows):
        turns = [{"role": "user", "content": say(TURNS // 2 + _draw(QUESTIONS, chance))}]
        chosen, rejected = ([{"role": "assistant", "content": say(_draw(ANSWERS, chance))}] for _ in range(2))
        records.append({"prompt": turns, "chosen": chosen, "rejected": rejected})
    return Dataset.from_list(records)


def _draw(quantiles: Sequence[int], chance: random.Random) -> int:
    """A length by linear interpolation between equally spaced quantiles."""
    at = chance.random() * (len(quantiles) - 1)
    low = int(at)
    return round(quantiles[low] + (at - low) * (quantiles[low + 1] - quantiles[low]))


def _tokenizer() -> Any:
    return load_tokenizer(BaseModelSpec(model="pocket"))


def _synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_flops() -> float:
    import torch

    if not torch.cuda.is_available():
        return 1e12
    name = torch.cuda.get_device_name(0)
    known = [flops for card, flops in PEAKS.items() if card in name]
    return known[0] if known else _measured_peak()


def _measured_peak() -> float:
    """FLOP a second of an 8,192³ bf16 product: for cards that are not in the table."""
    import torch

    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    _synchronise()
    started = time.monotonic()
    for _ in range(10):
        left @ right
    _synchronise()
    return 10 * 2 * 8192**3 / (time.monotonic() - started)


if __name__ == "__main__":
    options = {"rehearse": {"action": "store_true", "help": "on any device with a tiny model, no goals"}}
    sys.exit(report(measure, str(__doc__).splitlines()[0], options))
