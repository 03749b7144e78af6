"""`/api/experiments`: an experiment is created as a draft, started, stopped, and read while it runs.

Deciding stays where it is: starting is the control API's launch (both versions loaded first, control must be the
champion, a running experiment is superseded), stopping its stop. What is created here meets nobody until it is started,
because the notes' API has the two calls apart; `start: true` does both. A repeated request changes nothing: the key is
the client's, or made from what the experiment says.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from flytewheel.errors import ExperimentError
from flytewheel.experiment import experiments as store
from flytewheel.experiment.drafts import draft_experiment
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.results import Results, read_results
from flytewheel.recipe import AbTestingSpec
from flytewheel.records import digest, to_jsonable
from router.access.callers import ADMIN, READ
from router.access.needs import needs
from router.control import State, StopBody, Strict

Text = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
ExperimentId = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
INITIAL_SHARE = AbTestingSpec().initial_traffic_split

experiments = APIRouter(prefix="/api/experiments", tags=["experiments"])


class ExperimentBody(Strict):
    """An experiment to write down. Without `control` it is the champion of the moment."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "oncall", "treatment": "v1.202647.1", "share": 0.1, "description": "week 47"}]
        },
    )

    name: Text = Field(description="the model name")
    treatment: Text = Field(description="version that a part of the users meets")
    control: Text | None = Field(default=None, description="version that the others meet: the champion")
    share: float = Field(default=INITIAL_SHARE, gt=0, le=1, description="the treatment's part of the users")
    key: Text | None = Field(default=None, description="the same key creates once; without one, the same content does")
    description: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")
    start: bool = Field(default=False, description="start it at once")


class ShownExperiment(BaseModel):
    """An experiment as it stands."""

    id: str
    name: str
    state: Literal["draft", "running", "holdback", "stopped"]
    control: str
    treatment: str
    share: float
    description: str
    reason: str | None
    created_at: str | None
    stopped_at: str | None


class CreatedExperiment(BaseModel):
    """`created` is false where the same key had created it; `superseded` is the experiment that it ended."""

    experiment: ShownExperiment
    created: bool
    superseded: str | None = None


_AGAIN: dict[int | str, dict[str, Any]] = {
    200: {"model": CreatedExperiment, "description": "the same key had created it"}
}


class ListedExperiments(BaseModel):
    """Experiments, the newest first."""

    experiments: list[ShownExperiment]


class ShownVariant(BaseModel):
    """One arm in the present stage. `rate` is conversions (last vote up) over impressions (requests)."""

    variant: Literal["control", "treatment"]
    version: str
    share: float
    users: int
    impressions: int
    conversions: int
    rate: float | None
    latency_ms: dict[str, float] | None = Field(description="mean, p50 and p95 to the last token")


