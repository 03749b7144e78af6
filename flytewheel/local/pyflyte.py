"""Calls `pyflyte run` for the weekly workflow with a prepared environment; nothing of the loop itself is here.

What the libraries write to standard error goes to a log, so that the terminal shows the stations, their progress and
the table; a failure is told in one line that names the log.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from flytewheel.local.services import Services
from flytewheel.recipe import Recipe

FAILED = "✗ "  # begins the one line of standard error that is for a person
_LOCK = ".lock"
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt)): (.*)$")


def run_weekly(
    recipe: Path, services: Services, *, instead: Recipe | None = None, fresh: bool = False, debug: bool = False
) -> int:
    """Runs one turn in a child process.

    Args:
        recipe: the recipe's file.
        services: where everything is; handed to the child by environment.
        instead: a recipe to run in the place of what the file says.
        fresh: let trainings begin anew.
        debug: show standard error instead of keeping it in a log.

    Returns:
        The exit code of pyflyte.
    """
    log = services.home / "logs" / f"run-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open_scratch(services.home / "tmp") as (scratch, lock), log.open("wb") as errors:
        if instead is not None:
            recipe = scratch / "recipe.json"
            recipe.write_text(instead.model_dump_json(), encoding="utf-8")
        done = subprocess.run(
            [find_pyflyte(), "run", str(find_workflow()), "weekly", "--recipe", str(recipe)],
            env=prepare_environment(services, scratch, fresh=fresh),
            stderr=None if debug else errors,
            pass_fds=(lock,),
            check=False,
        )
    if done.returncode and not debug:
        print(f"error: {find_cause(log.read_text(errors='replace'))} (trace: {log})", file=sys.stderr)
    return done.returncode


@contextmanager
def open_scratch(root: Path) -> Iterator[tuple[Path, int]]:
    """A folder for one turn, deleted at its end; those of killed turns, a whole model each, are deleted at the start.

    Yields:
        The folder, and a locked descriptor: the folder is in use as long as any process holds that open, so a child
        that outlives us should inherit it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / _LOCK):  # nobody looks for leftovers between a folder's making and its lock
        for old in filter(Path.is_dir, root.iterdir()):
            if (held := _lock_folder(old)) is not None:
                shutil.rmtree(old, ignore_errors=True)
                os.close(held)
        scratch = Path(tempfile.mkdtemp(dir=root))
        lock = _lock_folder(scratch)
    assert lock is not None, "a new folder is nobody else's"
    try:
        yield scratch, lock
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(lock)


def _lock_folder(folder: Path) -> int | None:
    """Locks a folder as long as the descriptor is open; `None` when somebody else does."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def prepare_environment(services: Services, scratch: Path, *, fresh: bool = False) -> dict[str, str]:
    """The environment of a turn: services, quiet libraries, threads for the cores, a scratch folder of its own."""
    defaults = {
        "OMP_NUM_THREADS": str(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        ),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "FLYTE_LOCAL_CACHE_ENABLED": "false",
        "FLYTE_SDK_RICH_TRACEBACKS": "false",
        "WANDB_SILENT": "true",
        "PYTHONWARNINGS": "ignore",
        "COLUMNS": str(shutil.get_terminal_size((120, 40)).columns),
    }
    asked = {"FLYTEWHEEL_FRESH": "1"} if fresh else {}
    return {**defaults, **os.environ, **services.environ(), **asked, "TMPDIR": str(scratch)}


def find_cause(trace: str) -> str:
    """The line of a trace that says what went wrong: ours, else the last error's message without Flyte's frame.

    A trace of Flyte's is wrapped to the terminal's width, so a message taken from it may end early.
    """
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith(FAILED):
            return line.removeprefix(FAILED)
    for index in range(len(lines) - 1, -1, -1):
        if found := _RAISED.match(lines[index]):
            message = found.group(2)
            if message.startswith("Error encountered while executing") and index + 1 < len(lines):
                return lines[index + 1]
            return message
    return lines[-1] if lines else "pyflyte ended without a message"


def find_pyflyte() -> str:
    """The `pyflyte` of this environment."""
    beside = Path(sys.executable).with_name("pyflyte")
    return str(beside) if beside.exists() else "pyflyte"


def find_workflow() -> Path:
    """The file of the weekly workflow, found without importing it."""
    spec = find_spec("workflows")
    assert spec is not None, "the package `workflows` is installed with flytewheel"
    assert spec.submodule_search_locations is not None, "`workflows` is a package"
    return Path(next(iter(spec.submodule_search_locations))) / "weekly.py"
