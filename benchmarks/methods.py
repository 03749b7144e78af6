"""Every way of training improves what it should, on the bundled feedback with the recipe of the demo and its base.

SFT, with an adapter and of all weights, by the perplexity of held-out answers that people liked. DPO, KTO and ORPO by
the share of greedy answers in the style that the simulated users want (`flytewheel.pocket.users`: numbered steps, the
command in backticks) to questions of people who are in no data set, and by the share of held-out pairs whose chosen
answer is the likelier one a token. The reward model by its accuracy beside a rule that sees only length, and GRPO, from
the SFT with an adapter, by the mean reward (`benchmarks.methods_reward`).

Those that learn from preferences start from one adapter whose SFT was stopped before the style came: the recipe's 120
steps leave nothing to gain, 0.98 of the answers are in the style already. The style comes within two steps, after ten
or after twenty, as the rows are ordered; so the start is found by asking every checkpoint of a short SFT questions that
no exam has, and taking the last one with at most `START_STYLE` of its answers in the style. The rows are those of the
demo, curated once without services.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks import Goal, report
from benchmarks.demo_data import build_demo_dataset, load_demo_recipe
from benchmarks.methods_reward import measure_reward
from flytewheel import models
from flytewheel.dataset import Dataset
from flytewheel.evaluation.generate import find_end_tokens, generate_answers
from flytewheel.evaluation.perplexity import Encoded, Score, encode, encode_prompt, score_completions
from flytewheel.evaluation.preference import prefer_by_likelihood
from flytewheel.pocket.users import Question, draw_questions, find_faults
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import Recipe
from flytewheel.records import build_prompt
from flytewheel.training.align import align
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace

_GUESTS = 20261127  # seed of the questions; the demo's traffic and the bundled logs have others
_BATCH = 32
_REHEARSAL = 20261128  # seed of the questions by which the start is found
START_STYLE, START_STEPS, REHEARSED = 0.4, 20, 20
METHODS = ("dpo", "kto", "orpo")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a model does on held-out users: perplexity of liked answers, and three shares in [0, 1]: pairs whose chosen
    answer is likelier, answers in the wanted style, answers with no fault at all.
    """

    perplexity: float
    accuracy: float
    style: float
    faultless: float


@dataclass(frozen=True, slots=True)
class Exam:
    """What every model is asked."""

    rows: Sequence[Encoded]
    chosen: Sequence[Encoded]
    rejected: Sequence[Encoded]
    questions: Sequence[Question]
    prompts: Sequence[tuple[int, ...]]


def measure(quick: bool) -> list[Goal]:
    """Trains by every method (`--quick`: a third of the steps, fewer questions)."""
    recipe = load_demo_recipe()
    recipe = recipe.model_copy(
        update={
            "training": recipe.training.model_copy(update={"max_steps": 40 if quick else 120}),
            "rlhf": recipe.rlhf.model_copy(update={"max_steps": 8 if quick else 25}),
        }
    )
    with tempfile.TemporaryDirectory(prefix="flytewheel-bench-") as name:
        folder = Path(name)
        data = build_demo_dataset(folder / "dataset", recipe)
        exam = set_exam(data, recipe, questions=24 if quick else 100)
        print(f"{'':<10}{'perplexity':>12}{'preference accuracy':>22}{'style':>8}{'no fault':>10}")
        found = {"base": tell("base", examine(recipe, None, exam))}
        for what, trained in train_all(folder, data, recipe):
            found[what] = tell(what, examine(recipe, trained, exam))
        rewarded = measure_reward(folder, data, quick=quick, start=folder / "start")
        tell("grpo", examine(recipe, folder / "grpo", exam))
    return [*judge(found), *rewarded]


def judge(found: dict[str, Figures]) -> list[Goal]:
    """SFT against the base, each alignment against what it started from."""
    bare = math.log(found["base"].perplexity)
    goals = [
        Goal(f"{what}: held-out loss in nats a token, after by before", math.log(found[what].perplexity) / bare, 0.8)
        for what in ("sft", "sft full")
    ]
    for method in METHODS:
        before, after = found["start"], found[method]
        goals.append(Goal(f"{method}: share of the preferred style gained", after.style - before.style, 0.05, False))
        goals.append(Goal(f"{method}: preference accuracy gained", after.accuracy - before.accuracy, 0.01, False))
    return goals


