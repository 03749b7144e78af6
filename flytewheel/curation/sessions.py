"""Sessions of several turns become trajectories, in the part of their user.

A session is left out where one of its prompts stands in another part, or near to a regression case, and where one of
its reactions is in quarantine: what a trajectory shows must be as clean as the rows beside it. Of one user the newest
sessions stay, as many as the recipe lets a user have rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flytewheel.curation.account import Account
from flytewheel.curation.judged import Judged, Table
from flytewheel.curation.score import UNLABELLED
from flytewheel.curation.split import choose_part
from flytewheel.curation.trajectories import Session, Turn, build_trajectories
from flytewheel.recipe import CurationSpec
from flytewheel.records import HOLDOUT, PARTS, Message, Trajectory

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STRICTNESS = ("train", "validation", "test", HOLDOUT)
_AT_ONCE = 20_000  # sessions whose texts are in memory
_COLUMNS = ("id", "time_us", "before", "query", "response", "event_ids", "total", "explicit")


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
) -> tuple[dict[str, list[Trajectory]], Account]:
    """Makes the trajectories of every part.

    Args:
        table: all interactions.
        parts: the scored ones of each part.
        homes: the part of each cluster, of `find_homes`.
        prompts: distinct prompt of each row.
        clusters: cluster of each distinct prompt.
        near_suite: of each distinct prompt, whether it is near to a regression case.
        spec: the rules.
        held: ids of events in quarantine.
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
    kept: list[tuple[str, str, str, list[int], list[str | None]]] = []
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
            kept.append((part, user, session, places, topics))
    made: dict[str, list[Trajectory]] = {part: [] for part in (*PARTS, HOLDOUT)}
    for start in range(0, len(kept), _AT_ONCE):
        chunk = kept[start : start + _AT_ONCE]
        texts = table.fetch([place for *_, places, _ in chunk for place in places], _COLUMNS).iter_rows()
        for part, user, session, places, topics in chunk:
            rows = [next(texts) for _ in places]
            if built := build_trajectories([_read_session(user, session, rows, topics)]):
                made[part] += built
            else:
                account.drop("fewer than two answers", places[0])
    return {part: sorted(own, key=lambda row: row.id) for part, own in made.items()}, account.close()


def _list_silenced(table: Table, held: frozenset[str]) -> set[int]:
    """Places of the interactions that a reaction in quarantine is about."""
    if not held:
        return set()
    votes = table.read_votes(())
    return set(votes.filter(pl.col("event_id").is_in(list(held)))["place"].to_list())


def _read_session(user: str, session: str, rows: Sequence[tuple[Any, ...]], topics: Sequence[str | None]) -> Session:
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
        for name, time_us, before, query, response, event_ids, total, explicit in rows
    )
    return Session(user, session, turns, next((topic for topic in topics if topic), UNLABELLED))
