"""Sessions of several turns become trajectories, in the part of their user.

Each partition writes the trajectories of its own sessions while it is prepared; which of them stay is decided at the
end, when all rows have their parts. A session is left out where one of its prompts stands in another part, or near to a
regression case, and where one of its reactions is in quarantine: what a trajectory shows must be as clean as the rows
beside it. Of one user the newest sessions stay, as many as the recipe lets a user have rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from flytewheel.curation.account import Account
from flytewheel.curation.features import ROWS
from flytewheel.curation.judged import SESSIONS, Judged, Table
from flytewheel.curation.score import UNLABELLED
from flytewheel.curation.split import choose_part
from flytewheel.curation.trajectories import Session, Turn, build_trajectories, name_session
from flytewheel.dataset import SLICE, schema_of, write_rows
from flytewheel.recipe import CurationSpec
from flytewheel.records import HOLDOUT, PARTS, Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STRICTNESS = ("train", "validation", "test", HOLDOUT)
_COLUMNS = ("user", "session", "id", "time_us", "before", "query", "response", "event_ids", "total", "explicit")


def write_sessions(bucket: Path) -> None:
    """Writes the trajectories of a prepared partition's sessions; their topics are named later."""
    rows = pl.read_ipc(bucket / ROWS, columns=list(_COLUMNS)).filter(
        pl.col("session").is_not_null() & (pl.len().over("user", "session") > 1)
    )
    turns = groupby(rows.sort("user", "session", "time_us", "id").iter_rows(), key=lambda row: row[:2])
    sessions = (_read_session(user, session, list(own)) for (user, session), own in turns)
    write_rows(bucket / SESSIONS, "trajectory", build_trajectories(sessions))


def find_homes(
    table: Table,
    parts: Mapping[str, Sequence[Judged]],
    prompts: NDArray[np.int64],
    clusters: NDArray[np.int64],
    spec: CurationSpec,
) -> dict[int, str]:
    """The part of every cluster of prompts: that of its scored rows; of turns that nobody reacted to, the strictest.

    Args:
        table: all interactions.
        parts: the scored ones of each part.
        prompts: distinct prompt of each row.
        clusters: cluster of each distinct prompt.
        spec: the rules.
    """
    homes = {one.cluster: part for part, own in parts.items() for one in own}
    silent = table.light["total"].is_null().arg_true().to_numpy()
    users = table.light["user"].gather(silent)
    own = {user: choose_part(user, spec) for user in users.unique()}
    strictest: dict[int, int] = {}
    for name, user in zip(clusters[prompts[silent]].tolist(), users, strict=True):
        strictest[name] = max(strictest.get(name, 0), _STRICTNESS.index(own[user]))
    return {name: _STRICTNESS[rank] for name, rank in strictest.items()} | homes


def build_sessions(
    table: Table,
    parts: Mapping[str, Sequence[Judged]],
    homes: Mapping[int, str],
    prompts: NDArray[np.int64],
    clusters: NDArray[np.int64],
    near_suite: NDArray[np.bool_],
    spec: CurationSpec,
    *,
    held: frozenset[str],
) -> tuple[dict[str, pa.Table], Account]:
    """Chooses the trajectories of every part.

    Args:
        table: all interactions.
        parts: the scored ones of each part.
        homes: the part of each cluster, of `find_homes`.
        prompts: distinct prompt of each row.
        clusters: cluster of each distinct prompt.
        near_suite: of each distinct prompt, whether it is near to a regression case.
        spec: the rules.
        held: ids of events in quarantine.

    Returns:
        The rows of each part in the order of their ids, as `write_batches` wants them, and the account.
    """
    dealt = {one.place for own in parts.values() for one in own}
    light = table.light.select("user", "session", "topic", "total").with_row_index("place")
    sessions = (
        light.filter(pl.col("session").is_not_null())
        .group_by("user", "session", maintain_order=True)
        .agg("place", "topic", "total")
        .filter(pl.col("place").list.len() > 1)
    )
    account = Account("trajectories", sessions.height)
    silenced = _list_silenced(table, held)
    users: Counter[str] = Counter()
    kept: dict[str, tuple[str, str, int]] = {}  # name → part, topic, place
    for user, session, places, topics, totals in sessions.reverse().iter_rows():
        part = choose_part(user, spec)
        found = prompts[places]
        if not silenced.isdisjoint(places):
            account.drop("a reaction in quarantine", places[0])
        elif any(
            homes[cluster] != part or (total is not None and place not in dealt)
            for cluster, place, total in zip(clusters[found].tolist(), places, totals, strict=True)
        ):
            account.drop("a prompt stands in another part", places[0])
        elif part == "train" and near_suite[found].any():
            account.drop("near to a regression case", places[0])
        elif users[user] >= spec.max_rows_per_user:
            account.drop("enough rows of the user", places[0])
        else:
            users[user] += 1
            topic = next((topic for topic in topics if topic), UNLABELLED)
            kept[name_session(user, session)] = part, topic, places[0]
    found = table.read_sessions(list(kept))
    known = found["id"].to_list()
    built = set(known)
    for name, (_, _, place) in kept.items():
        if name not in built:
            account.drop("fewer than two answers", place)
    named = found.with_columns(pl.Series("topic", [kept[name][1] for name in known], pl.String))
    homes_of = pl.Series([kept[name][0] for name in known], dtype=pl.String)
    schema = schema_of("trajectory")
    made = {
        part: named.filter(homes_of == part).sort("id").select(schema.names).to_arrow().cast(schema)
        for part in (*PARTS, HOLDOUT)
    }
    return made, account.close()


def list_batches(rows: pa.Table) -> list[pa.RecordBatch]:
    """Rows of `build_sessions`, as `write_batches` wants them."""
    batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches(max_chunksize=SLICE)
    return batches


def _list_silenced(table: Table, held: frozenset[str]) -> set[int]:
    """Places of the interactions that a reaction in quarantine is about."""
    if not held:
        return set()
    votes = table.read_votes(())
    return set(votes.filter(pl.col("event_id").is_in(list(held)))["place"].to_list())


def _read_session(user: str, session: str, rows: Sequence[tuple[Any, ...]]) -> Session:
    turns = tuple(
        Turn(
            interaction_id=name,
            time=_EPOCH + timedelta(microseconds=time_us),
            query=query,
            response=response,
            history=tuple(Message(**turn) for turn in before),
            reward=total,
            explicit=explicit is not None,
            events=tuple(event_ids),
        )
        for _, _, name, time_us, before, query, response, event_ids, total, explicit in rows
    )
    return Session(user, session, turns)