def train_all(folder: Path, dataset: Path, recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Trains by each method; gives its name and the folder with what was trained."""
    shared: dict[str, Any] = {"base": recipe.base, "seed": recipe.seed, "at": Workplace(folder / "checkpoints")}
    usual = recipe.training
    specs = {
        "sft": usual,
        # A tenth of the adapter's rate: LoRA wants ten times that of full weights.
        "sft full": usual.model_copy(update={"adapter": "full", "learning_rate": usual.learning_rate / 10}),
    }
    for name, spec in specs.items():
        train_sft(dataset, folder / name, training=spec, **shared)
        yield name, folder / name
    start = find_start(folder, dataset, recipe)
    yield "start", start
    for method in METHODS:
        rlhf = recipe.rlhf.model_copy(update={"method": method})
        align(dataset, start, folder / method, training=usual, rlhf=rlhf, **shared)
        yield method, folder / method


def find_start(folder: Path, dataset: Path, recipe: Recipe) -> Path:
    """The adapter of the last step of a short SFT at which the style has not come yet.

    Raises:
        AssertionError: it is there from the first step on.
    """
    short = recipe.training.model_copy(
        update={"max_steps": START_STEPS, "checkpoint_every": 1, "keep_checkpoints": START_STEPS}
    )
    at = Workplace(folder / "short")
    train_sft(dataset, folder / "short-sft", base=recipe.base, training=short, seed=recipe.seed, at=at)
    steps = {int(path.name.partition("-")[2]): path for path in folder.glob("short/sft-*/checkpoint-*")}
    rehearsal = set_exam(dataset, recipe, questions=REHEARSED, seed=_REHEARSAL, rows=False)
    styles = {}
    for step in sorted(steps, reverse=True):
        styles[step] = ask_style(recipe, steps[step], rehearsal)
        if styles[step] <= START_STYLE:
            break
    told = ", ".join(f"{step}: {style:.2f}" for step, style in sorted(styles.items()))
    print(f"start: style by step of SFT, {told}", flush=True)
    assert styles[step] <= START_STYLE, f"the style is there from the first step on: {styles}"
    start = folder / "start"
    start.mkdir()
    for name in models.ADAPTER_FILES:
        shutil.copyfile(steps[step] / name, start / name)
    return start


def tell(name: str, figures: Figures) -> Figures:
    """Prints a line of the table as soon as it is measured."""
    row = f"{figures.perplexity:>12.4f}{figures.accuracy:>22.3f}{figures.style:>8.3f}{figures.faultless:>10.3f}"
    print(f"{name:<10}{row}", flush=True)
    return figures


def set_exam(dataset: Path, recipe: Recipe, *, questions: int, seed: int = _GUESTS, rows: bool = True) -> Exam:
    """All rows and pairs that nothing is trained on (`rows`), and as many new people's questions as `questions`."""
    tokenizer: Any = models.load_tokenizer(recipe.base)
    data = Dataset(dataset)
    held_out: tuple[Literal["validation", "test"], ...] = ("validation", "test") if rows else ()
    liked = [row for part in held_out for row in data.sft(part)]
    pairs = [pair for part in held_out for pair in data.preferences(part)]
    guests = draw_questions(questions, seed)
    asked = [build_prompt(each.query, system=recipe.base.system_prompt, context=each.context) for each in guests]
    return Exam(
        rows=[encode(tokenizer, row.prompt, row.completion) for row in liked],
        chosen=[encode(tokenizer, pair.prompt, pair.chosen) for pair in pairs],
        rejected=[encode(tokenizer, pair.prompt, pair.rejected) for pair in pairs],
        questions=guests,
        prompts=[encode_prompt(tokenizer, prompt) for prompt in asked],
    )


def examine(recipe: Recipe, trained: Path | None, exam: Exam) -> Figures:
    """Asks one model."""
    with quiet_libraries():
        tokenizer: Any = models.load_tokenizer(recipe.base)
        model = models.load_adapted(recipe.base, trained, dtype="float32")

    def rate(rows: Sequence[Encoded]) -> list[Score]:
        return score_completions(model, rows, batch_size=_BATCH, pad_id=tokenizer.pad_token_id)

    liked = rate(exam.rows)
    wins = prefer_by_likelihood(rate(exam.chosen), rate(exam.rejected))
    faults = find_all_faults(model, tokenizer, recipe, exam)
    return Figures(
        perplexity=math.exp(-sum(each.logprob_nats for each in liked) / sum(each.tokens for each in liked)),
        accuracy=float(wins.mean()),
        style=share_in_style(faults),
        faultless=sum(not found for found in faults) / len(faults),
    )


def ask_style(recipe: Recipe, trained: Path, exam: Exam) -> float:
    """Share of one model's answers that are in the style."""
    with quiet_libraries():
        tokenizer: Any = models.load_tokenizer(recipe.base)
        model = models.load_adapted(recipe.base, trained, dtype="float32")
    return share_in_style(find_all_faults(model, tokenizer, recipe, exam))


def share_in_style(faults: Sequence[Collection[str]]) -> float:
    """In [0, 1]: neither empty, nor a loop, nor in another style."""
    unstyled = {"empty", "loop", "style"}
    return sum(not unstyled.intersection(found) for found in faults) / len(faults)


def find_all_faults(model: Any, tokenizer: Any, recipe: Recipe, exam: Exam) -> list[Collection[str]]:
    """The faults of a model's greedy answer to each question."""
    answers = generate_answers(
        model,
        exam.prompts,
        max_new_tokens=recipe.evaluation.max_new_tokens,
        batch_size=_BATCH,
        end_tokens=find_end_tokens(model, tokenizer),
        pad_id=tokenizer.pad_token_id,
    )
    return [
        find_faults(question, tokenizer.decode(spoken.tokens, skip_special_tokens=True))
        for question, spoken in zip(exam.questions, answers, strict=True)
    ]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(report(measure, __doc__.splitlines()[0]))
