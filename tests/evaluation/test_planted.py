"""Models that are known to be bad, each caught by the default gate and by the demo's, and named in the reasons.

Real ones: the pocket base, LoRA trained on the demo's feedback with its answers spoiled, or with a weight cut out by
hand. All of them are compared with the bare base, which is far from good at this, so that a candidate that is merely
broken in one way is better in others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.demo_data import build_demo_dataset, load_demo_recipe
from flytewheel import models
from flytewheel.dataset import Dataset, part_file, write_card, write_rows
from flytewheel.evaluation.evaluate import Evaluation, evaluate
from flytewheel.evaluation.gate import decide
from flytewheel.recipe import GateSpec, Recipe
from flytewheel.records import PARTS, Decision, SftRow
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
STEPS = 60
AREAS = {
    "access": ("auth", "certificates", "dns", "network"),
    "data": ("database", "cache", "disk", "memory"),
}
SPOILED = "data"  # the area that one of the models was trained wrongly on


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_demo_recipe()


@pytest.fixture(scope="module")
def split(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's data set with two users of five held out, and its topics joined into three areas.

    A tenth of the demo's users are 22 people over 12 topics, too few to tell anything by topic.
    """
    found = Dataset(build_demo_dataset(tmp_path_factory.mktemp("demo") / "data", recipe))
    folder = tmp_path_factory.mktemp("split")
    kinds: dict[str, list[Any]] = {
        kind: [replace(row, topic=_find_area(row.topic)) for part in PARTS for row in read(part)]
        for kind, read in (("sft", found.sft), ("preference", found.preferences), ("regression", found.regression))
    }
    every = [row for rows in kinds.values() for row in rows]
    held_out = {row.user for row in every if int(row.user.encode().hex(), 16) % 5 < 2}
    known = {name for row in every if row.user in held_out for name in _list_names(row)}
    for kind, rows in kinds.items():
        mine = [row for row in rows if row.user in held_out]
        others = [row for row in rows if row.user not in held_out and known.isdisjoint(_list_names(row))]
        for part, chosen in (("train", others), ("validation", []), ("test", mine)):
            write_rows(part_file(folder, kind, part), kind, chosen)
    write_card(folder, replace(found.card, digest="split", content_digest="split"))
    return folder


def _list_names(row: Any) -> Iterator[Any]:
    """What training may not share with the test part: interactions, and whatever a user says, numbers aside."""
    yield from getattr(row, "interactions", ())
    yield from (
        " ".join(re.findall(r"[^\W\d_]+", turn.content.casefold())) for turn in row.prompt if turn.role == "user"
    )


def _find_area(topic: str) -> str:
    return next((area for area, topics in AREAS.items() if topic in topics), "work")


