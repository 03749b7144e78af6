"""The arrow from feedback to data set: dealt into partitions, each prepared by itself, then joined."""

from __future__ import annotations

import sys
from pathlib import Path

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import decks, turn, turn_suite
from flytewheel.curation import build, deal, prepare
from flytewheel.dataset.layout import CARD, README
from flytewheel.feedback import rewards
from flytewheel.progress import Progress
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec, RlhfSpec
from flytewheel.runs import run_station
from flytewheel.tokens import TokenCounter
from images import core
from tasks import DECK, LARGE_MEMORY, SECRETS, SHORT, SMALL
from tasks.folders import HashedDirectory, new_folder
from tasks.services import connect


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, **DECK)
def deal_window(window: FlyteDirectory, curation: CurationSpec) -> list[HashedDirectory]:
    """Deals a window's rows into shares that can be prepared apart.

    Args:
        window: rows of the closed curation window.
        curation: the recipe's curation.

    Returns:
        The shares, each a folder.
    """
    with Progress(stream=sys.stdout) as progress:
        progress("deal the window", 0, 1)
        shares = deal.deal_window(
            Path(window.download()), new_folder("dealt"), shares=curation.partitions, workers=prepare.count_cores()
        )
        progress("deal the window", 1, 1)
    return [FlyteDirectory(str(share)) for share in shares]


@task(
    container_image=core,
    requests=SMALL,
    retries=2,
    timeout=SHORT,
    cache=True,
    cache_version=f"{build.CODE_VERSION} {prepare.FORMAT}",
    **DECK,
)
def prepare_share(
    share: HashedDirectory, feedback: FeedbackSpec, curation: CurationSpec, base: BaseModelSpec
) -> HashedDirectory:
    """Validates, redacts, screens and scores one share of the rows.

    Args:
        share: one share of the window's rows.
        feedback: the recipe's feedback: which reactions count, and for what.
        curation: the recipe's curation.
        base: the base model.

    Returns:
        The prepared share.
    """
    out = new_folder("prepared")
    rules = prepare.Rules(feedback, curation, base, TokenCounter(base), rewards.score)
    with Progress(stream=sys.stdout) as progress:  # standard error goes to the log of `flytewheel run`
        prepare.prepare_share(Path(share.download()), out, rules, workers=prepare.count_cores(), progress=progress)
    return FlyteDirectory(str(out))


@task(
    container_image=core,
    requests=LARGE_MEMORY,
    retries=2,
    timeout=SHORT,
    secret_requests=SECRETS,
    cache=True,
    cache_version=build.CODE_VERSION,
    cache_ignore_input_vars=("run_id",),
    **DECK,
)
def curate(
    run_id: str,
    prepared: list[HashedDirectory],
    replay: str,
    feedback: FeedbackSpec,
    curation: CurationSpec,
    rlhf: RlhfSpec,
    base: BaseModelSpec,
    seed: int,
) -> HashedDirectory:
    """Joins the prepared shares into a frozen data set: pairs, balance, replay, split by user; with its card.

    Args:
        run_id: the turn, as `open_turn` named it.
        prepared: the prepared shares.
        replay: digest of the data set that earlier rows are drawn from; empty for none.
        feedback: the recipe's feedback: which reactions count, and for what.
        curation: the recipe's curation.
        rlhf: the recipe's alignment: method, β, how many pairs it needs.
        base: the base model.
        seed: decides every draw.

    Returns:
        The data set.
    """
    services = connect()
    with run_station(services.database_url, services.home, run_id, "curate") as station:
        out = new_folder("dataset")
        card = build.join_prepared(
            [Path(share.download()) for share in prepared],
            out,
            rules=prepare.Rules(feedback, turn.locate_cases(curation), base, TokenCounter(base), rewards.score),
            rlhf=rlhf,
            seed=seed,
            replay=turn.fetch_replay(services, replay, new_folder("replay")) if replay else None,
            cache=services.home / "paraphrases",
            workers=prepare.count_cores(),
            progress=station.progress,
        )
        turn.publish_dataset(services, out, card)
        turn.hold_votes(services, out, card)
        turn_suite.absorb_cases(services.database_url, station.run, out)
        cards = {name: (out / name).read_text("utf-8") for name in (CARD, README)}
        station.tracker.artifact("dataset-card", cards, {"digest": card.digest, "counts": card.counts})
        station.report = turn.describe_card(card, replay=replay)
        Deck("data set", station.show(decks.describe("curate", station.report)))
        return FlyteDirectory(str(out))
