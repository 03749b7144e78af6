"""The arrow from adapter to GGUF: merged, converted, quantised, and proved equal to the trained weights."""

from __future__ import annotations

from pathlib import Path

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import decks, release, turn
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.runs import run_station
from flytewheel.software import list_packages
from images import trainer
from tasks import LARGE, LARGE_DECK, SECRETS, SHORT
from tasks.folders import new_folder
from tasks.services import connect


@task(container_image=trainer, requests=LARGE, retries=2, timeout=SHORT, secret_requests=SECRETS, **LARGE_DECK)
def export_gguf(
    run_id: str,
    champion: str,
    dataset: FlyteDirectory,
    candidate: FlyteDirectory,
    base: BaseModelSpec,
    spec: ExportSpec,
    seed: int,
) -> FlyteDirectory:
    """Merges, converts and quantises the candidate, and proves the files equal to the trained weights.

    Args:
        run_id: the turn, as `open_turn` named it.
        champion: version in service; empty where it is the bare base.
        dataset: the curated data set.
        candidate: the adapter that is judged.
        base: the base model.
        spec: the recipe's section for this station.
        seed: decides every draw.

    Returns:
        The GGUF files with their reports.
    """
    services = connect()
    with run_station(services.database_url, services.home, run_id, "export_gguf") as station:
        out = new_folder("export")
        talks = turn.parity_conversations(Path(dataset.download()), spec.parity_prompts)
        station.report = release.export_versions(
            out,
            conversations=talks,
            candidate=Path(candidate.download()),
            with_base=not champion,
            base=base,
            export=spec,
            seed=seed,
            progress=station.progress,
        )
        station.report["packages"] = list_packages()
        station.report["speed"] = release.compare_speed(
            services,
            station.run,
            out,
            champion=champion,
            prompts=[talk[:-1] for talk in talks],
            folder=new_folder("champion"),
            progress=station.progress,
        )
        Deck("export", station.show(decks.describe("export_gguf", station.report)))
        return FlyteDirectory(str(out))
