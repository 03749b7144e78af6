"""Plans the training of a recipe on this device: counts rows and steps, predicts time and memory, by a probe or not."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flytewheel.dataset import Dataset
from flytewheel.doctor.needs import estimate_disk_of
from flytewheel.errors import DatasetError
from flytewheel.models import Device, find_device, load_tokenizer, open_base
from flytewheel.planning import arithmetic
from flytewheel.planning.forecast import Forecast, Part, Price, judge_hours, judge_memory
from flytewheel.planning.probe import STEPS, Probe, Request, take_probe
from flytewheel.planning.rows import Batches, count_batches, count_steps, read_training_rows, take_sample
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import Recipe, RlhfSpec, TrainingSpec
from flytewheel.training.align import choose_method
from flytewheel.training.arguments import MAX_VALIDATION_ROWS, check_adapter, check_base
from flytewheel.training.lengths import RowLength, measure_rows
from flytewheel.training.memory import Sized, TrainingMemory, estimate_memory, fit_memory, measure_folder
from flytewheel.training.micro_batch import MicroBatch, of_spec

_CHECKPOINT_SHARE = 3  # the adapter in float32 and its two moments
_ADAPTER_COPIES = 2  # in the checkpoint directory and where it is published


def plan(
    recipe: Recipe,
    folder: Path,
    *,
    probe: bool = True,
    price: Price | None = None,
    progress: ProgressCallback | None = None,
) -> Forecast:
    """Predicts what training by `recipe` on the data set in `folder` takes on this device; leaves nothing behind.

    Args:
        recipe: What would be trained.
        folder: A frozen data set.
        probe: Whether to measure 20 steps of each part; else time comes from arithmetic.
        price: Of an hour.
        progress: Is told how far the probes are.

    Raises:
        BaseModelError: the base cannot be loaded.
        DatasetError: there is no data set, or no row fits.
        RecipeError: it cannot be trained on this device, or not within `budget.memory_gb`.
        TrainingError: a probe failed.
    """
    device = find_device()
    check_adapter(recipe.training, device)
    check_base(recipe.base, device)
    dataset, size = Dataset(folder), measure_folder(open_base(recipe.base, with_weights=True))
    planner = _Planner(recipe, dataset, size, device, load_tokenizer(recipe.base), progress)
    thumbs = dataset.unpaired("train")
    liked = sum(row.label for row in thumbs)
    choice = choose_method(recipe.rlhf, sum(1 for _ in dataset.rows("preference", "train")), liked, len(thumbs) - liked)
    methods = [("sft", "sft", ""), ("align", choice.method, choice.reason)]
    parts: list[Part] = []
    with TemporaryDirectory(prefix="flytewheel-plan-") as scratch:
        adapter: str | None = None
        for name, method, reason in methods:
            if method == "skipped":
                parts.append(Part(name, method, reason))
                continue
            part, lengths, batches = planner.count(name, method, reason)
            if probe:
                taken = planner.probe(method, lengths, Path(scratch) / name, adapter)
                adapter = taken.adapter
                part = planner.measured(part, batches, taken)
            else:
                part = planner.calculated(part, batches)
            before = sum(each.likely_s for each in parts)
            said = filter(None, (judge_hours(recipe.budget, before, part), judge_memory(recipe.budget, part)))
            parts.append(replace(part, budget="; ".join(said)))
    return Forecast(
        recipe=recipe.name,
        base=recipe.base.model,
        parameters=size.parameters,
        device=str(device),
        dataset=dataset.card.digest,
        parts=tuple(parts),
        turn_disk=estimate_disk_of(size.parameters, recipe),
        price=price,
    )


class _Planner:
    """What all parts of a plan need."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        size: Sized,
        device: Device,
        tokenizer: Any,
        progress: ProgressCallback | None,
    ) -> None:
        self._recipe = recipe
        self._dataset = dataset
        self._size = size
        self._device = device
        self._tokenizer = tokenizer
        self._progress = progress

    def count(self, name: str, method: str, reason: str) -> tuple[Part, list[RowLength | None], Batches]:
        """Counts rows, tokens and steps of a part, and estimates its memory; with the lengths of all its rows."""
        recipe, base, profile = self._recipe, self._recipe.base, self._device.profile
        every, too_long = self._measure(method, "train")
        lengths = [row for row in every if row is not None]
        if not lengths:
            raise DatasetError(
                f"{self._dataset.path}: no row for {method} fits into base.max_length = {base.max_length} tokens "
                f"({too_long} too long); raise base.max_length, or take another data set"
            )
        longest = max(row.longest for row in lengths)
        least = 2 if method == "kto" else 1
        asked: TrainingSpec | RlhfSpec = recipe.training if method == "sft" else recipe.rlhf
        batch, fitted = fit_memory(
            recipe.budget, of_spec(asked, least), method, base=base, training=recipe.training, longest=longest,
            rows=len(lengths), device=self._device, least=least,
        )  # fmt: skip
        packed = base.max_length if method == "sft" and profile.packing.value else None
        sampling = "sequential" if method == "kto" else profile.sampling.value
        spec = batch.apply(recipe.training) if method == "sft" else batch.apply(recipe.rlhf)
        batches = count_batches(lengths, spec, sampling=sampling, packed_into=packed, seed=recipe.seed)
        memory = self._estimate(method, batch, longest, len(lengths))
        part = Part(
            name=name,
            method=method,
            reason=reason or f"{len(lengths)} rows",
            rows=len(lengths),
            too_long=too_long,
            tokens=batches.tokens,
            loss_tokens=batches.loss_tokens,
            padded_tokens=batches.padded_tokens,
            useful_share=batches.useful_share,
            longest=longest,
            micro_batch=str(batch),
            fitted=fitted,
            steps=count_steps(batches, spec),
            memory=memory.most if memory is not None else 0,
            memory_parts=asdict(memory) if memory is not None else None,
            disk=self._count_disk(memory, asked),
        )
        return part, every, batches

    def probe(self, method: str, lengths: list[RowLength | None], folder: Path, adapter: str | None) -> Probe:
        """Measures 20 steps on a sample of the rows."""
        recipe = self._recipe
        spec: TrainingSpec | RlhfSpec = recipe.training if method == "sft" else recipe.rlhf
        rows = 2 * STEPS * spec.batch_size * spec.gradient_accumulation  # more than are taken, so that they differ
        sample = take_sample(self._dataset, folder / "data", method, lengths, rows)
        request = Request(method, recipe.model_dump(mode="json"), str(sample), str(folder), adapter)
        return take_probe(request, self._progress)

    def measured(self, part: Part, batches: Batches, probe: Probe) -> Part:
        """A part with the time and the memory that the probe tells."""
        tokens = batches.padded_tokens / batches.steps_per_epoch * part.steps
        least, most = probe.predict(tokens + self._count_evaluation(part.method), part.steps)
        return replace(
            part,
            seconds=(least + probe.start_s, most + probe.start_s),
            memory=probe.memory,
            memory_measured=True,
            fitted=probe.fitted,
            sure=f"measured over {probe.steps} steps on this device",
        )

    def calculated(self, part: Part, batches: Batches) -> Part:
        """A part with the time that arithmetic tells."""
        tokens = batches.padded_tokens / batches.steps_per_epoch * part.steps + self._count_evaluation(part.method)
        mean = batches.tokens / part.rows / (2 if part.method == "dpo" else 1)
        each = arithmetic.count_operations(self._size, part.method, mean)
        rate = arithmetic.measure_rate(self._size, self._device, (part.memory_parts or {}).get("tokens", 512))
        return replace(
            part,
            seconds=arithmetic.predict(tokens * each, rate),
            sure=f"calculated: {each * tokens:.2g} operations at {rate / 1e9:,.3g} GFLOP/s of a matrix product here, "
            f"of which training reaches {arithmetic.REACHED[0]:.0%} to {arithmetic.REACHED[1]:.0%}",
        )

    def _measure(self, method: str, part: str) -> tuple[list[RowLength | None], int]:
        rows = read_training_rows(self._dataset, method, part)
        return measure_rows(method, rows, self._tokenizer, self._recipe.base.max_length)

    def _count_evaluation(self, method: str) -> float:
        """Tokens of all evaluations, as so many tokens of training: a pass forward is a third of a step."""
        lengths = [row for row in self._measure(method, "validation")[0] if row is not None]
        spec: TrainingSpec | RlhfSpec = self._recipe.training if method == "sft" else self._recipe.rlhf
        share = min(1.0, MAX_VALIDATION_ROWS / len(lengths)) if lengths else 0.0
        return sum(row.tokens for row in lengths) * share * max(1.0, spec.epochs if spec.max_steps is None else 1.0) / 3

    def _estimate(self, method: str, batch: MicroBatch, longest: int, rows: int) -> TrainingMemory | None:
        recipe = self._recipe
        return estimate_memory(
            self._size, method, base=recipe.base, training=recipe.training, profile=self._device.profile,
            rows=min(batch.rows, rows), longest=longest,
        )  # fmt: skip

    def _count_disk(self, memory: TrainingMemory | None, spec: TrainingSpec | RlhfSpec) -> int:
        """Bytes: the kept checkpoints, one more while it is written, and the adapter where it is published."""
        if memory is None:
            return 0
        weights = memory.adapter // 4  # of 16 bytes a weight, four are the weight itself
        return weights * (_CHECKPOINT_SHARE * (spec.keep_checkpoints + 1) + _ADAPTER_COPIES)
