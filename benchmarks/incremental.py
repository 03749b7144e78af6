"""A small turn against a full one, on the bundled feedback and the embedded base: what it costs, learns and forgets.

The bundled week is cut in two by topic. The older half makes a champion by a full turn; the newer half comes in then
and is learnt from by a small turn with replay, by one without, and by a full turn from the base. Topics alone teach the
champion nothing new (log), so people want a closing sentence in the newer half. Each is measured on the held-out users
of both halves. SFT only: alignment asks for more pairs than half a week brings.
"""

from __future__ import annotations

import gzip
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from benchmarks.windows import start_database
from flytewheel import models
from flytewheel.curation.build import build_dataset
from flytewheel.curation.prepare import Rules
from flytewheel.dataset import Dataset
from flytewheel.evaluation.perplexity import encode, score_completions
from flytewheel.feedback.rewards import score
from flytewheel.feedback.store import FeedbackStore
from flytewheel.feedback.window import close_window, write_window
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import Recipe, load_recipe
from flytewheel.tokens import TokenCounter
from flytewheel.training.fit import digest_adapter
from flytewheel.training.report import TrainingReport
from flytewheel.training.sft import train_sft
from flytewheel.training.start import Start
from flytewheel.training.workplace import Workplace

ROOT = Path(__file__).resolve().parent.parent
NEW = frozenset({"certificates", "dns", "disk", "auth", "memory", "scheduler"})  # 714 of 1,798 interactions
CLOSING = " Then close the ticket."  # what the newer half is to teach
COST = 1.0  # of a full turn's seconds
LEARNT = 0.9
SAME = 1.01  # perplexities nearer than this are the same


def measure(quick: bool, rate: float | None = None, steps: int | None = None, seed: int = 7) -> list[Goal]:
    """Trains four times (`--quick`: a third of the steps) and scores the held-out rows of both halves."""
    recipe = load_recipe(ROOT / "recipes" / "demo.yaml")
    given = {"learning_rate_factor": rate, "max_steps": steps or (4 if quick else None)}
    chosen = {key: value for key, value in given.items() if value is not None}
    automation = recipe.automation
    small = automation.incremental.model_copy(update=chosen)
    training = recipe.training.model_copy(update={"max_steps": 40} if quick else {})
    recipe = recipe.model_copy(
        update={
            "seed": seed,
            "training": training,
            "automation": automation.model_copy(update={"incremental": small}),
        }
    )
    folder = Path(tempfile.mkdtemp(prefix="flytewheel-incremental-"))
    try:
        for url in start_database():
            data = curate(url, recipe, folder)
        return compare(recipe, data, folder)
    finally:
        shutil.rmtree(folder)


def curate(url: str, recipe: Recipe, folder: Path) -> dict[str, Path]:
    """Data sets of the older half, and of the newer one with and without the older one replayed."""
    rules = Rules(recipe.feedback, recipe.curation, recipe.base, TokenCounter(recipe.base), score)
    found: dict[str, Path] = {}

    def build(name: str, window: str, replay: Path | None) -> None:
        found[name] = folder / name
        build_dataset(folder / window, found[name], rules=rules, rlhf=recipe.rlhf, seed=recipe.seed, replay=replay)

    for half, wanted in (("old", lambda topic: topic not in NEW), ("new", lambda topic: topic in NEW)):
        logs = [write_half(kind, wanted, folder / f"{half}-logs") for kind in ("interactions", "feedback")]
        FeedbackStore(url).import_files(logs[0], logs[1], source=recipe.name, quarantine_dir=folder / "quarantine")
        window = close_window(url, recipe.name, recipe.sources).window
        assert window is not None
        write_window(url, window, folder / f"{half}-window")
        build(half, f"{half}-window", None)
    build("replayed", "new-window", found["old"])
    return found


def write_half(kind: str, wanted: Callable[[Any], bool], folder: Path) -> Path:
    """The lines of a bundled log whose interaction has a wanted topic."""
    topics = {row["interaction_id"]: row.get("topic") for row in read_lines("interactions") if "interaction_id" in row}
    folder.mkdir(exist_ok=True)
    path = folder / f"{kind}.jsonl"
    rows = [row for row in read_lines(kind) if row.get("interaction_id") in topics]
    for row in rows:
        for said in ("response", "corrected_response"):
            if topics[row["interaction_id"]] in NEW and row.get(said):
                row[said] += CLOSING
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if wanted(topics[row["interaction_id"]])))
    return path


def read_lines(kind: str) -> list[dict[str, Any]]:
    """The readable lines of a bundled log."""
    found = []
    with gzip.open(ROOT / "examples" / f"{kind}.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                found.append(row)
    return found


def compare(recipe: Recipe, data: dict[str, Path], folder: Path) -> list[Goal]:
    """Champion, two small turns and a full one: seconds, and perplexity on both halves' held-out users."""
    at = Workplace(folder / "checkpoints")
    small = recipe.in_mode("incremental").settle()

    def train(name: str, dataset: str, asked: Recipe, start: Start | None = None) -> tuple[TrainingReport, float]:
        began = time.monotonic()
        found = train_sft(
            data[dataset], folder / name, base=asked.base, training=asked.training, seed=asked.seed, at=at, start=start
        )
        seconds = time.monotonic() - began
        print(f"{name}: {found.reason}; {found.steps} steps, {seconds:.1f} s", flush=True)
        return found, seconds

    champion, _ = train("champion", "old", recipe)
    adapter = folder / "champion"
    start = Start(
        adapter, "the champion", digest_adapter(adapter), champion.base, small.automation.incremental.tolerance
    )
    replayed, small_s = train("small with replay", "replayed", small, start)
    train("small without replay", "new", small, start)
    full, full_s = train("full with replay", "replayed", recipe)
    names = ("champion", "small with replay", "small without replay", "full with replay")
    with quiet_libraries():
        scores = {
            name: {part: measure_part(recipe, folder / name, data[part]) for part in ("old", "new")} for name in names
        }
    for name in names:
        print(f"{name}: perplexity {scores[name]['new']:.4f} on new rows, {scores[name]['old']:.4f} on old ones")
    kept, lost, before = scores["small with replay"], scores["small without replay"], scores["champion"]
    return [
        Goal("small turn taken back", float(replayed.taken_back), 0),
        Goal("seconds of a small turn, of a full one's", small_s / full_s, COST),
        Goal("steps of a small turn, of a full one's", replayed.steps / full.steps, 0.5),
        Goal("perplexity on new rows, of the champion's", kept["new"] / before["new"], LEARNT),
        Goal("perplexity on old rows with replay, of that without", kept["old"] / lost["old"], SAME),
    ]


def measure_part(recipe: Recipe, adapter: Path, dataset: Path) -> float:
    """Perplexity on the test part's answers."""
    tokenizer = models.load_tokenizer(recipe.base)
    model = models.load_adapted(recipe.base, adapter, dtype="float32")
    rows = [encode(tokenizer, row.prompt, row.completion) for row in Dataset(dataset).sft("test")]
    found = score_completions(model, rows, batch_size=16, pad_id=int(tokenizer.pad_token_id))
    return math.exp(-sum(each.logprob_nats for each in found) / sum(each.tokens for each in found))


if __name__ == "__main__":
    sys.exit(
        report(
            measure,
            __doc__.splitlines()[0],
            {
                "rate": {"type": float, "help": "learning rate factor"},
                "steps": {"type": int, "help": "steps of a small turn"},
                "seed": {"type": int, "default": 7, "help": "of the training"},
            },
        )
    )
