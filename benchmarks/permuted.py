"""The gain is not planted: on the bundled feedback with its labels permuted, no turn may promote; on the true one it
must.

Each seed deals the reactions out anew among the answers (`flytewheel.feedback.permute`) and runs the whole weekly
workflow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import Goal, report
from flytewheel.feedback.permute import permute_labels

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (1, 2, 3, 4)


def measure(quick: bool) -> list[Goal]:
    """One true turn and four permuted ones (`--quick`: one)."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        decisions = {
            seed: run_permuted(Path(folder) / f"seed-{seed}", seed) for seed in (None, *SEEDS[: 1 if quick else 4])
        }
    true = decisions.pop(None)
    print(f"true labels: {true}; permuted: {decisions}")
    promoted = sum(decision == "promote_to_canary" for decision in decisions.values())
    return [
        Goal("true labels promoted", float(true == "promote_to_canary"), 1, at_most=False),
        Goal(f"permuted labels promoted, of {len(decisions)}", float(promoted), 0),
    ]


def run_permuted(home: Path, seed: int | None) -> str:
    """The gate's decision of a whole turn on the bundled feedback, permuted by `seed` (`None`: as it is)."""
    home.mkdir(parents=True)
    recipe = (ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8")
    if seed is not None:
        logs = home / "permuted"
        examples = ROOT / "examples"
        permute_labels(examples / "interactions.jsonl.gz", examples / "feedback.jsonl.gz", logs, seed=seed)
        for name in ("interactions", "feedback"):
            recipe = recipe.replace(f"examples/{name}.jsonl.gz", str(logs / f"{name}.jsonl.gz"))
    (home / "recipe.yaml").write_text(recipe, encoding="utf-8")
    flytewheel = [sys.executable, "-m", "flytewheel.cli"]
    environ = {**os.environ, "FLYTEWHEEL_HOME": str(home / "state")}
    try:
        subprocess.run([*flytewheel, "run", str(home / "recipe.yaml")], cwd=ROOT, env=environ, check=True)
        shown = subprocess.run([*flytewheel, "runs", "list", "--json"], env=environ, check=True, capture_output=True)
        run_id = json.loads(shown.stdout)[0]["run_id"]
        reports = subprocess.run(
            [*flytewheel, "runs", "show", run_id, "--json"], env=environ, check=True, capture_output=True
        )
        return str(json.loads(reports.stdout)["gate"]["decision"])
    finally:
        subprocess.run([*flytewheel, "down"], env=environ, check=True)


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
