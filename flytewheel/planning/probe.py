"""The probe: the real trainer takes 20 steps on real rows, in a process of its own, and nothing of it is kept.

A process of its own, so that its peak of memory is its own, and so that running out of memory ends it and not the plan.
It gets a sample of the rows, the longest among them: the peak is that of the longest, and a large data set need not be
tokenised whole. The time of a step is fitted as `a + b * tokens` over the steps after the first two, which allocate.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import TrainingError
from flytewheel.planning.load import section
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import Recipe
from flytewheel.training.processes import divide_batch

STEPS = 20
_WARM_UP = 2
_MARK = "flytewheel-probe "


@dataclass(frozen=True, slots=True)
class Request:
    """What a probe trains: `method` of `recipe` (as JSON) on the data set in `dataset`, from `adapter` on.

    `max_steps` is what the recipe has to say so that 20 steps are taken: packing divides it.
    """

    method: str
    recipe: dict[str, Any]
    dataset: str
    folder: str
    adapter: str | None = None
    max_steps: int = STEPS


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured.

    Attributes:
        steps: taken.
        tokens: of each step, padding included.
        seconds: of each step.
        start_s: from the process's start to its first step, the reference aside.
        memory: bytes at the peak.
        adapter: the trained adapter, to align from.
        fitted: what was changed so that memory sufficed, in words.
        reference_s: of the reference policy, a token.
    """

    steps: int
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    start_s: float
    memory: int
    adapter: str
    fitted: tuple[str, ...] = ()
    reference_s: float = 0.0

    def predict(self, tokens: float, steps: int) -> tuple[float, float]:
        """Seconds of `steps` steps of `tokens` tokens together, at least and at most."""
        measured = list(zip(self.tokens, self.seconds, strict=True))[_WARM_UP:] or [(self.tokens[-1], self.seconds[-1])]
        each, per_token = fit_line(measured)
        middle = each * steps + per_token * tokens
        errors = [abs(seconds - each - per_token * count) for count, seconds in measured]
        mean = sum(seconds for _, seconds in measured) / len(measured)
        # What a step differs from the line, as a share; of 18 steps' mean that is a quarter. A machine is never free of
        # others for hours: 10 % besides.
        spread = 0.1 + 2 * (sum(errors) / len(errors) / mean) / len(measured) ** 0.5
        return middle * (1 - min(spread, 0.9)), middle * (1 + spread)


def fit_line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Least squares of `seconds = a + b * tokens` with neither below zero; (a, b).

    Steps of about equal tokens say nothing of `a`: all is put on the tokens then.
    """
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread > 0 and (spread / count) ** 0.5 > 0.1 * mean_x:
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        if 0 <= slope * mean_x <= mean_y:
            return mean_y - slope * mean_x, slope
    return 0.0, mean_y / mean_x


def take_probe(request: Request, progress: ProgressCallback | None = None) -> Probe:
    """Runs a probe.

    Raises:
        TrainingError: it failed; the reason is the probe's own line.
    """
    folder = Path(request.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_text(json.dumps(asdict(request)), encoding="utf-8")
    log = folder / "probe.log"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "flytewheel.planning.probe_child", str(folder)],
            stdout=subprocess.PIPE, stderr=errors, text=True,
        ) as child,
    ):  # fmt: skip
        try:
            for line in child.stdout or ():
                if line.startswith(_MARK) and progress is not None:
                    done, total = line.removeprefix(_MARK).split()
                    progress(f"probe {request.method}", int(done), int(total))
        except BaseException:
            child.kill()
            raise
    result = folder / "probe.json"
    if child.returncode != 0 or not result.is_file():
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        ended = f"by signal {-child.returncode}, out of memory perhaps" if child.returncode < 0 else "without a word"
        cause = said[-1][:300] if said else ended
        raise TrainingError(f"the probe of {request.method} failed ({cause}); mend it, or plan with --no-probe")
    content: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    for name in ("tokens", "seconds", "fitted"):
        content[name] = tuple(content[name])
    return Probe(**content)


def say_step(done: int, total: int) -> None:
    """Tells the process that waits how far the probe is."""
    print(f"{_MARK}{done} {total}", flush=True)


def shorten(recipe: Recipe, method: str, max_steps: int = STEPS) -> Recipe:
    """The recipe of a probe: `max_steps` steps of `method`, whatever the number of rows, as one process takes them."""
    spec = section(recipe, method)
    size, accumulation = divide_batch(spec.batch_size, spec.gradient_accumulation, recipe.training.processes)
    own = {
        "batch_size": size,
        "gradient_accumulation": accumulation,
        "max_steps": max_steps,
        "checkpoint_every": STEPS,
    }
    alone = recipe.training.model_copy(update={"nodes": 1, "gpus_per_node": 1, **(own if method == "sft" else {})})
    if method == "sft":
        return recipe.model_copy(update={"training": alone})
    forced = {**own, "method": method, "min_preference_pairs": 1, "min_unpaired": 1}
    return recipe.model_copy(update={"training": alone, "rlhf": recipe.rlhf.model_copy(update=forced)})
