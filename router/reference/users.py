"""`/api/users/{id}/experiment-group`: the arm that a user meets, by the same hash that the chat path uses,
or as an allocation that learns gave it.

It is looked up, not served: nothing is counted or logged, and asking changes nothing. The id is the one that requests
carry as `user`; people who are known by a cookie or a key only are not to be found here.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from flytewheel.experiment.allocation.given import find_arm
from router.access.callers import READ
from router.access.needs import needs
from router.control import State

users = APIRouter(tags=["experiments"])

UserId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]+$", description="as in `user`")]


class Group(BaseModel):
    """A user's arm in one running experiment; `propensity` is the probability of that arm."""

    experiment_id: str
    name: str
    variant: str
    version: str
    share: float
    propensity: float


class Groups(BaseModel):
    """A user's arms. Of models without an experiment everybody meets the champion, and none is listed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "ada",
                    "groups": [
                        {
                            "experiment_id": "exp-0a1b2c3d4e5f6071",
                            "name": "oncall",
                            "variant": "control",
                            "version": "v1.202646.1",
                            "share": 0.1,
                            "propensity": 0.9,
                        }
                    ],
                }
            ]
        }
    )

    user_id: str
    groups: list[Group]


@users.get("/api/users/{user_id:path}/experiment-group", dependencies=[needs(READ)])
@users.get("/users/{user_id:path}/experiment-group", dependencies=[needs(READ)])
async def get_group(
    user_id: UserId,
    state: State,
    name: Annotated[str | None, Query(max_length=100, description="of one model only")] = None,
) -> Groups:
    """The arms that a user meets in the experiments that run, by model name."""
    groups = []
    for route in sorted(state.routes.values(), key=lambda route: route.name):
        experiment = route.experiment
        if experiment is None or name not in (None, route.name):
            continue
        given = await asyncio.to_thread(find_arm, state.database_url, state.assignment_key, experiment, user_id)
        if given is None:
            continue
        arm, propensity = given
        groups.append(
            Group(
                experiment_id=experiment.experiment_id,
                name=route.name,
                variant=arm,
                version=experiment.arms[arm],
                share=experiment.share,
                propensity=propensity,
            )
        )
    return Groups(user_id=user_id, groups=groups)
