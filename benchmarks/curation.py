"""Curation at a million rows on two cores, and its cost against the obvious way and against plain Polars.

`python -m benchmarks.curation [--rows 1000000] [--quick] [--json FILE] [--keep FOLDER]`

First the real path (`flytewheel.curation.build`) over a generated window, in a fresh process on two cores, and over a
tenth of it: wall, CPU (all its processes), memory (proportional set size summed over them). Then a smaller window by
three ways in one process and thread each: ours, `curation_naive` and `curation_plain`. All three do the steps printed.
CPU is that of the whole child; "idle" is a child that imports the same modules and ends, and the ratios are of what is
left. Workers' own imports stay on our bill.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import Goal, report
from benchmarks.curation_data import write_window
from benchmarks.curation_rules import STEPS

ROOT = Path(__file__).resolve().parent.parent
ROWS, QUICK_ROWS = 1_000_000, 100_000
COMPARED, QUICK_COMPARED = 20_000, 10_000
LEAST_ROWS = 10_000  # a tenth of them is the recipe's smallest window
CORES = 2
SAMPLE_S = 0.2
SECONDS_A_ROW = 300e-6
STARTING_S = 5.0  # of three processes and what they import, whatever the rows: beside a million it does not count
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One measured child. `cpu_s` is the whole child's with its own children, `idle_s` that of importing only."""

    rows: int
    wall_s: float
    cpu_s: float
    idle_s: float
    peak_bytes: float
    steps: dict[str, float]
    counts: dict[str, int]

    @property
    def net_us(self) -> float:
        """CPU beyond the imports, in µs a row."""
        return (self.cpu_s - self.idle_s) / self.rows * 1e6

    def describe(self, name: str) -> str:
        """One line of the table."""
        spent = f"CPU {self.cpu_s:8.2f} s (idle {self.idle_s:5.2f} s, {self.net_us:8.1f} µs a row beyond it)"
        memory = f"peak {self.peak_bytes / 2**30:5.2f} GiB"
        return f"{name:>6} {self.rows:>9,} rows: wall {self.wall_s:8.1f} s, {spent}, {memory}"


def measure(quick: bool, rows: int | None = None, keep: Path | None = None) -> list[Goal]:
    """Both measurements; `--quick`: 100,000 rows, and 10,000 for the comparison."""
    rows = rows or (QUICK_ROWS if quick else ROWS)
    if rows < LEAST_ROWS:
        sys.exit(f"--rows {rows}: a tenth of them must make a window, so take {LEAST_ROWS} or more")
    with tempfile.TemporaryDirectory(prefix="flytewheel-bench-", ignore_cleanup_errors=True) as scratch:
        folder = keep or Path(scratch)
        return [*measure_scale(folder, rows), *compare(folder, QUICK_COMPARED if quick else COMPARED)]


