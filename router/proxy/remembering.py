"""What is counted and remembered of a call once it ended."""

from __future__ import annotations

from typing import Any

from router.protocols.answers import Answer, read_answer
from router.proxy.call import Call
from router.state import RouterState


def remember(state: RouterState, call: Call, status: str, broken: str | None) -> None:
    """Counts the call and queues its interaction; a call that no answer began for leaves none."""
    name = call.route.name
    raw = b"".join(call.chunks)
    answer = read_answer(call.path, raw, streamed=call.streamed)
    if call.streamed and answer.finished:
        broken = None  # passed on up to its end: many clients hang up there
    broken = broken or answer.fault
    status = "fallback" if call.fallback and status == "200" else status
    answered = call.protocol.remembered and call.begun and call.last_s is not None and call.first_s is not None
    state.metrics.count_call(
        name,
        call.assigned_version,
        call.arm,
        "broken" if broken and call.begun else status,
        first_s=call.first_s if answered else None,
        last_s=call.last_s if answered else None,
        tokens=answer.tokens,
    )
    if not answered:
        state.log.forget(call.interaction_id)
        return
    state.log.put(build_interaction(call, answer, broken), name)


def build_interaction(call: Call, answer: Answer, broken: str | None) -> dict[str, Any]:
    experiment = call.route.experiment
    metadata: dict[str, Any] = {
        "endpoint": call.endpoint,
        "stream": call.streamed,
        "unit": call.unit,
        "first_token_ms": round(1000 * (call.first_s or 0.0), 3),
        "finish_reason": answer.finish_reason,
        **answer.tokens,
    }
    if call.fallback is not None:
        metadata |= {
            "served_arm": call.served_arm,
            "assigned_version": call.assigned_version,
            "fallback": call.fallback,
        }
    if broken is not None:
        metadata["broken"] = broken
    given = call.body.get("metadata")
    given = given if isinstance(given, dict) else {}
    return dict(
        interaction_id=call.interaction_id,
        session_id=_text(given.get("session_id")),
        user_id=call.user,
        timestamp=call.arrived,
        query=call.query,
        response=answer.text,
        context=call.context,
        history=call.history,
        topic=_text(given.get("topic")),
        model_version=call.version,
        completed=broken is None and answer.finished,
        latency_ms=round(1000 * (call.last_s or 0.0), 3),
        experiment_id=experiment.experiment_id if experiment else None,
        arm=call.arm if experiment else None,
        propensity=call.propensity,
        model_digest=call.digest,
        metadata=metadata,
    )


def _text(value: Any) -> str | None:
    return value[:200].replace("\0", "") if isinstance(value, str) and value else None
