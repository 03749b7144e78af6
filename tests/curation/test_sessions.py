"""Sessions become trajectories in the part of their user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flytewheel.curation.account import Account
from flytewheel.curation.events import Reviewed
from flytewheel.curation.judged import Judged, Table
from flytewheel.curation.sessions import build_sessions, find_homes, list_batches
from flytewheel.curation.split import choose_part
from flytewheel.dataset import read_rows, write_batches
from flytewheel.recipe import CurationSpec
from flytewheel.records import Trajectory
from tests.curation.tables import write_bucket
from tests.curation.windows import make_event, make_interaction

SPEC = CurationSpec(holdout_share=0.2, max_rows_per_user=2)
USERS = {
    part: [name for name in (f"user-{n}" for n in range(400)) if choose_part(name, SPEC) == part][:9]
    for part in ("train", "validation", "test", "holdout")
}
ANN, TOM, HAL = USERS["train"][0], USERS["test"][0], USERS["holdout"][0]


class Week:
    """Turns of sessions: (user, session, cluster, reward or None)."""

    def __init__(self, folder: Path, turns: Sequence[tuple[str, str | None, int, int | None]]) -> None:
        reviewed = []
        for number, (user, session, _, sign) in enumerate(turns):
            one = make_interaction(number, user, session_id=session)
            kind = "thumbs_up" if sign == 1 else "thumbs_down"
            events = () if sign is None else (make_event(number, one, kind),)
            reviewed.append(Reviewed(one, events))
        self.folder = folder
        self.table = Table([write_bucket(folder / "0000", reviewed)])
        kept = {name: place for place, name in enumerate(self.table.light["id"])}
        places = [kept[f"i{number:05d}"] for number in range(len(turns)) if f"i{number:05d}" in kept]
        named = [turns[number][2] for number in range(len(turns)) if f"i{number:05d}" in kept]
        self.prompts = np.arange(len(places))
        self.clusters = np.array(named)
        self.judged = self.table.list_judged(self.prompts, self.clusters, self.clusters)

    def split(self) -> dict[str, list[Judged]]:
        parts: dict[str, list[Judged]] = {part: [] for part in USERS}
        for one in self.judged:
            parts[choose_part(one.user, SPEC)].append(one)
        return parts

    def build(
        self, *, parts: dict[str, list[Judged]] | None = None, near: Sequence[int] = (), held: Sequence[str] = ()
    ) -> tuple[dict[str, list[Trajectory]], Account]:
        suite = np.zeros(len(self.prompts), dtype=np.bool_)
        suite[list(near)] = True
        given = self.split() if parts is None else parts
        homes = find_homes(self.table, given, self.prompts, self.clusters, SPEC)
        made, account = build_sessions(
            self.table, given, homes, self.prompts, self.clusters, suite, SPEC, held=frozenset(held)
        )  # fmt: skip
        return {part: read(self.folder, rows) for part, rows in made.items()}, account


def read(folder: Path, rows: pa.Table) -> list[Trajectory]:
    """As they are read from the part that they are written to."""
    write_batches(folder / "made", "trajectory", list_batches(rows))
    return list(read_rows(folder / "made", "trajectory"))


def count(made: dict[str, list[Trajectory]]) -> dict[str, int]:
    return {part: len(rows) for part, rows in made.items() if rows}


def test_a_session_by_hand(tmp_path: Path) -> None:
    """Rewards 1, unknown, -1, the last explicit one twice: (1 - 1 - 1) / 3. A session of one turn is none."""
    week = Week(
        tmp_path, [(ANN, "s", 1, 1), (ANN, "s", 2, None), (ANN, "s", 3, -1), (ANN, "one", 4, 1), (TOM, "s", 5, 1),
                   (ANN, None, 6, 1), (ANN, None, 7, 1)],
    )  # fmt: skip
    made, account = week.build()
    assert count(made) == {"train": 1}
    [row] = made["train"]
    assert (row.user, row.rewards, row.interactions, row.events) == (
        ANN, (1.0, None, -1.0), ("i00000", "i00001", "i00002"), ("e00000", "e00002"),
    )  # fmt: skip
    assert row.reward == pytest.approx(-1 / 3, abs=1e-6)
    assert [turn.role for turn in row.messages] == ["user", "assistant"] * 3
    assert (account.rows_in, account.rows_out) == (1, 1)


def test_every_part_has_those_of_its_users(tmp_path: Path) -> None:
    turns: list[tuple[str, str | None, int, int | None]] = [
        (users[0], "s", 10 * place + n, 1) for place, users in enumerate(USERS.values()) for n in range(2)
    ]
    made, _ = Week(tmp_path, turns).build()
    assert count(made) == {part: 1 for part in USERS}
    assert all(choose_part(row.user, SPEC) == part for part, rows in made.items() for row in rows)


@pytest.mark.parametrize("silent", [None, 1])
def test_a_prompt_stands_in_the_trajectories_of_one_part(tmp_path: Path, silent: int | None) -> None:
    """Cluster 9 is asked by users of three parts; where nobody reacted it takes the strictest."""
    turns: list[tuple[str, str | None, int, int | None]] = []
    for place, user in enumerate((ANN, TOM, HAL)):
        turns += [(user, "s", place, 1), (user, "s", 9, None if silent is None or user != TOM else silent)]
    made, account = Week(tmp_path, turns).build()
    assert count(made) == {"holdout" if silent is None else "test": 1}
    assert account.dropped == {"a prompt stands in another part": 2}


def test_what_was_left_out_of_its_part_takes_its_session_along(tmp_path: Path) -> None:
    week = Week(tmp_path, [(ANN, "s", 1, 1), (ANN, "s", 2, 1)])
    parts = {part: [one for one in own if one.cluster != 2] for part, own in week.split().items()}
    parts["test"] = [one for one in week.judged if one.cluster == 2]
    made, account = week.build(parts=parts)
    assert count(made) == {}
    assert account.dropped == {"a prompt stands in another part": 1}


def test_only_training_keeps_away_from_regression_cases(tmp_path: Path) -> None:
    week = Week(tmp_path, [(ANN, "s", 1, 1), (ANN, "s", 2, None), (TOM, "s", 3, 1), (TOM, "s", 4, 1)])
    made, account = week.build(near=[1, 3])
    assert count(made) == {"test": 1}
    assert account.dropped == {"near to a regression case": 1}


def test_a_reaction_in_quarantine_takes_its_session_along(tmp_path: Path) -> None:
    week = Week(tmp_path, [(ANN, "s", 1, 1), (ANN, "s", 2, 1), (ANN, "t", 3, 1), (ANN, "t", 4, 1)])
    made, account = week.build(held=["e00001", "elsewhere"])
    assert [row.interactions for row in made["train"]] == [("i00002", "i00003")]
    assert account.dropped == {"a reaction in quarantine": 1}


def test_of_one_user_the_newest_stay(tmp_path: Path) -> None:
    turns: list[tuple[str, str | None, int, int | None]] = [
        (user, f"s{n // 2}", 100 * place + n, 1)
        for n in range(20)
        for place, user in enumerate((ANN, TOM, USERS["train"][1]))
    ]
    made, account = Week(tmp_path, turns).build()
    users = Counter(row.user for rows in made.values() for row in rows)
    assert set(users.values()) == {2}
    last = [f"i{60 - 3 * (4 - n):05d}" for n in range(4)]
    assert sorted(name for row in made["train"] if row.user == ANN for name in row.interactions) == last
    assert account.dropped == {"enough rows of the user": 24}
    assert [row.id for row in made["train"]] == sorted(row.id for row in made["train"])


def test_answers_that_are_blank_are_no_session(tmp_path: Path) -> None:
    reviewed = [
        Reviewed(one, (make_event(n, one),))
        for n, one in enumerate(make_interaction(n, ANN, session_id="s", response=" ") for n in range(2))
    ]
    table = Table([write_bucket(tmp_path / "0000", reviewed)])
    one = np.arange(2)
    parts: dict[str, Any] = {"train": table.list_judged(one, one, one)}
    homes = find_homes(table, parts, one, one, SPEC)
    made, account = build_sessions(table, parts, homes, one, one, one > 9, SPEC, held=frozenset())
    assert not any(rows.num_rows for rows in made.values())
    assert account.dropped == {"fewer than two answers": 1}


def test_topics_come_from_the_table(tmp_path: Path) -> None:
    week = Week(tmp_path, [(ANN, "s", 1, 1), (ANN, "s", 2, 1), (TOM, "s", 3, 1), (TOM, "s", 4, 1)])
    week.table.set_topics(["first", "second", "disk", "disk"])
    made, _ = week.build()
    assert {row.user: row.topic for rows in made.values() for row in rows} == {ANN: "first", TOM: "disk"}


def test_partitions_bring_their_own_sessions(tmp_path: Path) -> None:
    reviewed = [
        Reviewed(one, (make_event(n, one),))
        for n, one in enumerate(make_interaction(n, (ANN, TOM)[n % 2], session_id="s") for n in range(4))
    ]
    table = Table([write_bucket(tmp_path / str(first), reviewed[first::2]) for first in range(2)])
    one = np.arange(4)
    parts: dict[str, Any] = {"train": [], "test": []}
    for judged in table.list_judged(one, one, one):
        parts[choose_part(judged.user, SPEC)].append(judged)
    made, _ = build_sessions(table, parts, find_homes(table, parts, one, one, SPEC), one, one, one > 9, SPEC,
                             held=frozenset())  # fmt: skip
    assert [row.interactions for row in read(tmp_path, made["train"])] == [("i00000", "i00002")]
    assert [row.interactions for row in read(tmp_path, made["test"])] == [("i00001", "i00003")]