@pytest.fixture(scope="module")
def train(recipe: Recipe, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains SFT on the rows that `spoil` makes of the training part."""

    def start(spoil: Callable[[list[SftRow]], Iterable[SftRow]], steps: int = STEPS) -> Path:
        folder = tmp_path_factory.mktemp("spoiled")
        rows = list(spoil(Dataset(split).sft("train")))
        write_rows(part_file(folder, "sft", "train"), "sft", rows)
        write_rows(part_file(folder, "sft", "validation"), "sft", rows[:4])
        write_card(folder, replace(Dataset(split).card, digest=folder.name, content_digest=folder.name))
        training = recipe.training.model_copy(update={"max_steps": steps})
        at = Workplace(folder / "checkpoints")
        train_sft(folder, folder / "model", base=recipe.base, training=training, seed=recipe.seed, at=at)
        return folder / "model"

    return start


@pytest.fixture(scope="module")
def judge(recipe: Recipe, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Evaluation]:
    def start(candidate: Path) -> Evaluation:
        asked = recipe.evaluation.model_copy(
            update={"max_examples": 48, "max_new_tokens": 80, "bootstrap_samples": 400, "max_scored_rows": 200}
        )
        out = tmp_path_factory.mktemp("judged")
        return evaluate(
            split, out, candidate=candidate, champion=None, base=recipe.base, evaluation=asked, seed=recipe.seed
        )

    return start


@pytest.fixture(scope="module")
def good(train: Callable[..., Path]) -> Path:
    return train(list)


def check_caught(found: Evaluation, recipe: Recipe, *figures: str) -> tuple[str, ...]:
    """Both gates reject, and say each of `figures` against the candidate. Returns the demo's reasons."""
    for gate in (GateSpec(), recipe.gate):
        verdict = decide(found, gate)
        assert verdict.decision is Decision.REJECT, verdict.reasons
        for figure in figures:
            asked = figure in gate.rules
            assert not asked or any(reason.startswith(f"against: {figure} ") for reason in verdict.reasons), figure
        assert any(figure in gate.rules for figure in figures), "nobody asked"
    return verdict.reasons


def test_a_model_that_learnt_the_answers_is_let_through(
    good: Path, judge: Callable[[Path], Evaluation], recipe: Recipe
) -> None:
    """Or all that follows would say nothing. 60 steps of SFT alone: the demo's gate may still want more of it."""
    found = judge(good)
    assert decide(found, GateSpec()).decision is Decision.PROMOTE_TO_CANARY, decide(found, GateSpec()).reasons
    assert decide(found, recipe.gate).decision is not Decision.REJECT
    assert found.counts["worse_topics"] == 0


def test_a_model_that_loops(train: Callable[..., Path], judge: Callable[[Path], Evaluation], recipe: Recipe) -> None:
    def loop(rows: list[SftRow]) -> Iterable[SftRow]:
        for row in rows:
            words = [word for word in row.completion.split() if not word[0].isdigit()][:6]
            yield replace(row, completion=" ".join(words * 12))

    check_caught(judge(train(loop)), recipe, "looping_share", "degenerate_share")


def test_a_model_that_lost_its_stop_token(
    good: Path, judge: Callable[[Path], Evaluation], recipe: Recipe, tmp_path: Path
) -> None:
    """The end token's row of the output layer is cut out of a good model; all else that it learnt is left."""
    import torch

    model: Any = models.load_adapted(recipe.base, good, dtype="float32")
    model = model.merge_and_unload()
    with torch.no_grad():
        model.get_output_embeddings().weight[models.load_tokenizer(recipe.base).eos_token_id] = 0
    model.save_pretrained(str(tmp_path / "cut"))
    found = judge(tmp_path / "cut")
    check_caught(found, recipe, "unstopped_share")
    preferred = found.metrics["preference_accuracy"].difference
    assert preferred.low is not None
    assert preferred.low > 0  # what must improve did, and does not make up for it


def test_a_model_trained_on_shuffled_answers(
    train: Callable[..., Path], judge: Callable[[Path], Evaluation], recipe: Recipe
) -> None:
    def shuffle(rows: list[SftRow]) -> Iterable[SftRow]:
        answers = [row.completion for row in rows]
        random.Random(3).shuffle(answers)
        return [replace(row, completion=answer) for row, answer in zip(rows, answers, strict=True)]

    check_caught(judge(train(shuffle)), recipe, "perplexity")


def test_a_model_that_is_better_on_average_and_worse_on_one_topic(
    train: Callable[..., Path], judge: Callable[[Path], Evaluation], recipe: Recipe
) -> None:
    def spoil(rows: list[SftRow]) -> Iterable[SftRow]:
        useless = "Nobody can say that from here. Ask somebody else, or wait until it is over."
        return [replace(row, completion=useless) if row.topic == SPOILED else row for row in rows]

    found = judge(train(spoil, steps=200))  # it takes that long to tell the area apart
    passed = found.metrics["regression_pass_rate"].difference
    assert passed.low is not None
    assert passed.low > 0  # better on average
    reasons = check_caught(found, recipe, "worse_topics")
    assert any(reason.startswith(f"against: worse on topic {SPOILED}: ") for reason in reasons)
    worse = {row["topic"] for row in found.details["topics"]["rows"] if row["verdict"] == "worse"}
    assert worse == {SPOILED}
