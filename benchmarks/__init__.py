"""What is claimed about speed, memory and verdicts, measured: `python -m benchmarks.NAME [--quick] [--json FILE]`.

Each prints what it measured beside its goal, held or short, and exits 1 when one falls short.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and the bound that it should keep."""

    name: str
    figure: float
    bound: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound


def describe_machine() -> str:
    """Cores, memory and system on which figures were measured."""
    memory_gib = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {system}, load {os.getloadavg()[0]:.1f}"


def report(
    measure: Callable[..., Sequence[Goal]], description: str, more: Mapping[str, Mapping[str, Any]] | None = None
) -> int:
    """Parses the options, measures, prints the goals, and returns the exit code.

    Args:
        measure: called with `--quick`, and by keyword with the values of `more`.
        description: of the command.
        more: further options, each with what `add_argument` takes.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smaller version of the same measurement")
    parser.add_argument("--json", type=Path, help="write the goals to this file, too")
    for name, settings in (more or {}).items():
        parser.add_argument(f"--{name}", **settings)
    options = parser.parse_args()
    machine = describe_machine()
    goals = measure(options.quick, **{name: getattr(options, name) for name in more or {}})
    for goal in goals:
        sign = "≤" if goal.at_most else "≥"
        print(f"{'held ' if goal.holds else 'SHORT'}  {goal.name}: {goal.figure:.4g} ({sign} {goal.bound:.4g})")
    print(machine)
    if options.json:
        rows = [{**asdict(goal), "holds": goal.holds} for goal in goals]
        options.json.write_text(json.dumps({"goals": rows, "machine": machine}, indent=1), encoding="utf-8")
    return 0 if all(goal.holds for goal in goals) else 1
