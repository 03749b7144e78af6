"""Plans the training of a recipe on this device: counts rows and steps, predicts time and memory, by a probe or not.

Where several processes share a step, time is that of one process's share; what exchanging gradients takes is not
predicted. Neither are GRPO, whose answers are not known before, and the reward model that it needs.
"""

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
from flytewheel.planning.load import PAIRED, Load, measure_load, section
from flytewheel.planning.probe import STEPS, Probe, Request, take_probe
from flytewheel.planning.rows import take_sample, tokenise_rows
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import Recipe, RlhfSpec, TrainingSpec
from flytewheel.training.align import choose_method
from flytewheel.training.arguments import check_adapter, check_base
from flytewheel.training.grpo import count_steps, fit_prompts, look_at_prompts
from flytewheel.training.memory import Sized, TrainingMemory, estimate_memory, measure_folder
from flytewheel.training.micro_batch import of_spec
from flytewheel.training.reward import explain_skipping

_CHECKPOINT_SHARE = 3  # the adapter in float32 and its two moments
_ADAPTER_COPIES = 2  # in the checkpoint directory and where it is published
_REFERENCED = {"dpo": 1, "kto": 2}  # passes of the reference over every row: KTO has mismatched answers as well
_FORWARD_SHARE = 1 / 3  # of a step
_NO_GRPO = "time and memory of GRPO: how long the answers will be that it samples is not known before"
_NO_REWARD = "time and memory of the reward model's training"


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
    parts: list[Part] = []
    with TemporaryDirectory(prefix="flytewheel-plan-") as scratch:
        adapter: str | None = None
        for part in _list_parts(recipe, dataset):
            if part.method == "grpo":
                parts.append(planner.count_grpo(part))
                continue
            if part.method == "skipped" or part.not_predicted:
                parts.append(part)
                continue
            part, load = planner.count(part)
            if probe:
                taken = planner.probe(part.method, load, Path(scratch) / part.name, adapter)
                adapter = taken.adapter
                part = planner.measured(part, load, taken)
            else:
                part = planner.calculated(part, load)
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


