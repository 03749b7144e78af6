"""Which window a turn learns from: that of the run it resumes, the one that its recipe names, or a new one."""

from __future__ import annotations

from pathlib import Path

from flytewheel import runs
from flytewheel.errors import FeedbackError, RecipeError
from flytewheel.feedback.window import Window, WrittenWindow, close_window, cut_window, get_window, write_window
from flytewheel.recipe import Recipe


def write_turn_window(
    database_url: str, recipe: Recipe, folder: Path, looked_at: str, since: str | None
) -> tuple[WrittenWindow, str | None] | str:
    """Writes the window that a turn learns from; gives it, and the run that had to be given up for it, or says why not
    yet.

    An unfinished run keeps its window, so that nothing that was cut for it goes by unlearned. Only where curation
    itself failed, which the same rows would do again, is a new window taken, when there is enough for one.
    """
    limit = recipe.curation.max_interactions
    unfinished = runs.find_unfinished(database_url, recipe)
    kept = given_up = None
    if unfinished is not None:
        run, frozen = unfinished
        try:
            kept = Window.from_json(run.window)
            if since is not None and not kept.number and kept.low_xid != since:
                raise FeedbackError("another version became champion since its window was cut")
            if frozen or run.status == "running":
                return write_window(database_url, kept, folder, limit=limit), None
        except FeedbackError as error:
            runs.finish_run(database_url, run.run_id, error=str(error), station="open_turn")
            print(f"run {run.run_id} is closed as failed: {error}", flush=True)
            kept, given_up = None, run.run_id
    window = _choose_window(database_url, recipe, looked_at, since)
    if isinstance(window, str):
        if kept is None:
            return window
        window = kept
    elif kept is not None and kept.number and kept != window:
        print(f"window {kept.number} stays behind: `curation.window: {kept.number}` learns from it", flush=True)
    return write_window(database_url, window, folder, limit=limit), given_up


def _choose_window(database_url: str, recipe: Recipe, looked_at: str, since: str | None) -> Window | str:
    """The window that the recipe names, else a new one, else the last one where nothing came in since; or "not yet".

    A small turn takes what came in `since` its champion's window ended and closes nothing, so that the next full turn
    learns from these rows as well.
    """
    named, needed = find_named_window(database_url, recipe), recipe.curation.min_interactions
    if named is not None:
        return named
    if since is not None:
        cut = cut_window(database_url, recipe.name, recipe.sources, low_xid=since, at_least=needed)
        return cut.window or (
            f"not yet: {cut.interactions:,} of {needed:,} interactions since the champion's own, in {looked_at} "
            "(collect more, or lower automation.incremental.after_interactions)"
        )
    closing = close_window(database_url, recipe.name, recipe.sources, at_least=needed)
    if closing.window is None:
        since = f" since window {closing.since} closed," if closing.since and not closing.again else ""
        again = f" in window {closing.since}, and nothing new since," if closing.again else ""
        return (
            f"not yet: {closing.interactions:,} of {needed:,} interactions{since}{again} in {looked_at} "
            "(collect more, `flytewheel feedback import … --source NAME`, or lower curation.min_interactions)"
        )
    if closing.again:
        print(f"no new feedback since window {closing.since} closed: learning from it again", flush=True)
    return closing.window


def find_named_window(database_url: str, recipe: Recipe) -> Window | None:
    number = recipe.curation.window
    if number == "new":
        return None
    try:
        return get_window(database_url, recipe.name, recipe.sources, number)
    except FeedbackError as error:
        raise RecipeError("curation.window", [str(error)]) from None


def describe_window(written: WrittenWindow) -> str:
    """A window in one line: its number, what it brings along and what there was no room for."""
    window = written.window
    parts = [f"window {window.number} of series {window.series}" if window.number else f"cut from {window.series}"]
    if window.revisited:
        parts.append(f"{window.revisited:,} earlier interactions come along with {window.earlier_events:,} events")
    if window.releases:
        parts.append(f"{window.releases:,} votes were released from quarantine")
    if written.skipped or written.skipped_revisited:
        skipped = written.skipped + written.skipped_revisited
        parts.append(f"{skipped:,} interactions skipped, more than curation.max_interactions")
    return "; ".join(parts)
