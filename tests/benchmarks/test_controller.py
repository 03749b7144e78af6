"""The rollout's state machine at a small scale: what `benchmarks.controller` does by the ten thousand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import Goal, controller_faults
from benchmarks.controller import try_sequences
from benchmarks.controller_model import Controller
from benchmarks.controller_place import keeping_connections
from tests.services import TestServices

ROOT = Path(__file__).resolve().parents[2]
KILLS = """
import sys
from benchmarks import controller_faults
from benchmarks.controller_place import keeping_connections
from tests.services import TestServices
with keeping_connections():
    goals = controller_faults.try_kills(TestServices(*sys.argv[1:]), 1)
sys.exit("; ".join(str(goal) for goal in goals if not goal.holds) or 0)
"""


@pytest.fixture
def place(services: TestServices, database_url: str) -> Iterator[TestServices]:
    """Services with a database of the test's own, whose connections are kept."""
    with keeping_connections():
        yield replace(services, database_url=database_url)


def check(goals: Sequence[Goal]) -> None:
    assert [goal for goal in goals if not goal.holds] == []


def test_random_sequences_agree_with_the_model(place: TestServices) -> None:
    check(try_sequences(place, 25))
    reached = Controller.counts
    assert {"advance", "promote", "promoted", "abort", "hold"} <= reached.keys()


def test_whoever_comes_after_a_killed_controller_goes_on(services: TestServices, database_url: str) -> None:
    """In a process of its own: it forks controllers, and has no thread."""
    given = (database_url, services.s3_url, services.s3_access_key, services.s3_secret_key)
    done = subprocess.run([sys.executable, "-c", KILLS, *given], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("what", "count"), [("races", 6), ("clocks", 2), ("cuts", 4), ("tasks", 2)])
def test_faults_leave_one_outcome(place: TestServices, what: str, count: int) -> None:
    check(getattr(controller_faults, f"try_{what}")(place, count))
