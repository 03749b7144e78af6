"""The demo's data set, curated from the bundled feedback as `recipes/demo.yaml` says, for measuring training on it.

    python -m benchmarks.demo_data FOLDER

The logs are curated as one window, without services. What the store refuses of them (8 lines), curation drops: rows to
learn from and for validation are the same as through the store.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path

from flytewheel.curation.build import build_dataset
from flytewheel.curation.prepare import Rules
from flytewheel.feedback import rewards
from flytewheel.recipe import Recipe, load_recipe
from flytewheel.tokens import TokenCounter
from flytewheel.turn import locate_cases, locate_logs

ROOT = Path(__file__).resolve().parent.parent


def load_demo_recipe() -> Recipe:
    """The recipe of the demo."""
    return load_recipe(ROOT / "recipes" / "demo.yaml")


def build_demo_dataset(out: Path, recipe: Recipe | None = None) -> Path:
    """Curates the bundled feedback into the folder `out`, and returns `out`."""
    recipe = recipe or load_demo_recipe()
    logs = locate_logs(recipe.feedback)
    assert logs is not None
    with tempfile.TemporaryDirectory(prefix="flytewheel-bench-") as name:
        window = Path(name)
        counts = []
        for kind, log in zip(("interactions", "feedback"), logs, strict=True):
            lines = gzip.decompress(log.read_bytes())
            (window / f"{kind}.jsonl").write_bytes(lines)
            counts.append(lines.count(b"\n"))
        facts = {
            "sources": [*recipe.sources], "high_xid": "9", "low_xid": "0", "series": recipe.name, "number": 1,
            "interactions": counts[0], "events": counts[1],
        }  # fmt: skip
        (window / "window.json").write_text(json.dumps(facts), encoding="utf-8")
        rules = Rules(
            recipe.feedback, locate_cases(recipe.curation), recipe.base, TokenCounter(recipe.base), rewards.score
        )
        build_dataset(window, out, rules=rules, rlhf=recipe.rlhf, seed=recipe.seed)
    return out


def main() -> None:
    """Writes the data set and says what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = build_demo_dataset(parser.parse_args().folder)
    print((folder / "README.md").read_text(encoding="utf-8")[:3000] if (folder / "README.md").is_file() else folder)


if __name__ == "__main__":
    main()
