"""The demo after installation: at most 5 minutes on two cores and 3 GB of memory; and the command line answers at once.

Memory is the sum over all processes of the demo (proportional set size where the system tells it, so that shared
pages count once), sampled twice a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks import Goal, report

ROOT = Path(__file__).resolve().parent.parent


def measure(quick: bool) -> list[Goal]:
    """Runs `flytewheel demo` once (`--quick`: with fewer simulated requests), and `--help` five times."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        environ = {**os.environ, "FLYTEWHEEL_HOME": str(Path(folder) / "home")}
        started = time.monotonic()
        command = [sys.executable, "-m", "flytewheel.cli", "demo", "--requests", "60" if quick else "240"]
        child = subprocess.Popen(command, cwd=ROOT, env=environ)
        peak = 0.0
        while child.poll() is None:
            peak = max(peak, measure_memory(Path(folder)))
            time.sleep(0.5)
        seconds = time.monotonic() - started
    help_s = min(_time_help() for _ in range(5))
    return [
        Goal("demo's exit code", float(child.returncode), 0),
        Goal("demo, seconds", seconds, 300),
        Goal("demo, peak memory of all its processes in GB", peak / 1e9, 3),
        Goal("flytewheel --help, seconds", help_s, 0.5),
    ]


def measure_memory(home: Path) -> float:
    """Bytes held by this process's children and by the services whose state lies under `home`."""
    total = 0.0
    for process in psutil.process_iter():
        try:
            mine = process.pid != os.getpid() and (
                psutil.Process() in process.parents() or str(home) in process.environ().get("FLYTEWHEEL_HOME", "")
            )
            if mine or str(home) in " ".join(process.cmdline()):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return total


def _time_help() -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "flytewheel.cli", "--help"], check=True, capture_output=True, cwd=ROOT)
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
