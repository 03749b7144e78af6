"""Votes in the form in which abuse is looked for, and rewards without those in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flytewheel.curation.account import Account
from flytewheel.curation.events import Reviewed
from flytewheel.curation.judged import Table
from flytewheel.curation.suspects import Quarantine, quarantine_votes
from flytewheel.feedback.rewards import score
from flytewheel.recipe import CurationSpec, FeedbackSpec
from tests.curation.tables import make_reviewed, write_bucket
from tests.curation.windows import at

HONEST = [make_reviewed(n, user=f"u{n}") for n in range(5)]


def make_burst(number: int, votes: int = 25, **fields: Any) -> list[Reviewed]:
    """So many interactions of one user, each liked within the same second, with a click later; and thirty liked slowly.

    Where bursts are the half of an account's votes, all of them go.
    """
    slow = [make_reviewed(100 + n, {"timestamp": at(9000 + 61 * n * n)}, **fields) for n in range(30)]
    return slow + [
        make_reviewed(
            number + n, {"timestamp": at(number)}, {"kind": "copied", "timestamp": at(number + 60 * n)}, **fields
        )
        for n in range(votes)
    ]


def look(
    folder: Path, reviewed: Sequence[Reviewed], *, buckets: int = 1, released: Sequence[str] = (), **abuse: Any
) -> tuple[Table, Quarantine, list[Account]]:
    table = Table([write_bucket(folder / f"{own:04d}", reviewed[own::buckets]) for own in range(buckets)])
    prompts = np.arange(len(table))
    found, accounts = quarantine_votes(
        table,
        prompts,
        prompts,
        feedback=FeedbackSpec(),
        curation=CurationSpec(abuse={"burst_events": 20, **abuse}),
        score_rewards=score,
        released=released,
    )
    return table, found, accounts


@pytest.mark.parametrize("buckets", [1, 4])
def test_a_burst_is_named_and_its_answers_scored_without_it(tmp_path: Path, buckets: int) -> None:
    reviewed = [*HONEST, *make_burst(10, user="eve")]
    table, found, accounts = look(tmp_path, reviewed, buckets=buckets)
    thumbs = [f"e{(10 + n) * 100:05d}" for n in range(25)]
    assert [row["event_id"] for row in found.rows] == thumbs
    assert {row["user_id"] for row in found.rows} == {"eve"}
    assert [row["interaction_id"] for row in found.rows] == [f"i{10 + n:05d}" for n in range(25)]
    assert {row["reason"].split(":")[0] for row in found.rows} == {"burst"}
    assert "within" in found.rows[0]["reason"], "a reason says its numbers"
    assert found.events == frozenset(thumbs)
    assert [(one.name, dict(one.dropped), one.rows_out) for one in accounts] == [
        ("quarantine votes", {"burst": 25}, 60), ("score without quarantine", {}, 60),
    ]  # fmt: skip
    light = {row["id"]: row for row in table.light.iter_rows(named=True)}
    assert [light[f"i{n:05d}"]["total"] for n in (0, 10, 34)] == [1.0, 0.4, 0.4]


def test_answers_without_another_reaction_are_no_longer_scored(tmp_path: Path) -> None:
    reviewed = [make_reviewed(10 + n, {"timestamp": at(0)}, user="eve") for n in range(25)]
    table, _, accounts = look(tmp_path, [*HONEST, *reviewed])
    assert table.count_scored() == 5
    assert accounts[1].dropped == {"all reactions in quarantine": 25}
    assert (accounts[1].rows_in, accounts[1].rows_out) == (30, 5)


def test_a_released_vote_counts(tmp_path: Path) -> None:
    table, found, _ = look(tmp_path, [*HONEST, *make_burst(10, user="eve")], released=["e01000", "e01200", "nothing"])
    assert len(found.rows) == 23
    assert not {"e01000", "e01200"} & found.events
    totals = dict(zip(table.light["id"], table.light["total"], strict=True))
    assert (totals["i00010"], totals["i00011"], totals["i00012"]) == (1.0, 0.4, 1.0)


def test_rules_can_be_switched_off_and_no_vote_is_no_error(tmp_path: Path) -> None:
    assert look(tmp_path / "off", HONEST + make_burst(10, user="eve"), burst_events=0)[1].rows == []
    table, found, accounts = look(tmp_path / "none", [])
    assert (len(table), found.rows, [one.rows_in for one in accounts]) == (0, [], [0, 0])


def test_accounts_below_the_stated_age_wait(tmp_path: Path) -> None:
    young = {"account_created_at": at(0).isoformat()}
    reviewed = [make_reviewed(n, user=f"u{n}", metadata=young if n < 2 else {}) for n in range(4)]
    _, found, _ = look(tmp_path, reviewed, min_account_age_s=3600)
    assert [row["user_id"] for row in found.rows] == ["u0", "u1"]
    assert {row["reason"].split(":")[0] for row in found.rows} == {"young account"}
