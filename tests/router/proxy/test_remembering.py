"""What the proxy vouches for is what the log would have made of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.experiment.experiments import Experiment
from flytewheel.feedback.logs import encode_body
from flytewheel.records import Interaction
from router.access.callers import ROOT
from router.log.rows import Plain, encode_interaction
from router.protocols import PROTOCOLS
from router.protocols.answers import Answer
from router.proxy.call import Call
from router.proxy.remembering import build_interaction
from router.state import Route
from router.units import Unit

CHAT = "/v1/chat/completions"
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
COUNTS = st.dictionaries(st.sampled_from(("prompt_tokens", "completion_tokens")), st.integers(0, 2**53 - 1))


def make_call(messages: list[dict[str, Any]], **more: Any) -> Call:
    """A call that was answered."""
    protocol = PROTOCOLS[CHAT]
    body: dict[str, Any] = {"model": "flytewheel/demo", "messages": messages, **more}
    query, context, history = protocol.admit(body)
    return Call(
        endpoint=CHAT,
        protocol=protocol,
        raw=b"",
        body=body,
        asked_model="flytewheel/demo",
        streamed=False,
        route=Route("demo", "v1"),
        caller=ROOT,
        unit=Unit("ada", "user"),
        asks=True,
        query=query,
        context=context,
        history=history,
        interaction_id="a" * 32,
        arrived=datetime(2026, 11, 28, 12, tzinfo=UTC),
        arrived_ms=1_796_212_800_000,
        started=time.perf_counter(),
        version="v1",
        digest="d" * 64,
        begun=True,
        first_s=0.0125,
        last_s=0.0625,
    )


def store(call: Call, answer: Answer, broken: str | None = None) -> tuple[bytes, bytes, bool]:
    """The line as the log makes it, the same made the long way, and whether the proxy vouched for it."""
    record = build_interaction(call, answer, broken)
    line = encode_interaction(record, "demo")
    body, digest = encode_body(Interaction(**record))
    columns = line.split(b"\t")
    assert columns[-1] == digest.encode()
    return columns[4], body.encode().replace(b"\\", b"\\\\"), type(record) is Plain


@given(
    turns=st.lists(st.tuples(st.sampled_from(("system", "user", "assistant", "tool")), TEXTS), min_size=1, max_size=4),
    said=TEXTS,
    reason=st.none() | TEXTS,
    tokens=COUNTS,
    metadata=st.none() | st.dictionaries(st.sampled_from(("topic", "session_id", "other")), TEXTS | st.integers()),
    experiment=st.booleans(),
    first_s=st.floats(0, 1e6),
)
def test_plain_record_has_the_canonical_bytes(
    turns: list[tuple[str, str]],
    said: str,
    reason: str | None,
    tokens: dict[str, int],
    metadata: dict[str, Any] | None,
    experiment: bool,
    first_s: float,
) -> None:
    messages = [{"role": role, "content": text} for role, text in turns]
    call = make_call([*messages, {"role": "user", "content": "q"}], metadata=metadata)
    call.first_s = first_s
    if experiment:
        running = Experiment("e1", "demo", "running", "v1", "v2", 0.3)
        call.route, call.arm, call.propensity = Route("demo", "v1", running), "treatment", 0.3
    line, body, plain = store(call, Answer(said.replace("\0", ""), True, reason, tokens))
    assert line == body
    assert plain


@pytest.mark.parametrize(
    "unusual",
    [
        {"fallback": "v2 broke off", "served_arm": "control", "assigned_version": "v2"},
        {"override": {"version": "v2"}},
        {"noted": {"context": {"z": 1e-7, "a": [0.1, -0.0]}}},
        {"noted": {"duel": {"place": 1, "arm": "control"}}},
        {"query": ""},
    ],
)
def test_unusual_record_is_looked_at(unusual: dict[str, Any]) -> None:
    call = make_call([{"role": "user", "content": "q"}])
    for name, value in unusual.items():
        setattr(call, name, value)
    line, body, plain = store(call, Answer("an answer", True))
    assert line == body
    assert not plain


def test_broken_answer_is_looked_at() -> None:
    call = make_call([{"role": "user", "content": "q"}])
    line, body, plain = store(call, Answer("an ans", False), "the client went away")
    assert line == body
    assert not plain
