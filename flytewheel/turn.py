"""Begins and ends a turn of the loop: what the Flyte tasks before the first arrow and on failure call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flytewheel import models, runs
from flytewheel.dataset import Dataset, DatasetCard
from flytewheel.errors import DatabaseError, DatasetError, FeedbackError
from flytewheel.feedback.store import FeedbackStore
from flytewheel.feedback.window import close_window, count_sources, write_window
from flytewheel.local.pyflyte import FAILED
from flytewheel.local.services import Services
from flytewheel.recipe import CurationSpec, FeedbackSpec, Recipe
from flytewheel.records import Message, to_jsonable
from flytewheel.training.align import check_method
from flytewheel.training.arguments import check_adapter
from registry.store import ObjectStore
from registry.versions import Registry

CODE = Path(__file__).resolve().parent.parent
_TASK = re.compile(r"'tasks\.\w+\.(\w+)'")
_LOCAL_NODE = re.compile(r"(fn\d+)?")


@dataclass(frozen=True, slots=True)
class OpenedTurn:
    """A turn that may begin, or (`ready` false) the reason why not yet. `champion` is empty where the bare base
    serves.
    """

    run_id: str
    ready: bool
    message: str
    window: Path
    champion: str
    replay: str


def open_store(services: Services) -> ObjectStore:
    """The object store of these services, with its bucket, probed."""
    store = ObjectStore(
        services.s3_url, services.s3_access_key, services.s3_secret_key, services.s3_bucket, services.s3_region
    )
    store.ensure_bucket()
    store.probe()
    return store


def open_turn(services: Services, recipe: Recipe, folder: Path, *, now: datetime, execution: str) -> OpenedTurn:
    """Imports the recipe's logs, closes the curation window, and opens or resumes the run when there is enough of it.

    Args:
        services: where everything is.
        recipe: what to do.
        folder: where the window's rows are written.
        now: current time.
        execution: id of the execution; a failure is noted by it (`record_failure`).

    Raises:
        RecipeError: the alignment method or the adapter is not offered.
        BaseModelError: the base model does not exist. All are found out before anything is stored.
        FeedbackError: a file named by the recipe is missing or cannot be read.
        DatabaseError, StoreError: a service is away.
    """
    print(f"device: {models.find_device()}", flush=True)
    check_method(recipe.rlhf)
    check_adapter(recipe.training)
    models.load_tokenizer(recipe.base)
    locate_cases(recipe.curation)
    logs = locate_logs(recipe.feedback)
    store = open_store(services)
    if logs is not None:
        report = FeedbackStore(services.database_url).import_files(
            *logs, source=recipe.sources[0], quarantine_dir=services.home / "quarantine"
        )
        print(report.describe(), flush=True)
    window = close_window(services.database_url, recipe.sources, limit=recipe.curation.max_interactions)
    champion = Registry(store).get_alias(recipe.name, "champion") or ""
    needed = recipe.curation.min_interactions
    looked_at = describe_sources(count_sources(services.database_url), recipe.sources)
    if window.interactions < needed:
        folder.mkdir(parents=True, exist_ok=True)
        message = (
            f"not yet: {window.interactions:,} of {needed:,} interactions in {looked_at} "
            "(collect more, `flytewheel feedback import … --source NAME`, or lower curation.min_interactions)"
        )
        return OpenedTurn("", False, message, folder, champion, "")
    run = runs.open_run(services.database_url, recipe, window.to_json(), now=now, execution=execution)
    kept = type(window).from_json(dict(run.window))
    try:
        write_window(services.database_url, kept, folder)
    except FeedbackError as error:
        if kept == window:
            raise
        runs.finish_run(services.database_url, run.run_id, error=str(error), station="open_turn")
        print(f"run {run.run_id} is closed as failed: {error}", flush=True)
        run = runs.open_run(
            services.database_url, recipe, window.to_json(), now=now, execution=execution, given_up=run.run_id
        )
        kept = type(window).from_json(dict(run.window))
        write_window(services.database_url, kept, folder)
    verb = "resumes" if run.resumed else "opens"
    message = f"run {run.run_id} {verb}: {kept.interactions:,} interactions, {kept.events:,} feedback events"
    print(f"{message}\nsources: {looked_at}", flush=True)
    frozen = runs.read_reports(services.database_url, run.run_id).get("curate", {})
    # A frozen data set comes out the same again only with what was mixed into it then.
    replay = frozen.get("replay", runs.previous_dataset(services.database_url, recipe.name) or "")
    return OpenedTurn(run.run_id, True, message, folder, champion, replay)


def describe_sources(counts: Mapping[str, int], wanted: Sequence[str]) -> str:
    """The sources that a recipe learns from, and those of the database that it does not look at."""
    others = ", ".join(f"{source} ({count:,})" for source, count in counts.items() if source not in wanted)
    return ", ".join(wanted) + (f"; not looked at: {others}" if others else "")


def locate_input(path: str, field: str) -> Path:
    """Finds a file that a recipe names: from the current folder on, else from the folder that this code lies in.

    Args:
        path: As the recipe has it.
        field: Of the recipe, for the message.

    Raises:
        FeedbackError: it is in neither place.
    """
    places = list(dict.fromkeys((Path.cwd() / Path(path).expanduser(), CODE / path)))
    for place in places:
        if place.is_file():
            return place
    looked = " or ".join(str(place.parent) for place in places)
    raise FeedbackError(f"{field}: no file {path!r} under {looked}; correct the path, or start from its folder")


def locate_logs(feedback: FeedbackSpec) -> tuple[Path, Path] | None:
    """The logs that the recipe wants imported: interactions and feedback; `None` where it names none.

    Raises:
        FeedbackError: one of them is missing.
    """
    if feedback.files is None:
        return None
    return (
        locate_input(feedback.files.interactions, "feedback.files.interactions"),
        locate_input(feedback.files.feedback, "feedback.files.feedback"),
    )


def locate_cases(curation: CurationSpec) -> CurationSpec:
    """The rules with the place where their regression cases were found.

    Raises:
        FeedbackError: the file of regression cases is missing.
    """
    if curation.regression_cases is None:
        return curation
    found = locate_input(curation.regression_cases, "curation.regression_cases")
    return curation.model_copy(update={"regression_cases": str(found)})


def publish_dataset(services: Services, folder: Path, card: DatasetCard) -> None:
    """Copies a frozen data set into the object store under its digest, the card last; what is there already is left."""
    store = open_store(services)
    prefix = f"datasets/{card.digest}"
    if store.exists(f"{prefix}/card.json"):
        return
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "card.json")
    for path in [*files, folder / "card.json"]:
        store.put_file(f"{prefix}/{path.relative_to(folder).as_posix()}", path)


def fetch_dataset(services: Services, name: str) -> Path:
    """Brings an earlier data set from the object store into this machine's home.

    Raises:
        DatasetError: it is not in the store.
    """
    folder = services.home / "datasets" / name
    if (folder / "card.json").exists():
        return folder
    store = open_store(services)
    prefix = f"datasets/{name}/"
    keys = [key for key in store.list(prefix) if not key.endswith("/card.json")]
    if not store.exists(f"{prefix}card.json"):
        raise DatasetError(f"data set {name} is not in {store}: it cannot be replayed; set curation.replay_share: 0")
    for key in [*keys, f"{prefix}card.json"]:
        store.get_file(key, folder / key.removeprefix(prefix))
    return folder


def describe_card(card: DatasetCard, *, replay: str) -> dict[str, Any]:
    """The part of a data set's card that a run's report keeps, and the earlier data set that was mixed in."""
    return {
        "replay": replay,
        "digest": card.digest,
        "content_digest": card.content_digest,
        "interactions": card.interactions,
        "events": card.events,
        "counts": card.counts,
        "dropped": card.dropped,
        "users": card.users,
        "topics": card.topics,
        "steps": [to_jsonable(step) for step in card.steps],
    }


def parity_prompts(folder: Path, count: int) -> list[tuple[Message, ...]]:
    """Prompts on which an exported file is compared with the trained weights: held-out ones, each once.

    Raises:
        DatasetError: the data set has no held-out prompt.
    """
    dataset = Dataset(folder)
    prompts = [row.prompt for part in ("test", "validation", "train") for row in dataset.sft(part)]
    prompts = list(dict.fromkeys(prompts))
    if not prompts:
        raise DatasetError(f"{folder}: no prompt to compare the exported model on")
    return prompts[:count]


def record_failure(database_url: str, execution: str, node: str, message: str) -> str:
    """Notes on the run which station failed and why; returns the line that says so, even when PostgreSQL is away.

    Args:
        database_url: PostgreSQL; nothing else is needed, since anything else may be what failed.
        execution: id of the execution that failed, as `open_turn` was given it.
        node: Flyte's id of the failed node. Its local execution only knows `fn0`, so the task named in `message` wins;
            where none is (errors with a text of their own, such as OSError), the run's last station is the one.
        message: Flyte's error.
    """
    found = _TASK.search(message)
    station = found.group(1) if found else None if _LOCAL_NODE.fullmatch(node) else node
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    cause = lines[-1] if lines else "no message"
    try:
        run = runs.fail_open_run(database_url, execution, station=station, error=cause)
    except DatabaseError:
        return f"{FAILED}station {station or 'unknown'} failed: {cause} (not noted on the run: PostgreSQL is away)"
    if run is None:
        return f"{FAILED}station {station or 'open_turn'} failed: {cause}"
    return f"{FAILED}run {run.run_id}: station {run.station} failed: {cause}"