def measure_scale(folder: Path, rows: int) -> list[Goal]:
    """The real path at `rows` and at a tenth of them."""
    runs = []
    for size in (rows // 10, rows):
        window = _generate(folder, size)
        runs.append(run_child("ours", window, folder / f"ours-{size}", workers=CORES))
        print(runs[-1].describe("ours"))
    _print_stages(runs)
    small, large = runs
    bound = 300.0 if rows == ROWS else rows * SECONDS_A_ROW + STARTING_S
    return [
        Goal(f"{rows:,} rows on {CORES} cores, seconds", large.wall_s, bound),
        Goal(f"{rows:,} rows, peak memory of all processes in GiB", large.peak_bytes / 2**30, 8),
        Goal(f"CPU a row at {rows:,} rows over that at {rows // 10:,}", large.net_us / small.net_us, 1.3),
    ]


def compare(folder: Path, rows: int) -> list[Goal]:
    """Ours, the obvious way and plain Polars on the same window, one thread each; the median of three, of the slow
    obvious way one.
    """
    window = _generate(folder, rows)
    tries: dict[str, list[Run]] = {"ours": [], "plain": [], "naive": []}
    for name in ("ours", "plain", "naive", "plain", "ours", "ours", "plain"):  # in turn: the machine's load changes
        tries[name].append(run_child(name, window, folder / f"{name}-{rows}"))
    runs = {name: sorted(each, key=lambda run: run.net_us)[len(each) // 2] for name, each in tries.items()}
    for name, run in runs.items():
        print(run.describe(name))
    print(f"\n{'CPU, µs a row':<36}{'naive':>10}{'plain':>10}")
    for step in STEPS:
        naive, plain = (runs[name].steps.get(step, 0.0) / rows * 1e6 for name in ("naive", "plain"))
        print(f"{step:<36}{naive:>10.1f}{plain:>10.1f}")
    _print_stages([runs["ours"]])
    kinds = sorted(set().union(*(run.counts for run in runs.values())))
    print("\nrows written" + " " * 24 + "".join(f"{name:>10}" for name in runs))
    for kind in kinds:
        print(f"{kind:<36}" + "".join(f"{run.counts.get(kind, 0):>10}" for run in runs.values()))
    print()
    ours = runs["ours"].net_us
    return [
        Goal(f"times less CPU than the obvious way, {rows:,} rows", runs["naive"].net_us / ours, 30, at_most=False),
        Goal(f"times less CPU than plain Polars, {rows:,} rows", runs["plain"].net_us / ours, 1.5, at_most=False),
    ]


def run_child(name: str, window: Path, out: Path, *, workers: int = 0) -> Run:
    """Runs one child and an idle one with its modules.

    Args:
        name: of what to run, see `curation_child`.
        window: the folder to curate.
        out: where to; replaced.
        workers: processes, on as many cores; 0: one process that has one thread.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    result = out / "measured.json"
    target = out / "data"
    if name != "ours":
        target.mkdir()
    threads = {} if workers else {"POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    environ = {**os.environ, **_QUIET, **threads}
    rows = int(json.loads((window / "window.json").read_text(encoding="utf-8"))["interactions"])
    arguments = [str(window), str(target), str(result), "--workers", str(max(1, workers))]
    wall_s, cpu_s, peak = _run([name, *arguments], environ, max(1, workers))
    noted = json.loads(result.read_text(encoding="utf-8"))
    _, idle_s, _ = _run(["idle", *arguments], environ, 1)
    return Run(rows, wall_s, cpu_s, idle_s, peak, noted["steps"], noted["counts"])


def _generate(folder: Path, rows: int) -> Path:
    window = folder / f"window-{rows}"
    began = time.monotonic()
    made = write_window(window, rows)
    planted = sum(count for name, count in made.plants.items() if not name.startswith("event "))
    print(
        f"window of {rows:,} interactions, {made.events:,} events, {made.bytes / 1e9:.2f} GB, {planted:,} plants, in "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )
    return window


def _run(arguments: list[str], environ: dict[str, str], cores: int) -> tuple[float, float, float]:
    """Wall and CPU seconds, peak memory in bytes."""
    command = [sys.executable, "-m", "benchmarks.curation_child", *arguments]
    began = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, env=environ, preexec_fn=lambda: _take_cores(cores))
    peak = 0.0
    while True:
        done, status, used = os.wait4(child.pid, os.WNOHANG)
        if done:
            break
        looked = time.monotonic()
        peak = max(peak, measure_tree(child.pid))
        # Counting the pages of a large process takes a while and holds it up: a twentieth of the time at most.
        time.sleep(max(SAMPLE_S, 20 * (time.monotonic() - looked)))
    wall_s = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return wall_s, used.ru_utime + used.ru_stime, peak


def _take_cores(count: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def measure_tree(pid: int) -> float:
    """Bytes held by a process and its descendants: proportional set size, else resident."""
    total = 0.0
    try:
        tree = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    for each in tree:
        try:
            total += _measure_memory(each)
        except (OSError, psutil.NoSuchProcess):
            continue  # it ended while we looked
    return total


def _measure_memory(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as stream:
            return sum(float(line.split()[1]) * 1024 for line in stream if line.startswith("Pss:"))
    except OSError:
        return float(psutil.Process(pid).memory_info().rss)


def _print_stages(runs: list[Run]) -> None:
    stages = list(dict.fromkeys(stage for run in runs for stage in run.steps))
    print(f"\n{'ours, CPU by stage, µs a row':<46}" + "".join(f"{run.rows:>12,}" for run in runs))
    for stage in stages:
        print(f"{stage:<46}" + "".join(f"{run.steps.get(stage, 0.0) / run.rows * 1e6:>12.1f}" for run in runs))


if __name__ == "__main__":
    sys.exit(
        report(
            measure,
            __doc__.splitlines()[0],
            {
                "rows": {"type": int, "help": f"interactions of the large window ({ROWS:,})"},
                "keep": {"type": Path, "help": "keep windows and data sets in this folder"},
            },
        )
    )
