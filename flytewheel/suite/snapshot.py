"""The suite as a turn of the loop meets it: a file beside its window, so that a data set can be curated again from it.

`suite.json` holds the cases, and the ids of those that are retired: nothing may bring them back. A window without the
file brings no suite.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flytewheel.errors import SuiteError
from flytewheel.records import RegressionCase, canonical_json
from flytewheel.suite.cases import load_case

SNAPSHOT = "suite.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Cases in the order of their ids, and ids that are retired or held back."""

    cases: tuple[RegressionCase, ...] = ()
    retired: frozenset[str] = frozenset()


def write_snapshot(folder: Path, cases: Iterable[RegressionCase], retired: Iterable[str]) -> None:
    """Writes the file into `folder`: the same suite, the same bytes."""
    ordered = sorted(cases, key=lambda case: case.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SNAPSHOT).write_bytes(canonical_json({"cases": ordered, "retired": sorted(retired)}) + b"\n")


def read_snapshot(folder: Path) -> Snapshot:
    """Reads the file of `folder`; nothing where there is none.

    Raises:
        SuiteError: it is not one.
    """
    path = folder / SNAPSHOT
    if not path.is_file():
        return Snapshot()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Snapshot(tuple(map(load_case, found["cases"])), frozenset(found["retired"]))
    except (OSError, ValueError, KeyError, TypeError, SuiteError) as error:
        raise SuiteError(f"{path}: not a suite ({' '.join(str(error).split())}); write the window again") from None
