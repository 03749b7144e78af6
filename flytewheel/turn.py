"""Begins and ends a turn of the loop: what the Flyte tasks before the first arrow and after the last call."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flytewheel import models, runs
from flytewheel.beginning import choose_beginning
from flytewheel.dataset import Dataset, DatasetCard
from flytewheel.drift.requests import answer_requests
from flytewheel.errors import DatasetError, FeedbackError, StoreError
from flytewheel.feedback.quarantine import hold_events
from flytewheel.feedback.store import FeedbackStore
from flytewheel.feedback.window import Window, count_sources, write_window
from flytewheel.local.services import Services
from flytewheel.progress import Progress
from flytewheel.recipe import CurationSpec, EvaluationSpec, FeedbackSpec, Recipe
from flytewheel.records import Message
from flytewheel.review.close import close_due
from flytewheel.signed_registry import open_registry
from flytewheel.training import leftovers
from flytewheel.training.arguments import check_adapter
from flytewheel.training.uploads import remove_copies
from flytewheel.turn_datasets import fetch_dataset as fetch_dataset
from flytewheel.turn_datasets import fetch_replay as fetch_replay
from flytewheel.turn_datasets import publish_dataset as publish_dataset
from flytewheel.turn_suite import grow_suite, write_suite
from flytewheel.turn_training import CHECKPOINTS, check_leftovers
from flytewheel.turn_training import open_store as open_store
from flytewheel.turn_window import describe_window, find_named_window, write_turn_window

CODE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class OpenedTurn:
    """A turn that may begin, or (`ready` false) the reason why not yet. `champion` is empty where the bare base
    serves. `recipe` is the one that counts from here on, `start` the folder of the adapter that training goes on from.
    """

    run_id: str
    ready: bool
    message: str
    window: Path
    champion: str
    replay: str
    recipe: Recipe
    start: Path


def open_turn(
    services: Services, recipe: Recipe, folder: Path, *, start: Path, now: datetime, execution: str, fresh: bool = False
) -> OpenedTurn:
    """Imports the recipe's logs, closes the curation window, and opens or resumes the run when there is enough of it.

    Args:
        services: where everything is.
        recipe: what to do.
        folder: where the window's rows are written.
        start: where the adapter is put that training goes on from (`beginning`).
        now: current time.
        execution: id of the execution; a failure is noted by it (`record_failure`).
        fresh: set trainings aside that this recipe would leave unfinished.

    Raises:
        CheckpointError: there is such a training, and `fresh` is false.
        RecipeError: the alignment method or the adapter is not offered, or `curation.window` was never closed.
        BaseModelError: the base model does not exist. All are found out before anything is stored.
        FeedbackError: a file named by the recipe is missing or cannot be read.
        DatabaseError, StoreError: a service is away.
    """
    if find_spec("torch"):  # on a cluster this task's image has none, and the trainings are elsewhere
        print(f"device: {models.find_device()}", flush=True)
    check_adapter(recipe.training)
    models.load_tokenizer(recipe.base)
    unpinned = models.warn_unpinned(recipe.base)
    if unpinned is not None:
        print(unpinned, flush=True)
    locate_cases(recipe.curation)
    logs = locate_logs(recipe.feedback)
    store = open_store(services)
    find_named_window(services.database_url, recipe)
    if logs is not None:
        with Progress(stream=sys.stdout) as progress:
            report = FeedbackStore(services.database_url).import_files(
                *logs,
                source=recipe.sources[0],
                quarantine_dir=services.home / "quarantine",
                erasure_key=services.erasure_key,
                progress=progress,
            )
        print(report.describe(), flush=True)
    registry = open_registry(services)
    champion = registry.get_alias(recipe.name, "champion") or ""
    begun = choose_beginning(
        recipe,
        champion,
        start,
        registry=registry,
        database_url=services.database_url,
        fetch=lambda name: fetch_dataset(services, name),
    )
    recipe = begun.recipe
    if begun.reason:
        print(begun.reason, flush=True)
    check_leftovers(services, recipe, fresh=fresh)
    _close_reviews(services.database_url, recipe, now)
    looked_at = describe_sources(count_sources(services.database_url), recipe.sources)
    opened = write_turn_window(services.database_url, recipe, folder, looked_at, begun.since)
    if isinstance(opened, str):
        folder.mkdir(parents=True, exist_ok=True)
        message = f"{begun.reason}; {opened}" if begun.reason else opened
        return OpenedTurn("", False, message, folder, champion, "", recipe, start)
    written, given_up = opened
    if given_up is not None:
        leftovers.remove_run(services.home / CHECKPOINTS, given_up)
        remove_copies(store, given_up)
    grow_suite(services.database_url, recipe)
    run = runs.open_run(
        services.database_url, recipe, written.window.to_json(), now=now, execution=execution, given_up=given_up
    )
    answer_requests(services.database_url, name=recipe.name, mode=recipe.mode, run_id=run.run_id)
    kept = Window.from_json(run.window)
    if kept != written.window:  # another turn of this recipe was quicker, and its data set is frozen
        written = write_window(services.database_url, kept, folder, limit=recipe.curation.max_interactions)
    write_suite(services.database_url, run, folder)
    if begun.reason:
        runs.note_opening(services.database_url, run.run_id, begun.to_json())
    verb = "resumes" if run.resumed else "opens"
    message = f"run {run.run_id} {verb}: {kept.interactions:,} interactions, {kept.events:,} feedback events"
    print(f"{message}\n{describe_window(written)}\nsources: {looked_at}", flush=True)
    frozen = runs.read_reports(services.database_url, run.run_id).get("curate", {})
    # A frozen data set comes out the same again only with what was mixed into it then.
    earlier = begun.replay or runs.previous_dataset(services.database_url, recipe.name) or ""
    replay = frozen.get("replay", earlier)
    return OpenedTurn(run.run_id, True, message, folder, champion, replay, recipe, start)


def _close_reviews(database_url: str, recipe: Recipe, now: datetime) -> None:
    """What people said of earlier turns' answers comes into the window that is about to close."""
    unfinished = runs.find_unfinished(database_url, recipe)
    for review, closed in close_due(
        database_url,
        recipe.name,
        source=recipe.sources[0],
        now=now,
        open_days=recipe.evaluation.review.open_days,
        but=unfinished[0].run_id if unfinished else None,
    ):
        print(
            f"review of {review.run_id} is closed: {closed.preferences} preferences, {closed.ties} ties, "
            f"{closed.unlabelled} without a label",
            flush=True,
        )


