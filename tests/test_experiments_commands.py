"""`flytewheel experiments list|show|watch` over a real PostgreSQL; watching is a process of its own, on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flytewheel.cli import main
from flytewheel.experiment.experiments import Experiment, stop_experiment
from flytewheel.recipe import AbTestingSpec, Guardrail
from tests.conftest import TestServices
from tests.experiment.canary import open_canary
from tests.experiment.reading.days import Day, live, open_days

ROOT = Path(__file__).resolve().parents[1]
RULES = AbTestingSpec(
    guardrails=[Guardrail(metric="thumbs_up_rate", relative_margin=0.3)], rollout_stages=(0.25, 0.5, 1.0)
)


@pytest.fixture
def environ(database_url: str, services: TestServices, tmp_path: Path) -> dict[str, str]:
    return {
        "FLYTEWHEEL_HOME": str(tmp_path),
        "FLYTEWHEEL_DATABASE_URL": database_url,
        "FLYTEWHEEL_S3_URL": services.s3_url,
        "FLYTEWHEEL_S3_ACCESS_KEY": services.s3_access_key,
        "FLYTEWHEEL_S3_SECRET_KEY": services.s3_secret_key,
        "FLYTEWHEEL_S3_BUCKET": "experiments",
    }


def call(environ: dict[str, str], *arguments: str) -> Result:
    return CliRunner(env=environ).invoke(main, ["experiments", *arguments])


def harmed(database_url: str) -> Experiment:
    experiment = open_days(database_url, share=0.25, rules=RULES)
    live(database_url, experiment, [Day(120, (0.7, 0.7)), Day(600, (0.8, 0.4))], rules=RULES)
    return experiment


def test_list_and_show_in_text_and_json(environ: dict[str, str], database_url: str) -> None:
    experiment = harmed(database_url)
    other = open_canary(database_url, name="other", key="run-2")
    listed = call(environ, "list").stdout.splitlines()
    assert listed[0].split()[:2] == ["experiment", "model"]
    assert listed[2].endswith("taken back")
    assert [one["verdict"] for one in json.loads(call(environ, "list", "--json").stdout)] == [
        "not looked at yet",
        "taken back",
    ]
    assert [one["name"] for one in json.loads(call(environ, "list", "--running", "--json").stdout)] == ["other"]
    shown = call(environ, "show", experiment.experiment_id)
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "% lower than v1's" in shown.stdout
    assert "✖ harm" in shown.stdout
    assert "split: as it should be" in shown.stdout
    told = json.loads(call(environ, "show", "demo", "--json").stdout)
    assert told["verdict"] == "roll_back"
    assert told["sentence"] in shown.stdout
    assert [look["decision"] for look in told["looks"]] == ["hold", "roll_back"]
    assert told["looks"][1]["findings"][0]["outcome"] == "harm"
    assert "nobody has looked yet" in call(environ, "show", other.experiment_id).stdout
    wrong = call(environ, "show", "nothing")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error: no experiment 'nothing'")
    assert wrong.stderr.count("\n") == 1


class Terminal:
    """`flytewheel experiments …` on a terminal of its own."""

    def __init__(self, environ: dict[str, str], *arguments: str) -> None:
        self.main, child = pty.openpty()
        plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR",)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flytewheel.cli", "experiments", *arguments],
            cwd=ROOT,
            env={**plain, **environ, "TERM": "xterm"},
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.main], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.main, 65536).decode(errors="replace")
                except OSError:  # the other side was closed
                    assert text in self.seen, self.seen

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=60)
        os.close(self.main)


def test_watch_redraws_until_there_is_a_verdict(environ: dict[str, str], database_url: str) -> None:
    experiment = open_canary(database_url)
    terminal = Terminal(environ, "watch", "demo", "--every", "0.2")
    try:
        terminal.wait_for("nobody has looked yet")
        stop_experiment(database_url, experiment.experiment_id, reason="enough seen", actor="ada")
        terminal.wait_for("ended without a verdict: enough seen.")
        assert terminal.process.wait(timeout=60) == 0
        assert "\x1b[2J" in terminal.seen  # redrawn, not written below
        assert "\x1b[1m" in terminal.seen
    finally:
        terminal.close()


def test_ctrl_c_leaves_a_watch_cleanly(environ: dict[str, str], database_url: str) -> None:
    open_canary(database_url)
    terminal = Terminal(environ, "watch", "demo", "--every", "30")
    try:
        terminal.wait_for("nobody has looked yet")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(timeout=60) == 130
        assert "Traceback" not in terminal.seen
    finally:
        terminal.close()


def test_watch_for_programs_is_a_line_a_change(environ: dict[str, str], database_url: str) -> None:
    harmed(database_url)
    lines = call(environ, "watch", "demo", "--json").stdout.splitlines()
    told: dict[str, Any] = json.loads(lines[0])
    assert (len(lines), told["verdict"], told["experiment"]["state"]) == (1, "roll_back", "stopped")
