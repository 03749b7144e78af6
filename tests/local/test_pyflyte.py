"""How `flytewheel run` calls pyflyte, and what it makes of a trace; real calls are in tests/workflows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flytewheel.local.pyflyte import find_cause, find_pyflyte, find_workflow, open_scratch, prepare_environment
from flytewheel.settings import read_settings
from tests.local.test_services import SERVICES

FLYTES_OWN = """
╭──────────────────── Traceback (most recent call last) ────────────────────╮
│ flytewheel/models.py:101 in load_tokenizer                                 │
│ ❱ 101 │   tokenizer: Any = _load(spec, AutoTokenizer.from_pretrained)      │
╰────────────────────────────────────────────────────────────────────────────╯
BaseModelError: Error encountered while executing 'tasks.open_turn.open_turn':
  base.model './none': no such folder
"""


@pytest.mark.parametrize(
    ("trace", "cause"),
    [
        ("✗ run r: station align failed: no pairs\n" + FLYTES_OWN, "run r: station align failed: no pairs"),
        ("Loading weights: 100%\n✗ station open_turn failed: x\n", "station open_turn failed: x"),
        (FLYTES_OWN, "base.model './none': no such folder"),
        (
            "Traceback (most recent call last):\n  File x\nflytewheel.errors.StoreError: store is away\n",
            "store is away",
        ),
        ("ValueError: first\nKeyError: 'last'\n\n", "'last'"),
        ("Killed\n", "Killed"),
        ("", "pyflyte ended without a message"),
    ],
)
def test_the_cause_is_one_line_of_the_trace(trace: str, cause: str) -> None:
    assert find_cause(trace) == cause


def test_a_turn_gets_the_services_quiet_libraries_and_a_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "false")  # what a person has set stays
    monkeypatch.setenv("TMPDIR", "elsewhere")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environ = prepare_environment(SERVICES, tmp_path)
    assert read_settings(environ).home == SERVICES.home
    assert environ["FLYTEWHEEL_DATABASE_URL"] == SERVICES.database_url
    assert environ["FLYTE_LOCAL_CACHE_ENABLED"] == "false"
    assert environ["WANDB_SILENT"] == "false"
    assert environ["TMPDIR"] == str(tmp_path)
    assert int(environ["OMP_NUM_THREADS"]) >= 1
    assert environ["PATH"]


def test_workflow_and_program_are_found_without_importing_them() -> None:
    assert find_workflow().parts[-2:] == ("workflows", "weekly.py")
    assert find_workflow().is_file()
    assert Path(find_pyflyte()).name == "pyflyte"


def test_what_a_killed_turn_left_is_deleted_and_what_is_in_use_stays(tmp_path: Path) -> None:
    """The turn is killed while its child, which holds the folder by the inherited lock, goes on."""
    root = tmp_path / "tmp"
    turn = (
        "import subprocess, sys, os, pathlib\n"
        "from flytewheel.local.pyflyte import open_scratch\n"
        "with open_scratch(pathlib.Path(sys.argv[1])) as (scratch, lock):\n"
        "    (scratch / 'weights').write_text('x')\n"
        "    subprocess.Popen(['cat'], stdout=-3, stderr=-3, pass_fds=(lock,))\n"
        "    print(scratch, flush=True)\n"
        "    os._exit(9)\n"
    )
    child_input, ours = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", turn, str(root)], stdin=child_input, capture_output=True, text=True, check=False
    )
    os.close(child_input)
    left = Path(done.stdout.strip())
    assert (left / "weights").is_file()
    with open_scratch(root) as (other, _):
        assert (left / "weights").is_file()
    assert not other.exists()
    os.close(ours)  # the child comes to its end
    deadline = time.monotonic() + 10
    while left.exists():
        with open_scratch(root):
            assert time.monotonic() < deadline


def test_a_fresh_start_reaches_the_tasks_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYTEWHEEL_FRESH", raising=False)
    assert not read_settings(prepare_environment(SERVICES, tmp_path)).fresh
    assert read_settings(prepare_environment(SERVICES, tmp_path, fresh=True)).fresh
