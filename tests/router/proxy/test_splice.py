from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.proxy.splice import put_model

TEXTS = st.text(alphabet=st.sampled_from('model":\\,{}[] \n\x00é😀'), max_size=12) | st.just("model")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"flytewheel/demo","temperature":1.0,"seed":123456789012345678901234567890,"x":1e5,"y":-0.0}',
        ' {\n "messages" : [ {"role":"user","content":"a \\"model\\": \\u00e9"} ] , "model" :\t"flytewheel/demo" }\n',
        '{"tools":[{"model":"flytewheel/demo"}],"model":"flytewheel/demo","a":{"model":"b"}}',
        '{"x":"{","model":"flytewheel/demo","y":{"model":{"model":"}"}}}',
        '{"a\\"model":"flytewheel/demo","model":"flytewheel/demo"}',
        '{"n":1,"model":"flytewheel\\/demo"}',
    ],
)
def test_nothing_else_changes(body: str) -> None:
    """Taken back by hand: the one place where the alias came in."""
    spliced = put_model(body.encode(), "flytewheel/demo", 'inner"é').decode()
    assert json.loads(spliced)["model"] == 'inner"é'
    assert spliced.count('"inner\\"é"') == 1
    for written in ('"flytewheel/demo"', '"flytewheel\\/demo"'):
        if spliced.replace('"inner\\"é"', written) == body:
            return
    pytest.fail(f"{body} became {spliced}")


def test_of_two_models_neither_is_left() -> None:
    body = b'{"model":"other","model":"flytewheel/demo","nested":{"model":"other"}}'
    assert put_model(body, "flytewheel/demo", "a") == b'{"model":"a","model":"a","nested":{"model":"other"}}'


def test_further_fields_come_last_where_they_outweigh_a_clients() -> None:
    body = b'{"model":"m","lora":1} \n'
    spliced = put_model(body, "m", "a", {"lora": [{"id": 0}]})
    assert spliced == b'{"model":"a","lora":1,"lora":[{"id":0}]}'
    assert json.loads(spliced)["lora"] == [{"id": 0}]


@given(st.lists(st.tuples(TEXTS, VALUES), max_size=5), st.integers(0, 5), st.booleans())
def test_any_body_reads_as_before_but_for_its_model(
    fields: list[tuple[str, Any]], place: int, ascii_only: bool
) -> None:
    fields = [field for field in fields if field[0] != "model"]
    fields.insert(place, ("model", "m"))
    pairs = (json.dumps(key, ensure_ascii=ascii_only) + ": " + json.dumps(value) for key, value in fields)
    body = "{" + ", ".join(pairs) + "}"
    spliced = put_model(body.encode(), "m", "alias")
    assert json.loads(spliced) == json.loads(body) | {"model": "alias"}
    assert len(spliced) == len(body.encode()) + len("alias") - len("m")


def test_a_body_that_is_put_together_anew_keeps_its_values_byte_for_byte() -> None:
    """A key written with escapes, and more nested keys of that name than are judged."""
    assert put_model(b'{"mod\\u0065l":"m", "n":1.0}', "m", "a") == b'{"model":"a","n":1.0}'
    nested = b"[" + b'{"model":"x"},' * 1_000_000 + b"1e5]"
    assert put_model(b'{ "a": ' + nested + b' ,"model":"m"}', "m", "b") == b'{"a":' + nested + b',"model":"b"}'


def test_a_hostile_body_costs_no_more_than_its_length() -> None:
    """4 MiB of nested `model` keys, of quotes, of backslashes: 50 ms each here, a second would stop everybody."""
    for filling in (b'{"model":""},' * 300_000, b'"\\"",' * 800_000, b'"' + b"\\\\" * 2_000_000 + b'",'):
        body = b'{"a":[' + filling + b'0],"model":"m"}'
        begun = time.process_time()
        assert put_model(body, "m", "alias").endswith(b',"model":"alias"}')
        assert time.process_time() - begun < 0.5
