"""Brings votes into the form in which abuse is looked for, and takes those in quarantine out of the rewards."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flytewheel.curation.abuse import REASONS, Votes, describe_reasons, find_abuse
from flytewheel.curation.account import Account
from flytewheel.curation.judged import Table
from flytewheel.curation.score import ScoreRewards
from flytewheel.recipe import CurationSpec, FeedbackSpec
from flytewheel.records import REVIEWED


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Votes that do not count in this window: `rows` as `quarantined.parquet` has them, `events` their ids."""

    rows: list[dict[str, str]]
    events: frozenset[str]


def quarantine_votes(
    table: Table,
    prompts: NDArray[np.int64],
    clusters: NDArray[np.int64],
    *,
    feedback: FeedbackSpec,
    curation: CurationSpec,
    score_rewards: ScoreRewards,
    released: Collection[str],
) -> tuple[Quarantine, list[Account]]:
    """Finds votes that are not somebody's own opinion, and scores their interactions again without them.

    Args:
        table: all interactions; rewards change in it.
        prompts: distinct prompt of each row.
        clusters: cluster of each distinct prompt.
        feedback: what a reaction is worth.
        curation: the rules.
        score_rewards: gives the reward of what is left.
        released: ids of events that an operator released.
    """
    votes = table.read_votes(("sign", "explicit", "account_age_s", "said_key"))
    account = Account("quarantine votes", votes.height)
    if not votes.height:
        return Quarantine([], frozenset()), [account.close(), _count_scored(table, table.count_scored())]
    place = votes["place"].to_numpy().astype(np.int64)
    light = table.light.with_columns(pl.Series("cluster", clusters[prompts]))
    answers = light.select(pl.struct("cluster", "response_key").rank("dense")).to_series().to_numpy()
    users = light["user"].rank("dense").to_numpy()
    said = votes["said_key"]
    reviewed = light["id"].str.starts_with(REVIEWED)
    found = find_abuse(
        Votes(
            user=users[place].astype(np.int64),
            interaction=place,
            prompt=clusters[prompts][place],
            answer=answers[place].astype(np.int64),
            sign=votes["sign"].to_numpy(),
            explicit=votes["explicit"].to_numpy(),
            time_s=votes["time_us"].to_numpy() / 1e6,
            account_age_s=votes["account_age_s"].fill_null(float("nan")).to_numpy(),
            comment=said.rank("dense").fill_null(0).to_numpy().astype(np.int64) - 1,
            # What a closed review stored stands under its users' names, a hundred votes within minutes of each other.
            released=votes["event_id"].is_in(list(released)).to_numpy() | reviewed.to_numpy()[place],
        ),
        curation.abuse,
    )
    caught = np.flatnonzero(found)
    for reason, at in zip(found[caught], place[caught], strict=True):
        account.drop(REASONS[reason], int(at))
    events, reasons = votes["event_id"].gather(caught), describe_reasons(curation.abuse)
    where = place[caught]
    rows = [
        {"event_id": event, "interaction_id": name, "user_id": user, "reason": reasons[reason]}
        for event, name, user, reason in zip(
            events,
            table.light["id"].gather(where),
            table.light["user"].gather(where),
            found[caught],
            strict=True,
        )
    ]
    held = frozenset(events)
    scored = table.count_scored()
    table.score_again(
        np.unique(where),
        held,
        lambda left, session_s: score_rewards(left, feedback, session_duration_s=session_s),
        curation.quality,
    )
    return Quarantine(sorted(rows, key=lambda row: row["event_id"]), held), [
        account.close(),
        _count_scored(table, scored),
    ]


def _count_scored(table: Table, before: int) -> Account:
    account = Account("score without quarantine", before)
    if lost := before - table.count_scored():
        account.drop("all reactions in quarantine", count=lost)
    return account.close()
