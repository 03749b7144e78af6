"""`/api/learning` (small turns) and `/api/retraining` (full ones): where they stand, and asking for one.

The router cannot train. A trigger is a durable request (`flytewheel.drift.requests`): 202 says that it is stored, no
more. The hourly look at the triggers launches it, or any turn that somebody starts answers it; until then its state is
`requested`. The same id, or header `idempotency-key`, asks once.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from flytewheel.drift import requests, standing
from flytewheel.recipe import Mode
from router.access.callers import ADMIN, READ, caller_of
from router.access.needs import needs
from router.control import State, Strict

learning = APIRouter(tags=["learning"])

_NO_NUL = r"^[^\x00]*$"
Name = Annotated[str | None, Query(max_length=100, pattern=_NO_NUL, description="one model; without it, all")]
Key = Annotated[str | None, Header(min_length=1, max_length=200, pattern=_NO_NUL)]


class TurnBody(Strict):
    """A turn to ask for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "oncall", "force": True, "reason": "the runbooks changed"}]},
    )

    name: str = Field(min_length=1, max_length=100, pattern=_NO_NUL, description="the model name")
    reason: str = Field(min_length=1, max_length=500, pattern=_NO_NUL, description="why, for the log")
    force: bool = Field(
        default=False, description="also where no trigger says that a turn is due; the recipe's least still holds"
    )
    id: str | None = Field(default=None, min_length=1, max_length=200, pattern=_NO_NUL, description="asks once")


class Asked(BaseModel):
    """A request as it is kept; `created` is false where the same id had asked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request": {
                        "request_id": "9f0c",
                        "name": "oncall",
                        "mode": "full",
                        "force": True,
                        "reason": "the runbooks changed",
                        "asked_by": "admin",
                        "state": "requested",
                    },
                    "created": True,
                }
            ]
        }
    )

    request: dict[str, Any]
    created: bool


_AGAIN: dict[int | str, dict[str, Any]] = {200: {"model": Asked, "description": "the same id had asked"}}


class Standing(BaseModel):
    """Where each model stands, with its last requests."""

    models: list[dict[str, Any]]


@learning.get("/api/learning/status", dependencies=[needs(READ)])
def get_learning(state: State, name: Name = None) -> Standing:
    """Small turns: buffer size and use, total updates, time of the last update, error trend."""
    return Standing(
        models=[
            standing.read_learning(state.database_url, one).to_json()
            | {"requests": _list_requests(state, one, "incremental")}
            for one in _names(state, name)
        ]
    )


@learning.post("/api/learning/trigger", status_code=202, responses=_AGAIN, dependencies=[needs(ADMIN)])
async def trigger_learning(
    body: TurnBody, request: Request, response: Response, state: State, idempotency_key: Key = None
) -> Asked:
    """Asks for a small turn; 200, not 202, where the same id had asked."""
    return await _ask(state, body, "incremental", request, response, idempotency_key)


@learning.get("/api/retraining/status", dependencies=[needs(READ)])
def get_retraining(state: State, name: Name = None) -> Standing:
    """Full turns: in progress, the last one, new interactions since, totals by cause, the last drift score."""
    return Standing(
        models=[
            standing.read_retraining(state.database_url, one).to_json()
            | {"requests": _list_requests(state, one, "full")}
            for one in _names(state, name)
        ]
    )


@learning.post("/api/retraining/trigger", status_code=202, responses=_AGAIN, dependencies=[needs(ADMIN)])
async def trigger_retraining(
    body: TurnBody, request: Request, response: Response, state: State, idempotency_key: Key = None
) -> Asked:
    """Asks for a full turn; 200, not 202, where the same id had asked."""
    return await _ask(state, body, "full", request, response, idempotency_key)


async def _ask(
    state: State, body: TurnBody, mode: Mode, request: Request, response: Response, key: str | None
) -> Asked:
    asked, created = await asyncio.to_thread(
        requests.ask_turn,
        state.database_url,
        request_id=body.id or key or uuid.uuid4().hex,
        name=body.name,
        mode=mode,
        force=body.force,
        reason=body.reason,
        asked_by=caller_of(request.scope).key_id or "loopback",
    )
    if not created:
        response.status_code = 200
    return Asked(request=requests.describe_state(asked), created=created)


def _names(state: State, name: str | None) -> list[str]:
    if name is not None:
        return [name]
    return sorted({*state.routes, *standing.list_names(state.database_url)})


def _list_requests(state: State, name: str, mode: Mode) -> list[dict[str, Any]]:
    found = requests.list_requests(state.database_url, name=name)
    return [requests.describe_state(one) for one in found if one.mode == mode][:10]
