"""Decides which stratum an answer belongs to: the last one that had begun when it was stored and has its propensity.

A stratum is a time under the same shares. An answer that was assigned under the shares of before and stored after they
moved still counts there, where it was drawn; one without a logged propensity goes by time alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flytewheel.database import Connection

BEFORE = -1  # the stratum of the time before the experiment
_BEGIN = """
INSERT INTO experiment_strata (experiment_id, number, stage, shares, since)
SELECT %(experiment_id)s, coalesce(max(number) + 1, 0), coalesce(%(stage)s, max(stage), 0), %(shares)s,
    CASE WHEN max(number) IS NULL THEN now() ELSE clock_timestamp() END
FROM experiment_strata WHERE experiment_id = %(experiment_id)s
"""


@dataclass(frozen=True, slots=True)
class Stratum:
    """A time under the same `shares`, by arm (None: drawn anew for every request); `since` is the database's time."""

    number: int
    stage: int
    since: datetime
    shares: Mapping[str, float | None]


def begin_stratum(
    connection: Connection, experiment_id: str, shares: Mapping[str, float | None], *, stage: int | None = None
) -> None:
    """Begins a stratum; hold the experiment's lock. `stage` None: that of the one before.

    The first begins with the transaction that opens the experiment. Later ones begin at the moment of the call: a look
    earlier in the same transaction has counted nothing of them.
    """
    given = {"experiment_id": experiment_id, "stage": stage, "shares": json.dumps(dict(shares))}
    connection.execute(_BEGIN, given)


def list_strata(connection: Connection, experiment_id: str) -> tuple[Stratum, ...]:
    """The strata of an experiment, the first one first; none of a draft."""
    rows = connection.execute(
        "SELECT number, stage, since, shares FROM experiment_strata WHERE experiment_id = %s ORDER BY number",
        (experiment_id,),
    )
    return tuple(Stratum(*row) for row in rows)


def place_answer(strata: tuple[Stratum, ...]) -> tuple[str, dict[str, object]]:
    """SQL of the stratum's number from `stored_at`, `arm` and `propensity`, with its values; null outside of all."""
    if not strata:
        return "NULL::smallint", {}
    cases: list[str] = []
    values: dict[str, object] = {}
    for stratum in reversed(strata):
        values[f"since_{stratum.number}"] = stratum.since
        for place, (arm, share) in enumerate(stratum.shares.items()):
            here = f"{stratum.number}_{place}"
            values |= {f"arm_{here}": arm, f"share_{here}": share}
            drawn = "" if share is None else f" AND coalesce(abs(propensity - %(share_{here})s) < 1e-9, true)"
            cases.append(
                f"WHEN arm = %(arm_{here})s AND stored_at >= %(since_{stratum.number})s{drawn} THEN {stratum.number}"
            )
    return f"(CASE {' '.join(cases)} END)::smallint", values
