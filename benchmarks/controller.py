"""The rollout's state machine, tried as hard as it will ever be: random sequences against a model, kills, races, wrong
clocks, cuts, everything twice. Goals: nothing is promoted twice, nobody is served what was not verified, whoever aborts
wins, and the way back takes no longer than 10 s.

    python -m benchmarks.controller [--quick] [--only PART]

Real PostgreSQL and a real S3 server throughout (the random sequences keep the alias in a dict: 90,000 steps); what a
look finds is scripted, since the statistics are proved elsewhere (benchmarks.calibration). Controllers that are killed
are processes; the last part is a real router with two workers under traffic.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks import Goal, report
from benchmarks.controller_model import Controller
from benchmarks.controller_place import keeping_connections
from flytewheel.database import migrate
from tests.services import TestServices, run_services

SEQUENCES, STEPS = 10_000, 10


def try_sequences(services: TestServices, count: int) -> list[Goal]:
    """Random sequences against the model; a disagreement ends the benchmark with the shortest one that shows it."""
    Controller.database_url, Controller.counts = services.database_url, {}
    began = time.monotonic()
    run_state_machine_as_test(
        Controller,
        settings=settings(
            max_examples=count,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    counts = Controller.counts
    print(f"sequences: {', '.join(f'{name} {found:,}' for name, found in sorted(counts.items()))}")
    print(f"  in {time.monotonic() - began:.0f} s")
    return [
        Goal("sequences held against the model", counts["sequences"], count, at_most=False),
        Goal("double promotions in sequences", counts["double promotions"], 0),
    ]


def run_part(part: Callable[[TestServices], list[Goal]], services: TestServices, *, kept: bool) -> list[Goal]:
    """One part; where `kept`, its transactions share connections."""
    with ExitStack() as stack:
        if kept:
            stack.enter_context(keeping_connections())
        return part(services)


def measure(quick: bool, only: str | None = None) -> Sequence[Goal]:
    """Each part over services of its own kind."""
    from benchmarks import controller_faults as faults

    parts: dict[str, Callable[[TestServices], list[Goal]]] = {
        "kills": lambda services: faults.try_kills(services, 2 if quick else 100),
        "races": lambda services: faults.try_races(services, 20 if quick else 1000),
        "clocks": lambda services: faults.try_clocks(services, 6 if quick else 200),
        "cuts": lambda services: faults.try_cuts(services, 3 if quick else 100),
        "tasks": lambda services: faults.try_tasks(services, 3 if quick else 200),
        "way back": lambda services: faults.try_way_back(services, 1 if quick else 10),
        "sequences": lambda services: try_sequences(services, 50 if quick else SEQUENCES),
    }
    goals: list[Goal] = []
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flytewheel-controller-")))
        folder.chmod(0o711)
        services = cleanup.enter_context(run_services(folder))
        migrate(services.database_url)
        with psycopg.connect(services.database_url, autocommit=True) as connection:
            # No machine is lost here, only processes: their commits need not wait for the disk.
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off".encode())
        for name, part in parts.items():
            if only is None or name in only.split(","):
                goals += run_part(part, services, kept=name != "way back")
                sys.stdout.flush()
    return goals


if __name__ == "__main__":
    assert __doc__ is not None
    raise SystemExit(report(measure, __doc__.splitlines()[0], {"only": {"help": "parts, with commas between them"}}))