def finish_turn(services: Services, run_id: str) -> None:
    """Marks a run as succeeded; what it had in the store to go on from is not needed any more.

    Raises:
        DatabaseError: PostgreSQL is away. A store that is away costs a warning.
    """
    runs.finish_run(services.database_url, run_id)
    try:
        remove_copies(open_store(services), run_id)
    except StoreError as error:
        print(f"warning: checkpoints of {run_id} stay in the object store ({error})", flush=True)


def describe_sources(counts: Mapping[str, int], wanted: Sequence[str]) -> str:
    """The sources that a recipe learns from, and those of the database that it does not look at."""
    others = ", ".join(f"{source} ({count:,})" for source, count in counts.items() if source not in wanted)
    return ", ".join(wanted) + (f"; not looked at: {others}" if others else "")


def locate_input(path: str, field: str, *, folder: bool = False) -> Path:
    """Finds a file or folder that a recipe names: from the current folder on, else from the one that this code lies in.

    Args:
        path: As the recipe has it.
        field: Of the recipe, for the message.
        folder: Whether it is one.

    Raises:
        FeedbackError: it is in neither place.
    """
    places = list(dict.fromkeys((Path.cwd() / Path(path).expanduser(), CODE / path)))
    for place in places:
        if place.is_dir() if folder else place.is_file():
            return place
    looked = " or ".join(str(place.parent) for place in places)
    what = "folder" if folder else "file"
    raise FeedbackError(f"{field}: no {what} {path!r} under {looked}; correct the path, or start from its folder")


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


def locate_probes(evaluation: EvaluationSpec) -> EvaluationSpec:
    """The evaluation with the places where its canaries, its general suite and its lm-eval tasks were found.

    Raises:
        FeedbackError: a file or folder that the recipe names is missing.
    """
    safety, forgetting = evaluation.safety, evaluation.forgetting
    if safety.enable and safety.canaries is not None:
        found = locate_input(safety.canaries, "evaluation.safety.canaries")
        safety = safety.model_copy(update={"canaries": str(found)})
    if forgetting.enable and forgetting.suite is not None:
        found = locate_input(forgetting.suite, "evaluation.forgetting.suite")
        forgetting = forgetting.model_copy(update={"suite": str(found)})
    harness = evaluation.lm_eval
    if harness.tasks and harness.include is not None:
        found = locate_input(harness.include, "evaluation.lm_eval.include", folder=True)
        harness = harness.model_copy(update={"include": str(found)})
    return evaluation.model_copy(update={"safety": safety, "forgetting": forgetting, "lm_eval": harness})


def hold_votes(services: Services, folder: Path, card: DatasetCard) -> int:
    """Notes the votes that curation put into quarantine where an operator can see and release them; says how many.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    series, number = card.window.get("series"), card.window.get("number")
    if series is None or not number:  # a window that no database closed; a small turn's votes are the next one's
        return 0
    rows = ({**row, "rule": row["reason"].partition(":")[0]} for row in Dataset(folder).quarantined())
    return hold_events(services.database_url, (str(series), int(number)), rows)


def describe_card(card: DatasetCard, *, replay: str) -> dict[str, Any]:
    """The card as a run's report keeps it, and the earlier data set that was mixed in."""
    return {"replay": replay, "dropped": card.dropped, **card.to_json()}


def parity_conversations(folder: Path, count: int) -> list[tuple[Message, ...]]:
    """Conversations on which an exported file is compared with the trained weights: held-out prompts, each once, with
    the answer as the last turn.

    Raises:
        DatasetError: the data set has no held-out prompt.
    """
    dataset = Dataset(folder)
    answers: dict[tuple[Message, ...], str] = {}
    for part in ("test", "validation", "train"):
        for row in dataset.sft(part):
            answers.setdefault(row.prompt, row.completion)
    if not answers:
        raise DatasetError(f"{folder}: no prompt to compare the exported model on")
    return [(*prompt, Message(role="assistant", content=answer)) for prompt, answer in list(answers.items())[:count]]
