"""What is counted and remembered of a call once it ended: behind the answer's back, when its last byte is sent.

The record is a plain dict of `flytewheel.records.Interaction`'s fields, which the log encodes. A request that holds no
user's text (pictures alone, token ids) is remembered under `NO_TEXT`, marked in its metadata: its answer can be rated
like any other.
"""

from __future__ import annotations

import platform
from typing import Any

from flytewheel.records import NO_TEXT
from router.feedback.grounding import Served
from router.log.rows import Plain
from router.protocols.answers import Answer, read_answer
from router.proxy.call import MOST_KEPT, Call
from router.state import RouterState

ROUTER = platform.node()[:100] or "router"  # each one's users are held against the shares, too


def remember(state: RouterState, call: Call, status: str, broken: str | None) -> int:
    """Counts the call and queues its interaction; a call that no answer began for leaves none.

    Returns:
        The tokens of prompt and answer, as the backend counted them.
    """
    name = call.route.name
    answer = read_answer(call.path, b"".join(call.chunks), streamed=call.streamed)
    if call.streamed and answer.finished:
        broken = None  # passed on up to its end: many clients hang up there
    if call.begun and broken is None and call.kept <= MOST_KEPT:
        call.fault = call.fault or find_fault(answer)
    broken = call.fault or broken or answer.fault
    if call.kept > MOST_KEPT:
        broken = broken or f"remembered are {MOST_KEPT} of {call.kept} bytes"
    status = "fallback" if call.fallback and status == "200" else status
    remembered = call.protocol.remembered and not call.route.rehearsal
    answered = remembered and call.begun and call.last_s is not None and call.first_s is not None
    state.metrics.count_call(
        name,
        call.assigned_version,
        call.arm,
        "broken" if broken and call.begun else status,
        first_s=call.first_s if answered else None,
        last_s=call.last_s if answered else None,
        tokens=answer.tokens,
    )
    if answered:
        state.log.put(build_interaction(call, answer, broken), name)
        if call.context is not None and broken is None:
            _offer_grounding(state, call, answer, call.context)
    else:
        state.log.forget(call.interaction_id)
    return sum(answer.tokens.values())


def _offer_grounding(state: RouterState, call: Call, answer: Answer, context: str) -> None:
    said = (call.query, *(turn["content"] for turn in call.history if turn["role"] in ("system", "user")))
    arm = call.served_arm or call.arm
    served = Served(call.interaction_id, call.route.name, call.version, arm, answer.text, (context, *said))
    state.feedback.grounding.offer(served)


def find_fault(answer: Answer) -> str | None:
    """Why an answer with status 200 that its backend ended is none: no JSON, not what was asked, cut without a word.
    An error that it says in so many words may be the client's own, and is none of these.
    """
    if answer.fault is not None:
        return None if answer.says_error else answer.fault
    return None if answer.finished or answer.finish_reason else "the answer has no end"


def build_interaction(call: Call, answer: Answer, broken: str | None) -> dict[str, Any]:
    """The interaction as the log takes it; names in order, as they are stored."""
    given, experiment_id, tokens = call.body.get("metadata"), call.experiment_id, answer.tokens
    metadata: dict[str, Any] = {}
    if "completion_tokens" in tokens:
        metadata["completion_tokens"] = tokens["completion_tokens"]
    metadata["endpoint"] = call.endpoint
    metadata["finish_reason"] = answer.finish_reason
    metadata["first_token_ms"] = round(1000 * (call.first_s or 0.0), 3)
    if "prompt_tokens" in tokens:
        metadata["prompt_tokens"] = tokens["prompt_tokens"]
    metadata["router"] = ROUTER
    metadata["stream"] = call.streamed
    metadata["unit"] = call.unit.kind
    more = _note_unusual(call, broken)
    record: dict[str, Any] = {}
    if experiment_id is not None:
        record["arm"] = call.arm
    record["completed"] = broken is None and answer.finished
    if call.context is not None:
        record["context"] = call.context
    if experiment_id is not None:
        record["experiment_id"] = experiment_id
    record["history"] = call.history
    record["interaction_id"] = call.interaction_id
    record["latency_ms"] = round(1000 * (call.last_s or 0.0), 3)
    record["metadata"] = metadata
    record["model_digest"] = call.digest
    record["model_version"] = call.version
    if call.propensity is not None:
        record["propensity"] = call.propensity
    record["query"] = call.query or NO_TEXT
    record["response"] = answer.text
    if given is not None and (told := _pick(given, "session_id")) is not None:
        record["session_id"] = told
    record["timestamp"] = call.arrived
    if given is not None and (told := _pick(given, "topic")) is not None:
        record["topic"] = told
    record["user_id"] = call.unit.user
    if more:  # not in order, and others' own values among it
        metadata |= more
        return record
    return Plain(record)


def _note_unusual(call: Call, broken: str | None) -> dict[str, Any]:
    """What the metadata of few calls says."""
    more: dict[str, Any] = {}
    if call.fallback is not None:
        more |= {
            "served_arm": call.served_arm,
            "assigned_version": call.assigned_version,
            "fallback": call.fallback,
        }
    if broken is not None:
        more["broken"] = broken
    if call.override is not None:
        more["override"] = {**call.override, "by": call.caller.key_id}
    if call.noted is not None:
        more |= call.noted
    if not call.query:
        more["no_text"] = True
    return more


def _pick(given: Any, name: str) -> str | None:
    value = given.get(name) if isinstance(given, dict) else None
    return value[:200].replace("\0", "") if isinstance(value, str) and value else None
