"""The pages `/ui/experiments` and `/ui/experiments/{id}`: experiments as a person reads them, for keys with `read`.

The server draws them whole: no script, no build step, nothing loaded from elsewhere, and their policy lets them load
nothing. A browser asks for the key itself (HTTP Basic, any name, the key as the password: `router.access.basic`).
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Response

from flytewheel.errors import ExperimentError
from flytewheel.experiment.experiments import find_experiment
from flytewheel.experiment.reading.history import History, read_history
from flytewheel.experiment.reading.summary import summarise
from router.access.callers import READ
from router.access.needs import needs
from router.control import State
from router.experiments_page.listing import draw_listing
from router.experiments_page.page import draw_page

__all__ = ["experiments_page"]

PAGE = "/ui/experiments"
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
Text = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]

experiments_page = APIRouter(include_in_schema=False, dependencies=[needs(READ)])


@experiments_page.get(PAGE)
def show_listing(
    state: State, name: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")] = None
) -> Response:
    """Every experiment, the newest first."""
    return _answer(draw_listing(summarise(state.database_url, name=name), name))


@experiments_page.get(PAGE + "/{experiment_id}")
async def show_experiment(experiment_id: Text, state: State) -> Response:
    """One experiment: the verdict in words, intervals over time, guardrails, split, traffic."""
    return _answer(draw_page(await asyncio.to_thread(_read, state.database_url, experiment_id)))


def _read(database_url: str, experiment_id: str) -> History:
    if find_experiment(database_url, experiment_id) is None:
        raise HTTPException(404, f"no experiment {experiment_id[:100]!r}; see {PAGE}")
    try:
        return read_history(database_url, experiment_id)
    except ExperimentError as error:
        raise HTTPException(404, str(error)) from None


def _answer(page: str) -> Response:
    return Response(page, media_type="text/html", headers=_HEADERS)
