"""The arrow from feedback to data set."""

from __future__ import annotations

from pathlib import Path

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import decks, models, turn
from flytewheel.curation import build
from flytewheel.feedback import rewards
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec, RlhfSpec
from flytewheel.runs import run_station
from images import core
from tasks import DECK, SECRETS, SHORT, SMALL
from tasks.folders import HashedDirectory, new_folder
from tasks.services import connect


@task(
    container_image=core,
    requests=SMALL,
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
    window: HashedDirectory,
    replay: str,
    feedback: FeedbackSpec,
    curation: CurationSpec,
    rlhf: RlhfSpec,
    base: BaseModelSpec,
    seed: int,
) -> HashedDirectory:
    services = connect()
    with run_station(services.database_url, services.home, run_id, "curate") as station:
        out = new_folder("dataset")
        card = build.build_dataset(
            Path(window.download()),
            out,
            feedback=feedback,
            curation=turn.locate_cases(curation),
            rlhf=rlhf,
            base=base,
            seed=seed,
            count_tokens=models.token_counter(base),
            score_rewards=rewards.score,
            replay=turn.fetch_dataset(services, replay) if replay else None,
            progress=station.progress,
        )
        turn.publish_dataset(services, out, card)
        station.report = turn.describe_card(card, replay=replay)
        Deck("data set", station.show(decks.describe("curate", station.report)))
        return FlyteDirectory(str(out))
