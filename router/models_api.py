"""What models there are, in OpenAI's words and in Ollama's; and the paths that Ollama's clients look at first.

Told are the routed names, each by the version that most of its users meet: the champion. Models are changed by the
registry's commands; Ollama's own paths for that are refused with the next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from flytewheel import __version__
from flytewheel.modelfile import Value
from router.access.callers import PUBLIC, SERVE
from router.access.needs import needs
from router.backends.served import ServedModel
from router.cards import Card
from router.control import State
from router.keeper.state import KeeperState
from router.paths import LATEST, MODEL_PREFIX, read_name
from router.refusals import RefusedError

SPOKEN = "0.13.0"  # the version of Ollama's API that is spoken here; clients compare it with what they need
_NEVER = datetime(2318, 1, 1, tzinfo=UTC)  # Ollama's own way to say that a model stays in memory
_CHANGING = (
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
)

models = APIRouter(tags=["models"])


class ShowBody(BaseModel):
    """Which model; `name` is what older clients call it."""

    model: str | None = None
    name: str | None = None
    verbose: bool = False


@models.get("/v1/models", dependencies=[needs(SERVE)])
async def list_served(state: State) -> dict[str, Any]:
    """The routed names, in OpenAI's shape."""
    return {"object": "list", "data": [_describe_openai(state, name) for name in sorted(state.routes)]}


@models.get("/v1/models/{model:path}", dependencies=[needs(SERVE)])
async def get_served(model: str, state: State) -> dict[str, Any]:
    """One of the routed names, in OpenAI's shape."""
    return _describe_openai(state, _find(state, model))


@models.head("/api/version", dependencies=[needs(PUBLIC)], include_in_schema=False)
@models.get("/api/version", dependencies=[needs(PUBLIC)])
async def get_version() -> dict[str, str]:
    """The version of Ollama's API that is spoken here, and the router's own."""
    return {"version": SPOKEN, "flytewheel": __version__}


@models.head("/", dependencies=[needs(PUBLIC)], include_in_schema=False)
@models.get("/", dependencies=[needs(PUBLIC)], include_in_schema=False)
async def get_root() -> Response:
    """What Ollama's clients look for before anything else, word by word."""
    return PlainTextResponse("Ollama is running")


@models.head("/api/tags", dependencies=[needs(SERVE)], include_in_schema=False)
@models.get("/api/tags", dependencies=[needs(SERVE)])
async def list_tags(state: State) -> dict[str, Any]:
    """The routed names whose champion is here, in Ollama's shape."""
    return {"models": [_describe_ollama(name, model) for name, model in _list_known(state)]}


@models.get("/api/ps", dependencies=[needs(SERVE)])
async def list_running(state: State) -> dict[str, Any]:
    """Those that answer now; they stay in memory as long as they are routed."""
    ready = {(backend.model.name, backend.model.version) for backend in state.pool.all() if backend.state == "ready"}
    return {
        "models": [
            _describe_ollama(name, model) | {"expires_at": _NEVER, "size_vram": 0, "context_length": model.slot_tokens}
            for name, model in _list_known(state)
            if (model.name, model.version) in ready
        ]
    }


@models.post("/api/show", dependencies=[needs(SERVE)])
async def show(body: ShowBody, state: State) -> dict[str, Any]:
    """One of them in full."""
    name = _find(state, body.model or body.name or "")
    model = state.pool.find_model(name, state.routes[name].champion)
    if model is None or model.card is None:
        raise RefusedError(503, "server_error", f"model {MODEL_PREFIX}{name} is being loaded; try again")
    card, modelfile = model.card, model.card.modelfile
    return {
        "license": card.license,
        "modelfile": "" if modelfile is None else modelfile.to_text(),
        "parameters": _write_parameters(modelfile.parameters if modelfile else {}),
        "template": card.template,
        "system": modelfile.system or "" if modelfile else "",
        "details": _describe_details(card),
        "model_info": {"general.parameter_count": card.parameters, **card.values},
        "capabilities": card.capabilities,
        "modified_at": card.created_at,
    }


async def refuse_change() -> Response:
    """Models are not changed by those who use them."""
    said = "models are registered and released by flytewheel (flytewheel models --help), not by Ollama's clients"
    return Response(orjson.dumps({"error": said}), 403, media_type="application/json")


for _method, _path in _CHANGING:
    models.add_api_route(_path, refuse_change, methods=[_method], dependencies=[needs(SERVE)], include_in_schema=False)


def _list_known(state: KeeperState) -> list[tuple[str, ServedModel]]:
    """The routed names whose champion's files are here."""
    found = [(name, state.pool.find_model(name, route.champion)) for name, route in sorted(state.routes.items())]
    return [(name, model) for name, model in found if model is not None and model.card is not None]


def _find(state: KeeperState, asked: str) -> str:
    name = read_name(asked)
    if name is None or name not in state.routes:
        raise RefusedError(404, "invalid_request_error", f"model {asked!r} not found", "model_not_found")
    return name


def _describe_openai(state: KeeperState, name: str) -> dict[str, Any]:
    model = state.pool.find_model(name, state.routes[name].champion)
    created = int(model.card.created_at.timestamp()) if model is not None and model.card is not None else 0
    return {"id": MODEL_PREFIX + name, "object": "model", "created": created, "owned_by": "flytewheel"}


def _describe_ollama(name: str, model: ServedModel) -> dict[str, Any]:
    assert model.card is not None
    called = MODEL_PREFIX + name + LATEST
    return {
        "name": called,
        "model": called,
        "modified_at": model.card.created_at,
        "size": model.card.size,
        "digest": model.digest,
        "details": _describe_details(model.card),
    }


def _describe_details(card: Card) -> dict[str, Any]:
    return {
        "parent_model": card.base,
        "format": card.format,
        "family": card.family,
        "families": [card.family] if card.family else [],
        "parameter_size": card.parameter_size,
        "quantization_level": card.quantization,
    }


def _write_parameters(parameters: Mapping[str, Value]) -> str:
    """As Ollama tells them: a line each, the value as JSON has it."""
    told = [
        (name, each) for name, value in parameters.items() for each in (value if isinstance(value, tuple) else (value,))
    ]
    return "\n".join(f"{name:<30} {orjson.dumps(value).decode()}" for name, value in told)
