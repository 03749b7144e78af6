"""`POST /v1/duels/chat/completions`: a chat request that is answered by both arms of the running experiment.

A client of OpenAI's protocol takes `…/v1/duels` as its base URL, for users who agreed to it: the header
`x-flytewheel-duel: consented` says so, and without it nothing is asked. The answer has two choices in an order that a
coin decides for each duel; what could tell the arms apart (version, backend, timings, token counts, headers) is left
out, and the receipts do not name it. Each choice carries its `interaction_id` and `receipt`: what was chosen is said
through `/v1/feedback` as a `duel` (`preferred`: this, other or tie; `other_response`: the other answer), of either one.

Both answers are remembered as interactions with one duel's id, outside of the experiment: nobody who sees both counts
for an arm. Where there is nothing to compare (no experiment, or an answer failed), one answer comes, as it would have.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Mapping, MutableMapping
from typing import Any

import orjson
from msgspec.structs import replace

from router.asgi import HEADERS, Receive, Scope, Send
from router.paths import CHAT
from router.proxy.arms import keep_back, leave_out
from router.proxy.call import Call, read_call
from router.proxy.endpoint import ChatProxy, UserMeter
from router.proxy.opening import Opener
from router.proxy.relay import relay
from router.proxy.remembering import remember
from router.receipts import Receipt
from router.refusals import RefusedError, send_error
from router.state import RouterState
from router.table import Route

CONSENT, CONSENTED = b"x-flytewheel-duel", b"consented"
ARM = "duel"  # of such answers in receipts and metrics


class DuelEndpoint:
    """The ASGI endpoint.

    Args:
        state: this process's.
        proxy: answers what is no duel.
        meter: counts what users of a key with limits use; a duel is two requests.
    """

    def __init__(self, state: RouterState, proxy: ChatProxy, meter: UserMeter) -> None:
        self._state = state
        self._proxy = proxy
        self._meter = meter
        self._opener = Opener(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Mapping[bytes, bytes] = scope.get(HEADERS) or dict(scope["headers"])
        if headers.get(CONSENT, b"").strip().lower() != CONSENTED:
            raise RefusedError(
                400,
                "invalid_request_error",
                "a duel is for users who agreed to compare two answers: expected the header 'x-flytewheel-duel: "
                "consented'; ask /v1/chat/completions for all others",
            )
        scope = {**scope, "path": CHAT}
        call = await read_call(self._state, scope, receive)
        if call is None:
            return
        if call.streamed:
            raise RefusedError(400, "invalid_request_error", "a duel is answered whole: leave `stream` out")
        if keep_back(self._state, call) is not None:  # whom a holdback counts is asked nothing beside it
            call.route = dataclasses.replace(call.route, experiment=None)
        leave_out(self._state, call)
        if call.route.experiment is None or call.override is not None or call.body.get("n", 1) != 1:
            await self._proxy(scope, _replay(call.raw, receive), send)
            return
        if call.caller.limited:
            for _ in range(2):
                self._meter.admit_user(call.caller, call.unit.user)
        await self._fight(call, send)

    async def _fight(self, call: Call, send: Send) -> None:
        sides = _split(call)
        found = await asyncio.gather(*(self._answer(side) for side in sides))
        whole = [answer for answer in found if isinstance(answer, dict)]
        if not whole:
            refused = next(answer for answer in found if isinstance(answer, RefusedError))
            await send_error(send, refused, path=CHAT)
            return
        body = orjson.dumps(self._join(call, sides, found))
        own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        own.append((b"x-flytewheel-unit", call.unit.kind.encode()))
        if call.unit.cookie is not None:
            own.append((b"set-cookie", call.unit.cookie))
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, side: Call) -> dict[str, Any] | RefusedError:
        """One arm's answer as it came, remembered; or why there is none."""
        sent: list[bytes] = []

        async def take(message: MutableMapping[str, Any]) -> None:
            sent.append(message.get("body", b""))

        state, status, broken = self._state, "cancelled", None
        state.log.expect(side.interaction_id)
        try:
            reply = await self._opener.open(side)
            try:
                status = str(reply.status)
                broken = await relay(state, side, reply, take)
            finally:
                reply.close()
            content = orjson.loads(b"".join(sent))
            if not side.begun or broken or not isinstance(content, dict) or not content.get("choices"):
                return RefusedError(502, "server_error", "the model did not answer; try again", "backend_unavailable")
        except orjson.JSONDecodeError:
            return RefusedError(502, "server_error", "the model's answer is no JSON; try again", "backend_unavailable")
        except RefusedError as refused:
            status = str(refused.status)
            return refused
        else:
            return content
        finally:
            tokens = remember(state, side, status, broken)
            if tokens and side.caller.limited:
                self._meter.charge(side.caller, side.unit.user, tokens)

    def _join(self, call: Call, sides: list[Call], found: list[dict[str, Any] | RefusedError]) -> dict[str, Any]:
        choices: list[dict[str, Any]] = []
        for side, answer in zip(sides, found, strict=True):
            if isinstance(answer, dict):
                first = answer["choices"][0]
                own = {"interaction_id": side.interaction_id, "receipt": self._sign(side)}
                # Nothing but what was said: fingerprints, timings and log probabilities differ from model to model.
                said = {key: first.get(key) for key in ("message", "finish_reason")}
                choices.append({"index": len(choices), **said, "flytewheel": own})
        assert call.noted is None
        duel = sides[0].noted["duel"]["id"] if sides[0].noted else ""
        return {
            "id": f"duel-{duel}",
            "object": "chat.completion",
            "created": int(call.arrived.timestamp()),
            "model": call.asked_model,
            "choices": choices,
            "flytewheel": {"duel_id": duel if len(choices) == 2 else None},
        }

    def _sign(self, side: Call) -> str:
        """A receipt that does not say which version it is of: who holds it may be the one who chooses."""
        return self._state.receipts.sign(
            Receipt(
                interaction_id=side.interaction_id,
                user=side.unit.user,
                source=side.route.name,
                version="",
                arm=ARM,
                propensity=None,
                experiment_id=None,
                given_ms=int(side.arrived.timestamp() * 1000),
            )
        )


def _split(call: Call) -> list[Call]:
    """The same request to control and treatment, in the order of a coin."""
    experiment = call.route.experiment
    assert experiment is not None
    duel = secrets.token_hex(16)
    arms = ["control", "treatment"]
    if secrets.randbits(1):
        arms.reverse()
    return [
        replace(
            call,
            interaction_id=secrets.token_hex(16),
            # As if nothing but this version were there: the answer belongs to no arm, and no other one answers for it.
            route=Route(call.route.name, experiment.arms[arm]),
            chunks=[],
            noted={"duel": {"id": duel, "experiment_id": experiment.experiment_id, "arm": arm, "place": place}},
        )
        for place, arm in enumerate(arms)
    ]


def _replay(raw: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already once more."""
    waiting = [{"type": "http.request", "body": raw, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return again
