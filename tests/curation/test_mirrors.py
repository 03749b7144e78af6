"""Mirrors of records: whatever the line, they say what pydantic says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from flytewheel.curation import mirrors
from flytewheel.curation.mirrors import MIRRORS, parse_record, read_any
from flytewheel.records import FeedbackEvent, Interaction, canonical_json
from tests.curation.record_lines import KEYS, NUMBERS, PLAIN, TEXTS, TURN, draw_lines, join_line
from tests.curation.weeks import make_busy_week


def say(read: Any, line: bytes, model: type[BaseModel]) -> str:
    """All that can be seen of what a reader gives, or its error."""
    try:
        record = read(line, model)
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    assert type(record) is model
    assert all(type(value).__name__ == "Message" for value in getattr(record, "history", ()))
    shown = record.model_copy(update={"timestamp": record.timestamp.isoformat()})  # there are several UTCs
    return f"{shown!r} {record.model_dump_json()}"


@pytest.mark.parametrize("model", [Interaction, FeedbackEvent])
def test_every_value_of_every_key_is_read_as_pydantic_reads_it(model: type[BaseModel]) -> None:
    for key, values in KEYS[model].items():
        for value in (*values, *(f'{{"n":{token}}}' for token in NUMBERS + TEXTS if key == "metadata")):
            line = join_line([*({**PLAIN[model], key: value}).items()])
            assert say(parse_record, line, model) == say(read_any, line, model), line[:300]


@settings(max_examples=400, deadline=None)
@given(draw_lines(Interaction))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b"\xff")
@example(b"\xef\xbb\xbf" + join_line([*PLAIN[Interaction].items()]))
@example(join_line([*PLAIN[Interaction].items()]).replace(b'"q"', b'"\xed\xa0\x80"'))
@example(join_line([*PLAIN[Interaction].items()]).replace(b"user_id", b"user\\u005fid"))
@example(join_line([*PLAIN[Interaction].items(), ("else", '"\x01"')]))
@example(join_line([*PLAIN[Interaction].items(), ("query", '"' + "é" * 100_000 + '"')]))
def test_any_interaction_is_read_as_pydantic_reads_it(line: bytes) -> None:
    assert say(parse_record, line, Interaction) == say(read_any, line, Interaction)


@settings(max_examples=400, deadline=None)
@given(draw_lines(FeedbackEvent))
def test_any_event_is_read_as_pydantic_reads_it(line: bytes) -> None:
    assert say(parse_record, line, FeedbackEvent) == say(read_any, line, FeedbackEvent)


def test_what_is_built_is_a_record_like_any_other() -> None:
    line = join_line([*PLAIN[Interaction].items(), ("history", f"[{TURN}]"), ("session_id", "null")])
    one, other = parse_record(line, Interaction), read_any(line, Interaction)
    assert one == other
    assert one.model_copy(update={"query": "x"}).query == "x"
    assert one.query == "q"
    assert one.history == other.history
    assert canonical_json(one) == canonical_json(other)
    assert parse_record(line, Interaction).metadata is not one.metadata
    with pytest.raises(ValueError, match="frozen"):
        one.query = "y"  # type: ignore[misc]


def test_our_own_lines_never_need_the_slow_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interactions, events = make_busy_week(3)
    monkeypatch.setattr(mirrors, "read_any", None)
    assert any(one.history for one in interactions)
    assert [parse_record(canonical_json(one), Interaction) for one in interactions] == interactions
    assert [parse_record(canonical_json(one), FeedbackEvent) for one in events] == events


@pytest.mark.parametrize("model", [*MIRRORS], ids=lambda model: model.__name__)
def test_a_mirror_has_the_fields_and_defaults_of_its_model(model: type[BaseModel]) -> None:
    def default(value: Any, factory: Any, nothing: object) -> Any:
        return factory() if callable(factory) else "needed" if value is nothing else value

    mirrored = {
        item.name: default(item.default, item.default_factory, msgspec.NODEFAULT)
        for item in msgspec.structs.fields(MIRRORS[model])
    }
    assert mirrored == {
        name: default(item.default, item.default_factory, PydanticUndefined)
        for name, item in model.model_fields.items()
    }
