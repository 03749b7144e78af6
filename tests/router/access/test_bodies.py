from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.access.bodies import MAX_DEPTH, read_json
from router.refusals import RefusedError

_TEXTS = st.text(st.sampled_from('[]{}"\\:, aé\n'), max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=40,
)


def measure(value: Any) -> int:
    """The depth, the obvious way."""
    if isinstance(value, dict):
        return 1 + max(map(measure, value.values()), default=0)
    return 1 + max(map(measure, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=100)
@given(_VALUES, st.integers(245, 262))
def test_depth_is_that_of_a_parser(value: Any, wrapped: int) -> None:
    for place in range(wrapped):
        value = [value] if place % 2 else {"a": value}
    raw = json.dumps(value).encode()
    if measure(value) > MAX_DEPTH:
        with pytest.raises(RefusedError, match="at most 254 levels"):
            read_json(raw)
    else:
        assert measure(read_json(raw)) == measure(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'["]]]]",' * 300 + b"1" + b"]" * 300,
    ],
)
def test_what_is_too_deep_is_refused_quickly(raw: bytes) -> None:
    started = time.thread_time()
    with pytest.raises(RefusedError, match=r"the body (is not JSON|holds more)") as refused:
        read_json(raw)
    assert refused.value.status == 400
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize("raw", [b'"' + b"[" * 100_000 + b'"', b"[" * 254 + b"]" * 254, b"[" + b"{}," * 5000 + b"{}]"])
def test_brackets_in_texts_and_beside_each_other_are_no_depth(raw: bytes) -> None:
    assert read_json(raw) == json.loads(raw)


@pytest.mark.parametrize("raw", [b"", b"{", b"nul", b"\xff", b'"\\ud800"', b"[1,]", b"NaN", b"1e999999999", b'"\x00"'])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(RefusedError, match="the body is not JSON") as refused:
        read_json(raw)
    assert refused.value.status == 400


def test_hostile_bodies_of_the_largest_size_take_no_seconds() -> None:
    size = 20 << 20
    for unit in (b"[", b'["', b'\\"', b"\\\\", b'"[]",', b"[]{}", b'{"a":[', b"[],"):
        for raw in (unit * (size // len(unit)), b"[" + unit * (size // len(unit)) + b"1]"):
            started = time.process_time()
            with contextlib.suppress(RefusedError):
                read_json(raw)
            assert time.process_time() - started < 2.0, unit
