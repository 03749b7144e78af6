"""Stored bodies come back as canonical JSON, whatever numbers and characters are in them."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytewheel.feedback.stored import encode_stored, read_bodies
from flytewheel.records import canonical_json

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
BODIES = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXT, BODIES, max_size=6))
def test_the_quick_way_gives_the_same_bytes(body: dict[str, Any]) -> None:
    assert encode_stored(json.dumps(body, ensure_ascii=False)) == canonical_json(body)


@pytest.mark.parametrize(
    "number", [1e-4, 9.99e-5, 1e-7, -1e-7, 0.1, 1e15, 1e16, 123456789012345678, 2**64, 10**30, 0.0]
)
def test_numbers_that_orjson_would_write_otherwise(number: float) -> None:
    body = {"metadata": {"x": [number]}}
    assert encode_stored(json.dumps(body)) == canonical_json(body)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-(10**25), 10**25) | TEXT, max_size=6))
def test_bodies_come_back_from_the_server(plain: psycopg.Connection[Any], body: dict[str, Any]) -> None:
    text = canonical_json(body).decode()
    assert list(read_bodies(plain, "SELECT (%(body)s::jsonb)::text", {"body": text})) == [text.encode()]


@pytest.fixture
def plain(database_url: str) -> Any:
    with psycopg.connect(database_url) as connection:
        yield connection
