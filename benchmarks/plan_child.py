"""Trains a recipe for real and says what it held: `python -m benchmarks.plan_child FOLDER METHOD`.

FOLDER holds `recipe.json`, the data set `data`, and for `dpo` the adapter of an earlier `sft`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flytewheel.models import find_device
from flytewheel.planning.peak import read_peak
from flytewheel.recipe import Recipe
from flytewheel.training.align import align
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace


def main(folder: Path, method: str) -> None:
    """Trains, and prints peak (bytes), seconds and steps as JSON."""
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text(encoding="utf-8"))
    at, data, adapter = Workplace(folder / "checkpoints"), folder / "data", folder / "sft"
    if method == "sft":
        report = train_sft(data, adapter, base=recipe.base, training=recipe.training, seed=recipe.seed, at=at)
    else:
        report = align(
            data, adapter, folder / "aligned", base=recipe.base, training=recipe.training, rlhf=recipe.rlhf,
            seed=recipe.seed, at=at,
        )  # fmt: skip
    peak = read_peak(find_device().kind)
    print(json.dumps({"peak": peak, "seconds": report.seconds, "steps": report.steps}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
