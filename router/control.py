"""The control API: champions and experiments, behind the admin key. Answers are JSON; a refusal is one line in
`error.message`.
"""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from flytewheel.experiment import experiments
from flytewheel.experiment.experiments import Experiment
from flytewheel.recipe import ShadowSpec
from flytewheel.records import to_jsonable
from router.access.callers import ADMIN, READ, caller_of
from router.access.needs import needs
from router.keeper.drilling import drill
from router.keeper.state import KeeperState
from router.refusals import RefusedError

WORKERS_A_CORE = 4  # more are slower together; 63 on two cores left the keeper no time to answer


class Strict(BaseModel):
    """Base of the bodies: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class ChampionBody(Strict):
    """`expect`: the version that must be champion now, "" for none; not given: any."""

    version: str = Field(min_length=1, max_length=100)
    expect: str | None = None


class ShadowBody(Strict):
    """A candidate that is shown copies of `share` of the requests, for so many hours."""

    candidate: str = Field(min_length=1, max_length=100)
    launch_key: str = Field(min_length=1, max_length=500)
    share: float = Field(gt=0, le=1)
    hours: float = Field(gt=0, le=10_000, allow_inf_nan=False)
    max_concurrency: int = Field(default=2, ge=1, le=1000)


class PromoteBody(Strict):
    """`fence`: the rollout's fencing token that the verdict was stored with."""

    fence: int = Field(ge=0)


class LaunchBody(Strict):
    """An experiment to open; `share`, in (0, 1], is the treatment's part of the users."""

    name: str = Field(min_length=1, max_length=100)
    control: str = Field(min_length=1, max_length=100)
    treatment: str = Field(min_length=1, max_length=100)
    share: float = Field(gt=0, le=1)
    launch_key: str = Field(min_length=1, max_length=500)
    body: dict[str, Any] = Field(default_factory=dict)


class WorkersBody(Strict):
    """How many processes answer."""

    count: int = Field(ge=1, le=64)


class StopBody(Strict):
    """Why an experiment is stopped."""

    reason: str = Field(default="stopped by hand", min_length=1, max_length=500)


class ShareBody(Strict):
    """The treatment's new share, in [0, 1]."""

    share: float = Field(ge=0, le=1)


def get_state(request: Request) -> KeeperState:
    """The running keeper's state."""
    state: KeeperState = request.app.state.router
    return state


State = Annotated[KeeperState, Depends(get_state)]


def is_admin(request: Request) -> bool:
    """Whether the request carries a key with the scope `admin`."""
    return caller_of(request.scope).may(ADMIN)


control = APIRouter(tags=["control"])
_READS, _CHANGES = [needs(READ)], [needs(ADMIN)]
_AGAIN: dict[int | str, dict[str, Any]] = {
    200: {"model": dict[str, Any], "description": "this launch key had opened it before"}
}


@control.get("/models", dependencies=_READS)
async def list_models(state: State) -> dict[str, Any]:
    """Every served model name with its champion, its running experiment and its loaded versions."""
    inflight = await state.count_inflight()
    return {
        "models": [
            {
                "name": route.name,
                "champion": route.champion,
                "experiment": to_jsonable(route.experiment),
                "backends": {
                    backend.model.version: {
                        "state": backend.state,
                        "digest": backend.model.digest,
                        "restarts": backend.restarts,
                        "inflight": inflight[backend.model.serial],
                        "pid": backend.pid,
                        "memory_bytes": backend.model.memory_bytes,
                        "warm_s": backend.model.warm_s,
                        "breaker": backend.breaker.state,
                        "most_inflight": int(backend.limit.most),
                        "failure": backend.failure,
                    }
                    for backend in state.pool.all()
                    if backend.model.name == route.name
                },
            }
            for route in state.routes.values()
        ]
    }


@control.put("/models/{name}/champion", dependencies=_CHANGES)
async def put_champion(name: str, body: ChampionBody, state: State) -> dict[str, Any]:
    """Makes a version the champion, once it is loaded; an experiment whose control it was not is stopped."""
    before = await state.set_champion(name, body.version, body.expect)
    return {"name": name, "champion": body.version, "before": before}