def _list_parts(recipe: Recipe, dataset: Dataset) -> list[Part]:
    """The parts of a turn's training in their order, with their methods and the reasons for these."""
    pairs, thumbs = len(dataset.preferences("train")), dataset.unpaired("train")
    liked = sum(row.label for row in thumbs)
    no_judge = explain_skipping(recipe.reward, recipe.rlhf, pairs)
    choice = choose_method(
        recipe.rlhf, pairs, liked, len(thumbs) - liked, judge=no_judge is None, no_judge=no_judge or ""
    )
    parts = [Part("sft", "sft", "")]
    if no_judge is None:
        parts.append(Part("reward", "reward", f"{pairs} pairs", rows=pairs, not_predicted=_NO_REWARD))
    return [*parts, Part("align", choice.method, choice.reason)]


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

    def count(self, part: Part) -> tuple[Part, Load]:
        """Counts rows, tokens and steps of a part, and estimates its memory."""
        recipe, method = self._recipe, part.method
        rows = tokenise_rows(self._dataset, method, "train", self._tokenizer, recipe)
        if not rows.count:
            raise DatasetError(
                f"{self._dataset.path}: no row for {method} fits into base.max_length = {recipe.base.max_length} "
                f"tokens ({rows.truncated} too long); raise base.max_length, or take another data set"
            )
        load = measure_load(method, rows, recipe, self._device)
        memory, figures = self._estimate(method, load), load.figures
        counted = replace(
            part,
            reason=part.reason or f"{rows.count} rows",
            rows=rows.count,
            too_long=rows.truncated,
            tokens=figures.tokens,
            loss_tokens=figures.loss_tokens,
            padded_tokens=figures.padded_tokens,
            useful_share=figures.useful_share,
            longest=load.longest,
            micro_batch=self._name_batch(str(load.micro_batch)),
            pace=load.pace.told,
            fitted=load.fitted,
            steps=load.steps,
            memory=memory.most if memory is not None else 0,
            memory_parts=asdict(memory) if memory is not None else None,
            disk=_count_disk(memory, section(recipe, method)),
        )
        return counted, load

    def count_grpo(self, part: Part) -> Part:
        """Counts prompts and steps of GRPO, and what it writes."""
        recipe, data = self._recipe, self._dataset
        looked = look_at_prompts(data, recipe.rlhf, None)
        prompts, _ = fit_prompts(
            data, looked, self._tokenizer, base=recipe.base, training=recipe.training, rlhf=recipe.rlhf
        )
        memory = estimate_memory(
            self._size, "sft", base=recipe.base, training=recipe.training, profile=self._device.profile, rows=1
        )
        return replace(
            part,
            rows=len(prompts),
            too_long=len(looked.train) - len(prompts),
            micro_batch=self._name_batch(str(of_spec(recipe.rlhf))),
            steps=count_steps(len(prompts), recipe.rlhf),
            disk=_count_disk(memory, recipe.rlhf),
            not_predicted=_NO_GRPO,
        )

    def probe(self, method: str, load: Load, folder: Path, adapter: str | None) -> Probe:
        """Measures 20 steps on a sample of the rows."""
        recipe, processes = self._recipe, self._recipe.training.processes
        spec = section(recipe, method)
        asked = spec.batch_size * spec.gradient_accumulation
        # More rows than are taken, so that they differ; of KTO, which takes them in order, all: the longest counts.
        rows = STEPS * max(1, asked // processes) * (1 if method == "kto" else 2)
        sample = take_sample(self._dataset, folder / "data", method, load.rows.sizes, rows)
        # Packing divides `max_steps` by the ratio of the rows that a step takes to those asked.
        steps = max(1, round(STEPS * load.pace.rows_per_step / asked))
        request = Request(method, recipe.model_dump(mode="json"), str(sample), str(folder), adapter, steps)
        return take_probe(request, self._progress)

    def measured(self, part: Part, load: Load, probe: Probe) -> Part:
        """A part with the time and the memory that the probe tells."""
        processes = self._recipe.training.processes
        held_out = self._count_held_out(part.method)
        tokens = (load.padded_tokens + held_out * load.epochs * _FORWARD_SHARE) / processes
        least, most = probe.predict(tokens, load.steps)
        once = probe.start_s + probe.reference_s * self._count_reference(part.method, load, held_out) / processes
        return replace(
            part,
            seconds=(least + once, most + once),
            memory=probe.memory,
            memory_measured=True,
            fitted=probe.fitted,
            sure=f"measured over {probe.steps} steps on this device{self._name_share()}",
        )

    def calculated(self, part: Part, load: Load) -> Part:
        """A part with the time that arithmetic tells."""
        size, full = self._size, self._recipe.training.adapter == "full"
        mean = load.figures.tokens / part.rows / (2 if part.method in PAIRED else 1)
        held_out = self._count_held_out(part.method)
        once = self._count_reference(part.method, load, held_out) + held_out * load.epochs
        operations = load.padded_tokens * arithmetic.count_operations(size, part.method, mean, full=full)
        operations = (operations + once * arithmetic.count_forward(size, mean)) / self._recipe.training.processes
        rate = arithmetic.measure_rate(size, self._device, (part.memory_parts or {}).get("tokens", 512))
        return replace(
            part,
            seconds=arithmetic.predict(operations, rate),
            sure=f"calculated: {operations:.2g} operations at {rate / 1e9:,.3g} GFLOP/s of a matrix product here, "
            f"of which training reaches {arithmetic.REACHED[0]:.0%} to {arithmetic.REACHED[1]:.0%}{self._name_share()}",
        )

    def _count_held_out(self, method: str) -> int:
        """Tokens of one validation."""
        rows = tokenise_rows(self._dataset, method, "validation", self._tokenizer, self._recipe)
        return sum(size.tokens for size in rows.sizes)

    def _count_reference(self, method: str, load: Load, held_out: int) -> int:
        """Tokens that the reference policy reads, once."""
        return _REFERENCED.get(method, 0) * (load.figures.tokens + held_out)

    def _estimate(self, method: str, load: Load) -> TrainingMemory | None:
        recipe = self._recipe
        return estimate_memory(
            self._size, method, base=recipe.base, training=recipe.training, profile=self._device.profile,
            rows=min(load.micro_batch.rows, load.sequences), longest=load.longest, answers=load.answers,
        )  # fmt: skip

    def _name_batch(self, batch: str) -> str:
        processes = self._recipe.training.processes
        return batch if processes == 1 else f"{batch}, {processes} times"

    def _name_share(self) -> str:
        processes = self._recipe.training.processes
        if processes == 1:
            return ""
        return f", of one process of {processes} that share each step, each on such a device; exchange not predicted"


def _count_disk(memory: TrainingMemory | None, spec: TrainingSpec | RlhfSpec) -> int:
    """Bytes: the kept checkpoints, one more while it is written, and the adapter where it is published."""
    if memory is None:
        return 0
    weights = memory.adapter // 4  # of 16 bytes a weight, four are the weight itself
    return weights * (_CHECKPOINT_SHARE * (spec.keep_checkpoints + 1) + _ADAPTER_COPIES)
