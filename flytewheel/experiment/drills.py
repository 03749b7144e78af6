"""Keeps how the way back was exercised (router/keeper/drilling.py): evidence that a canary needs before it grows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flytewheel.database import Connection, connect


def store_drill(database_url: str, experiment_id: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Stores a drill; `report` has `faults` and, where the way back was gone, `seconds`. Returns it as stored."""
    passed = not report["faults"] and "seconds" in report
    told = {**report, "passed": passed}
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO rollout_drills (experiment_id, seconds, passed, report) VALUES (%s, %s, %s, %s)",
            (experiment_id, report.get("seconds", -1.0), passed, json.dumps(told)),
        )
    return told


def read_drill(connection: Connection, experiment_id: str) -> dict[str, Any] | None:
    """The newest drill of an experiment, as evidence keeps it; None where its way back was never exercised."""
    row = connection.execute(
        "SELECT entry, seconds, passed, report -> 'faults' FROM rollout_drills WHERE experiment_id = %s"
        " ORDER BY entry DESC LIMIT 1",
        (experiment_id,),
    ).fetchone()
    return None if row is None else {"entry": row[0], "seconds": row[1], "passed": row[2], "faults": row[3]}


def describe_drill(drill: Mapping[str, Any]) -> str:
    """A drill as a line."""
    if drill["passed"]:
        return f"exercised in {drill['seconds']:.2f} s"
    return "failed: " + ("; ".join(drill["faults"]) or "it was not gone to its end")