@control.post("/models/{name}/shadow", dependencies=_CHANGES)
async def post_shadow(name: str, body: ShadowBody, state: State) -> dict[str, Any]:
    """Shows a candidate copies of the traffic, once it is loaded; it answers nobody."""
    spec = ShadowSpec(share=body.share, hours=body.hours, max_concurrency=body.max_concurrency)
    return {"shadow": to_jsonable(await state.shadow(name, body.candidate, body.launch_key, spec))}


@control.put("/workers", dependencies=_CHANGES, responses={202: {"description": "some are still being started"}})
async def put_workers(body: WorkersBody, state: State, response: Response) -> dict[str, Any]:
    """Has so many processes answer, until the router is started anew; running answers come to their end. 202: those
    that are new do not all serve yet, and go on starting.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if body.count > WORKERS_A_CORE * cores:
        raise RefusedError(
            422,
            "invalid_request_error",
            f"{body.count} workers: this machine has {cores} cores, expected at most {WORKERS_A_CORE * cores}",
        )
    serving = await state.resize(body.count)
    if serving >= body.count:
        return {"workers": body.count}
    response.status_code = 202
    return {"workers": body.count, "serving": serving}


@control.post("/experiments", dependencies=_CHANGES, status_code=201, responses=_AGAIN)
async def post_experiment(body: LaunchBody, state: State, response: Response) -> dict[str, Any]:
    """Opens an experiment once both versions are loaded; 200, not 201, when this launch key had opened it before."""
    opened = await state.launch(
        name=body.name,
        control=body.control,
        treatment=body.treatment,
        share=body.share,
        launch_key=body.launch_key,
        body=body.body,
    )
    if not opened.created:
        response.status_code = 200
    return {
        "experiment": to_jsonable(opened.experiment),
        "created": opened.created,
        "superseded": opened.superseded,
    }


@control.get("/experiments", dependencies=_READS)
def get_experiments(
    state: State, name: Annotated[str | None, Query()] = None, running: Annotated[bool, Query()] = False
) -> dict[str, Any]:
    """Experiments, the newest first."""
    return {"experiments": to_jsonable(experiments.list_experiments(state.database_url, name=name, running=running))}


@control.get("/experiments/{experiment_id}", dependencies=_READS)
def get_experiment(experiment_id: str, state: State) -> dict[str, Any]:
    """One experiment."""
    return {"experiment": to_jsonable(experiments.get_experiment(state.database_url, experiment_id))}


@control.post("/experiments/{experiment_id}/stop", dependencies=_CHANGES)
async def stop_experiment(experiment_id: str, body: StopBody, state: State) -> dict[str, Any]:
    """Stops an experiment: everyone meets the champion again."""

    def stop() -> Experiment:
        return experiments.stop_experiment(state.database_url, experiment_id, reason=body.reason, actor="control API")

    return {"experiment": to_jsonable(await state.change(stop))}


@control.post("/experiments/{experiment_id}/promote", dependencies=_CHANGES)
async def promote_experiment(experiment_id: str, body: PromoteBody, state: State) -> dict[str, Any]:
    """Makes the treatment the champion, by the stored verdict; its control stays for the holdback, if there is one."""
    before = await state.promote(experiment_id, body.fence)
    found = await asyncio.to_thread(experiments.get_experiment, state.database_url, experiment_id)
    return {"experiment": to_jsonable(found), "before": before}


@control.post("/experiments/{experiment_id}/drill", dependencies=_CHANGES)
async def drill_experiment(experiment_id: str, state: State) -> dict[str, Any]:
    """Exercises the way back from a running experiment, with a user who exists nowhere else, and stores how it went."""
    return {"drill": to_jsonable(await drill(state, experiment_id))}


@control.patch("/experiments/{experiment_id}", dependencies=_CHANGES)
async def patch_experiment(experiment_id: str, body: ShareBody, state: State) -> dict[str, Any]:
    """Sets the treatment's share; a larger one only adds users."""

    def change() -> Experiment:
        return experiments.set_share(state.database_url, experiment_id, body.share, actor="control API")

    return {"experiment": to_jsonable(await state.change(change))}
