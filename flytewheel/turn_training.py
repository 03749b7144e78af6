"""Where a turn's trainings are at work: checkpoints on this machine and in the store, and what is left of them."""

from __future__ import annotations

from flytewheel import runs
from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from flytewheel.runs import Station
from flytewheel.training import leftovers
from flytewheel.training.processes import find_processes
from flytewheel.training.workplace import Workplace
from registry.store import ObjectStore

CHECKPOINTS = "checkpoints"  # under this machine's home


def open_store(services: Services) -> ObjectStore:
    """The object store of these services, with its bucket, probed."""
    store = ObjectStore(
        services.s3_url, services.s3_access_key, services.s3_secret_key, services.s3_bucket, services.s3_region
    )
    store.ensure_bucket()
    store.probe()
    return store


def check_leftovers(services: Services, recipe: Recipe, *, fresh: bool) -> None:
    """Looks for unfinished trainings that this recipe would leave behind; `fresh` sets them aside.

    Raises:
        CheckpointError: there is one, and `fresh` is false.
    """
    sections = recipe.model_dump(mode="json", include={"base", "training", "rlhf", "seed"})
    settled = runs.list_settled(services.database_url, recipe.name)
    root = services.home / CHECKPOINTS
    for moved in leftovers.check_recipe(root, recipe.name, sections, settled=settled, fresh=fresh):
        print(f"fresh start: an unfinished training was set aside, {moved}", flush=True)


def open_workplace(services: Services, station: Station, *, fresh: str | None = None) -> Workplace:
    """Where the trainings of a station's run are at work.

    Args:
        services: where everything is.
        station: that trains.
        fresh: the execution that asks to start anew, if one does.

    Raises:
        DatabaseError, StoreError: a service is away.
    """
    return Workplace(
        services.home / CHECKPOINTS,
        tracker=station.tracker,
        progress=station.progress,
        describe=station.progress.describe,
        reference=services.home / "cache" / "reference",
        store=open_store(services),
        name=station.run.name,
        run=station.run.run_id,
        fresh=fresh,
        settled=runs.list_settled(services.database_url, station.run.name),
    )


def follow_workplace(services: Services) -> Workplace:
    """Where a process is at work that trains together with others and is not the first: nobody is told by it.

    Raises:
        StoreError: the store is away.
    """
    return Workplace(
        services.home / CHECKPOINTS,
        reference=services.home / "cache" / "reference",
        store=open_store(services) if find_processes().fetches else None,
    )
