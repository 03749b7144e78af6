"""Runs turns of the loop as a person does, in a child process, and looks at what they left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from flytewheel import runs
from flytewheel.database import connect
from flytewheel.local.processes import wait_until
from flytewheel.local.pyflyte import find_pyflyte
from flytewheel.local.services import Services, find_services
from flytewheel.recipe import GateSpec
from flytewheel.settings import Settings
from flytewheel.signed_registry import open_registry
from registry.versions import Registry

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "oncall"
NO_RULES = dict.fromkeys(GateSpec.model_fields)  # a gate that asks for nothing
DEADLINE_S = 240.0


@dataclass(frozen=True)
class Ended:
    """A turn that came to its end: exit code, and all that it printed."""

    code: int
    out: str
    errors: str


@dataclass(frozen=True)
class Place:
    """A home of its own with its stack, and a folder to start from."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def services(self) -> Services:
        return find_services(Settings(home=self.home))

    @property
    def database_url(self) -> str:
        return self.services.database_url

    def registry(self) -> Registry:
        return open_registry(self.services)

    def environ(self, through: str | None = None) -> dict[str, str]:
        """The embedded stack of this home; with `through` all services are configured, the store behind that URL."""
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        given = replace(self.services, s3_url=through).environ() if through else {"FLYTEWHEEL_HOME": str(self.home)}
        return {**os.environ, **given, "TMPDIR": str(scratch), "WANDB_SILENT": "true"}

    def recipe(self, name: str, **sections: Mapping[str, Any]) -> Path:
        """The demo's recipe with few steps, few examples and an easy gate, changed by `sections`."""
        tree = yaml.safe_load((REPOSITORY / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
        small: dict[str, dict[str, Any]] = {
            "curation": {"augmentation_factor": 1.0},
            "training": {"max_steps": 20, "checkpoint_every": 3},
            "reward": {"enable": "auto"},  # nothing needs one here
            "rlhf": {"max_steps": 4, "batch_size": 4, "checkpoint_every": 4},
            "evaluation": {"max_examples": 10, "max_new_tokens": 48, "bootstrap_samples": 200},
            "gate": {**NO_RULES, "preference_accuracy": {"improve": True}},
            "export": {"quantizations": ["Q8_0"], "parity_prompts": 5, "parity_tokens": 16},
        }
        for changes in (small, sections):
            for section, fields in changes.items():
                tree[section] = {**tree.get(section, {}), **fields}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return path

    @contextmanager
    def child(self, command: Sequence[str | Path], environ: Mapping[str, str], cwd: Path = REPOSITORY) -> Any:
        """Starts a command as a process group of its own that does not outlive the block."""
        with tempfile.TemporaryFile(dir=self.folder) as out, tempfile.TemporaryFile(dir=self.folder) as errors:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
            try:
                yield process, lambda: (_text(out), _text(errors))
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def run(self, command: Sequence[str | Path], environ: Mapping[str, str], cwd: Path = REPOSITORY) -> Ended:
        """Runs a command to its end."""
        with self.child(command, environ, cwd) as (process, said):
            process.wait(DEADLINE_S)
            return Ended(process.returncode, *said())

    def run_until(self, command: Sequence[str | Path], environ: Mapping[str, str], reached: Any) -> str:
        """Runs a command until `reached()`, then kills its whole process group; returns what it had printed."""
        with self.child(command, environ) as (process, said):
            wait_until(lambda: reached() or process.poll() is not None, deadline_s=DEADLINE_S)
            assert reached(), f"ended before it could be killed, or too slow: {said()}"
            assert process.poll() is None, f"came to its end before it could be killed: {said()}"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
            return str(said()[0])

    def runs(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Run id, status and window of every run, the oldest first."""
        with connect(self.database_url) as connection:
            return connection.execute('SELECT run_id, status, "window" FROM runs ORDER BY started_at').fetchall()  # type: ignore[return-value]

    def stations(self, run_id: str) -> dict[str, str]:
        """Status of every station that a run began."""
        reports = runs.read_reports(self.database_url, run_id)
        return {name: report["status"] for name, report in reports.items()}


def pyflyte(recipe: Path) -> list[str | Path]:
    """The main job by its own name."""
    return [find_pyflyte(), "run", "workflows/weekly.py", "weekly", "--recipe", recipe]


def read_tracked(folder: Path) -> list[dict[str, Any]]:
    """What wandb's own reader finds in the offline runs under `folder`: the description of each."""
    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        found += [record["run"] for record in map(json.loads, lines) if record["type"] == "run"][:1]
    return found


def _text(stream: Any) -> str:
    stream.seek(0)
    return str(stream.read().decode("utf-8", errors="replace"))