class ShownResults(BaseModel):
    """What the present stage shows. `interval` of the difference holds at every look together, at `level`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "experiment": {
                        "id": "exp-0a1b2c3d4e5f6071",
                        "name": "oncall",
                        "state": "running",
                        "control": "v1.202646.1",
                        "treatment": "v1.202647.1",
                        "share": 0.1,
                        "description": "week 47",
                        "reason": None,
                        "created_at": "2026-11-21T12:00:00+00:00",
                        "stopped_at": None,
                    },
                    "stage": 0,
                    "since": "2026-11-21T12:00:00+00:00",
                    "variants": [],
                    "winner": None,
                    "reason": "no winner yet: the interval of the difference holds 0",
                    "level": 0.95,
                    "confidence": 0.41,
                    "difference": 0.012,
                    "interval": [-0.05, 0.074],
                }
            ]
        }
    )

    experiment: ShownExperiment
    stage: int | None
    since: str | None
    variants: list[ShownVariant]
    winner: Literal["control", "treatment"] | None
    reason: str
    level: float
    confidence: float | None = Field(description="1 − p of 'no difference', valid at every look")
    difference: float | None = Field(description="treatment − control, of the rate")
    interval: tuple[float, float] | None
    decision: str | None = Field(default=None, description="the newest that was taken for the rollout, if any")


@experiments.get("", dependencies=[needs(READ)])
def list_experiments(
    state: State,
    name: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")] = None,
    running: Annotated[bool, Query()] = False,
) -> ListedExperiments:
    """Experiments, the newest first; drafts and stopped ones too unless `running`."""
    found = store.list_experiments(state.database_url, name=name, running=running)
    return ListedExperiments(experiments=[show_experiment(one) for one in found])


@experiments.post("", status_code=201, responses=_AGAIN, dependencies=[needs(ADMIN)])
async def create_experiment(body: ExperimentBody, state: State, response: Response) -> CreatedExperiment:
    """Writes an experiment down, and with `start` launches it; 200, not 201, where the same key had created it."""
    route = state.routes.get(body.name)
    control = body.control or (route.champion if route else None)
    if control is None:
        raise ExperimentError(f"no model {body.name!r} with a champion: name the version that is control")
    said = body.model_dump(include={"name", "treatment", "share", "description"}) | {"control": control}
    launch: dict[str, Any] = {
        "name": body.name,
        "control": control,
        "treatment": body.treatment,
        "share": body.share,
        "launch_key": f"api:{body.key or digest(said)[:32]}",
        "body": {"description": body.description},
    }
    opened = await asyncio.to_thread(draft_experiment, state.database_url, **launch)
    superseded = None
    if body.start and opened.experiment.draft:
        started = await state.launch(**_relaunch(opened.experiment))
        experiment, superseded = started.experiment, started.superseded
    else:
        experiment = opened.experiment
    if not opened.created:
        response.status_code = 200
    return CreatedExperiment(experiment=show_experiment(experiment), created=opened.created, superseded=superseded)


@experiments.get("/{experiment_id}", dependencies=[needs(READ)])
def get_experiment(experiment_id: ExperimentId, state: State) -> ShownExperiment:
    """One experiment."""
    return show_experiment(_find(state, experiment_id))


@experiments.post("/{experiment_id}/start", dependencies=[needs(ADMIN)])
async def start_experiment(experiment_id: ExperimentId, state: State) -> CreatedExperiment:
    """Starts a draft once both versions are loaded; one that runs stays as it is. A stopped one does not come back."""
    found = await asyncio.to_thread(_find, state, experiment_id)
    if found.running:
        return CreatedExperiment(experiment=show_experiment(found), created=False)
    if not found.draft:
        raise ExperimentError(
            f"experiment {experiment_id} has stopped ({found.reason}); create another one with another key"
        )
    opened = await state.launch(**_relaunch(found))
    return CreatedExperiment(
        experiment=show_experiment(opened.experiment), created=opened.created, superseded=opened.superseded
    )


@experiments.post("/{experiment_id}/stop", dependencies=[needs(ADMIN)])
async def stop_experiment(experiment_id: ExperimentId, state: State, body: StopBody | None = None) -> ShownExperiment:
    """Stops an experiment: everyone meets the champion again. A draft is given up; a stopped one stays as it is."""
    reason = (body or StopBody()).reason
    await asyncio.to_thread(_find, state, experiment_id)

    def stop() -> Experiment:
        return store.stop_experiment(state.database_url, experiment_id, reason=reason, actor="reference API")

    return show_experiment(await state.change(stop))


@experiments.get("/{experiment_id}/results", dependencies=[needs(READ)])
def get_results(experiment_id: ExperimentId, state: State) -> ShownResults:
    """Impressions, conversions, rate and latency of each variant in the present stage, and the winner, if any."""
    _find(state, experiment_id)
    return show_results(read_results(state.database_url, experiment_id))


def show_experiment(experiment: Experiment) -> ShownExperiment:
    """An experiment as the API shows it."""
    return ShownExperiment(
        id=experiment.experiment_id,
        name=experiment.name,
        state=experiment.state,  # type: ignore[arg-type]  # the table's own check
        control=experiment.control,
        treatment=experiment.treatment,
        share=experiment.share,
        description=str(experiment.body.get("description", "")),
        reason=experiment.reason,
        created_at=experiment.created_at.isoformat() if experiment.created_at else None,
        stopped_at=experiment.stopped_at.isoformat() if experiment.stopped_at else None,
    )


def show_results(results: Results) -> ShownResults:
    """Results as the API shows them."""
    return ShownResults(
        experiment=show_experiment(results.experiment),
        stage=results.stage,
        since=results.since.isoformat() if results.since else None,
        variants=[ShownVariant(**to_jsonable(variant)) for variant in results.variants],
        winner=results.winner,
        reason=results.reason,
        level=results.level,
        confidence=results.confidence,
        difference=results.difference,
        interval=results.interval,
        decision=results.decision,
    )


def _find(state: State, experiment_id: str) -> Experiment:
    found = store.find_experiment(state.database_url, experiment_id)
    if found is None:
        raise HTTPException(404, f"no experiment {experiment_id!r}; list them with GET /api/experiments")
    return found


def _relaunch(draft: Experiment) -> dict[str, Any]:
    return {key: getattr(draft, key) for key in ("name", "control", "treatment", "share", "launch_key", "body")}
