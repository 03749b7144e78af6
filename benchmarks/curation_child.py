"""One measured process of `benchmarks.curation`: `python -m benchmarks.curation_child NAME WINDOW OUT RESULT [...]`.

NAME is `ours`, `naive` or `plain`; `idle` imports what RESULT says that another child had imported, and ends.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

from benchmarks.curation_rules import Clock, measure_cpu


def main() -> None:
    """Does what its arguments say, and notes steps, rows and modules in RESULT."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("ours", "naive", "plain", "idle"))
    parser.add_argument("window", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.name == "idle":
        import_again(json.loads(options.result.read_text(encoding="utf-8"))["modules"])
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    began = time.monotonic()
    if options.name == "ours":
        steps, counts = curate(options.window, options.out, options.workers)
    else:
        clock = Clock()
        if options.name == "naive":
            from benchmarks.curation_naive import curate_naively as run
        else:
            from benchmarks.curation_plain import curate_plainly as run
        counts, steps = run(options.window, options.out, clock), dict(clock.spent)
    noted = {
        "wall_s": time.monotonic() - began,
        "steps": steps,
        "counts": counts,
        "modules": sorted(name for name, module in sys.modules.items() if getattr(module, "__file__", None)),
    }
    options.result.write_text(json.dumps(noted), encoding="utf-8")


def import_again(modules: list[str]) -> None:
    """Imports `modules`; what cannot be imported by its name alone is left out, which makes the child cheaper."""
    warnings.simplefilter("ignore")
    for name in modules:
        if name.startswith("__") or name == "benchmarks.curation_child":
            continue
        try:
            importlib.import_module(name)
        except Exception:
            continue


def curate(window: Path, out: Path, workers: int) -> tuple[dict[str, float], dict[str, int]]:
    """Curates by the product's real path: CPU seconds of every stage (children included), rows of every kind."""
    from flytewheel.curation.build import build_dataset
    from flytewheel.curation.prepare import Rules
    from flytewheel.feedback.rewards import score
    from flytewheel.recipe import BaseModelSpec, FeedbackSpec, RlhfSpec
    from flytewheel.recipe.curation import CurationSpec
    from flytewheel.tokens import TokenCounter

    rows = int(json.loads((window / "window.json").read_text(encoding="utf-8"))["interactions"])
    base = BaseModelSpec(model="pocket")
    curation = CurationSpec(max_interactions=max(1000, rows))
    steps: defaultdict[str, float] = defaultdict(float)
    stage, before = "imports", 0.0

    def note(what: str, done: int, total: int | None) -> None:
        nonlocal stage, before
        now = measure_cpu()
        steps[stage] += now - before
        stage, before = what, now

    card = build_dataset(
        window,
        out,
        rules=Rules(FeedbackSpec(), curation, base, TokenCounter(base), score),
        rlhf=RlhfSpec(),
        seed=7,
        workers=workers,
        progress=note,
    )
    note("", 0, None)
    counts = {f"{kind}/{part}": count for kind, parts in card.counts.items() for part, count in parts.items()}
    return dict(steps), counts


if __name__ == "__main__":
    main()
