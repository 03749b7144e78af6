"""What `flytewheel plan` predicts against what training then takes: the peak of memory within 20 %, for two bases.

Each prediction is made beforehand, by arithmetic and by a probe; then a process of its own trains for real through
`train_sft` and `align`, and tells its peak. Rows have lognormal lengths. Time is printed beside it and has no goal: it
is another machine's as soon as something else runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from benchmarks.plan_rows import write_base, write_data
from flytewheel.planning.plan import plan
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import Recipe

_BOUND = 0.2


def measure(quick: bool) -> list[Goal]:
    """Plans and trains `pocket` (3 M parameters) and a Llama of 66 M; `--quick`: fewer steps, and no probe of 66 M."""
    goals = []
    with tempfile.TemporaryDirectory(prefix="flytewheel-bench-") as name, quiet_libraries():
        root = Path(name)
        large = write_base(root / "base", hidden=640, layers=10, vocabulary=32_000)
        for title, base, batch, steps in (("3 M", "pocket", 8, 24), ("66 M", str(large), 2, 12)):
            folder = root / title.replace(" ", "")
            data = write_data(folder / "data", 160)
            recipe = _write_recipe(folder, base, batch, 4 if quick else steps)
            forecasts = {"arithmetic": plan(recipe, data, probe=False)}
            if not (quick and base != "pocket"):
                forecasts["probe"] = plan(recipe, data)
            for at, method in enumerate(("sft", "dpo")):
                found = _train(folder, method)
                for way, forecast in forecasts.items():
                    part = forecast.parts[at]
                    error = abs(part.memory / found["peak"] - 1)
                    print(
                        f"{title} {method}, {way}: {part.memory / 1e6:,.0f} MB predicted, {found['peak'] / 1e6:,.0f} "
                        f"measured; {part.seconds[0]:.0f} to {part.seconds[1]:.0f} s, {found['seconds']:.0f} measured",
                        flush=True,
                    )
                    goals.append(Goal(f"{title} {method}, memory by {way}, error as a share", error, _BOUND))
    return goals


def _write_recipe(folder: Path, base: str, batch: int, steps: int) -> Recipe:
    taught = {"batch_size": batch, "gradient_accumulation": 1, "max_steps": steps, "checkpoint_every": steps}
    recipe = Recipe.model_validate(
        {
            "name": "made",
            "base": {"model": base, "max_length": 512},
            "training": taught,
            "rlhf": {**taught, "batch_size": max(1, batch // 2), "min_preference_pairs": 1},
        }
    )
    (folder / "recipe.json").write_text(recipe.model_dump_json(), encoding="utf-8")
    return recipe


def _train(folder: Path, method: str) -> dict[str, Any]:
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.plan_child", str(folder), method], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
