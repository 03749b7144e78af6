"""Rows that know a person by what is computed from the user id, and by nothing else.

`given_arms` has a user's draw of each experiment, which takes the assignment key to compute: without that key, where a
router that is not ours holds it, these rows cannot be found and stay. The holdout has SHA-256 of the id, in its list
and in the experiments that began with it.
"""

from __future__ import annotations

from collections import Counter

from flytewheel.database import Connection
from flytewheel.erase.person import Person
from flytewheel.experiment.allocation.given import place_user
from flytewheel.experiment.layers import digest_user

_FIND = {
    "given_arms": "(experiment_id, place) IN (SELECT * FROM unnest(%(experiments)s::text[], %(places)s::bigint[]))",
    "holdout_users": "user_digest = ANY(%(digests)s)",
    "experiments": "layer -> 'held_out' ?| %(digests)s",
}


def count_pseudonyms(connection: Connection, person: Person, assignment_key: str) -> Counter[str]:
    """Rows that would go or be mended, by table."""
    values, counts = _compute(connection, person, assignment_key), Counter[str]()
    for table, where in _FIND.items():
        row = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", values).fetchone()
        counts[_name(table)] = int(row[0]) if row else 0
    return +counts


def delete_pseudonyms(connection: Connection, person: Person, assignment_key: str) -> Counter[str]:
    """Takes the person out of them, within the caller's transaction; rows that went or were mended, by table."""
    values, counts = _compute(connection, person, assignment_key), Counter[str]()
    for table, where in _FIND.items():
        act = f"DELETE FROM {table} WHERE {where}"
        if table == "experiments":
            less = "jsonb_set(layer, '{held_out}', (layer -> 'held_out') - %(digests)s::text[])"
            act = f"UPDATE experiments SET layer = {less} WHERE {where}"
        counts[_name(table)] = connection.execute(act, values).rowcount
    return +counts


def _name(table: str) -> str:
    return "experiments.layer" if table == "experiments" else table


def _compute(connection: Connection, person: Person, assignment_key: str) -> dict[str, list[str] | list[int]]:
    rows = connection.execute("SELECT experiment_id FROM experiments").fetchall() if assignment_key else []
    known = [(str(experiment), name) for (experiment,) in rows for name in sorted(person.names)]
    key = assignment_key.encode()
    return {
        "experiments": [experiment for experiment, _ in known],
        "places": [place_user(key, experiment, name) for experiment, name in known],
        "digests": [digest_user(name) for name in sorted(person.names)],
    }
