"""Reading logs: good lines come through, every kind of bad line is a fault with its reason, and nothing is fatal."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import (
    MAX_LINE_BYTES,
    Entry,
    Fault,
    check_log,
    encode_body,
    hold_line,
    read_log,
    scan_log,
)
from flytewheel.records import FeedbackEvent, Interaction, canonical_json, digest

SAID = {
    "interaction_id": "i1",
    "user_id": "u1",
    "timestamp": "2026-11-09T12:00:00Z",
    "query": "The queue grows.",
    "response": "Scale the workers.",
}
DOWN = {
    "event_id": "e1",
    "interaction_id": "i1",
    "user_id": "u1",
    "feedback_type": "thumbs_down",
    "timestamp": "2026-11-09T12:00:09+00:00",
}


def write(path: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    data = b"".join(
        (line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()) + b"\n"
        for line in lines
    )
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def reason_of(path: Path, line: str | bytes | dict[str, Any], model: Any = FeedbackEvent) -> str | None:
    [(_, found)] = read_log(write(path, line), model)
    return found.reason if isinstance(found, Fault) else None


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_good_lines_with_their_numbers(tmp_path: Path, name: str) -> None:
    path = write(
        tmp_path / name, b"\xef\xbb\xbf" + json.dumps(SAID).encode(), "", "  \r", {**SAID, "interaction_id": "i2"}
    )
    found = dict(read_log(path, Interaction))
    assert {number: record.interaction_id for number, record in found.items()} == {1: "i1", 4: "i2"}
    assert found[1] == Interaction.model_validate(SAID)


def test_last_line_may_lack_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(json.dumps(SAID).encode())
    assert [number for number, record in read_log(path, Interaction) if isinstance(record, Interaction)] == [1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("thumbs up!", "not JSON"),
        ('{"event_id": "e1"', "not JSON"),
        ("[1, 2]", "not an object"),
        ("7", "not an object"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "not JSON"),
        ({key: value for key, value in DOWN.items() if key != "user_id"}, "missing user_id"),
        ({**DOWN, "user_id": ""}, "empty user_id"),
        ({**DOWN, "user_id": "u" * 201}, "user_id too long"),
        ({**DOWN, "user_id": 7}, "wrong user_id"),
        ({**DOWN, "feedback_type": "applause"}, "unknown feedback_type"),
        ({**DOWN, "feedback_type": None}, "missing feedback_type"),
        ({**DOWN, "feedback_type": ["thumbs_up"]}, "unknown feedback_type"),
        ({**DOWN, "timestamp": "2026-11-09T12:00:00"}, "naive timestamp"),
        ({**DOWN, "timestamp": "yesterday"}, "wrong timestamp"),
        ({**DOWN, "timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp out of range"),
        ({**DOWN, "feedback_type": "rating", "rating": 6}, "rating outside 1..5"),
        ({**DOWN, "feedback_type": "rating", "rating": 0}, "rating outside 1..5"),
        ({**DOWN, "feedback_type": "rating", "rating": 10**400}, "wrong rating"),
        ({**DOWN, "feedback_type": "rating", "rating": True}, "wrong rating"),
        ({**DOWN, "feedback_type": "rating"}, "missing rating"),
        ({**DOWN, "rating": 4}, "rating on another type"),
        ({**DOWN, "feedback_type": "correction", "corrected_response": " "}, "missing corrected_response"),
        ({**DOWN, "corrected_response": "no"}, "corrected_response on another type"),
        ({**DOWN, "feedback_type": "edit"}, "missing corrected_response"),
        ({**DOWN, "feedback_type": "duel", "preferred": "this"}, "missing other_response"),
        ({**DOWN, "feedback_type": "duel", "preferred": "this", "other_response": " "}, "missing other_response"),
        ({**DOWN, "feedback_type": "duel", "other_response": "Restart."}, "missing preferred"),
        ({**DOWN, "feedback_type": "duel", "other_response": "Restart.", "preferred": "mine"}, "wrong preferred"),
        ({**DOWN, "other_response": "Restart."}, "other_response on another type"),
        ({**DOWN, "preferred": "tie"}, "preferred on another type"),
        ({**DOWN, "comment": 7}, "wrong comment"),
        ({**DOWN, "feedback_type": "accepted", "metadata": {"seconds": "soon"}}, "wrong metadata.seconds"),
        ({**DOWN, "feedback_type": "citation_click", "metadata": {"count": -1}}, "wrong metadata.count"),
        ({**DOWN, "feedback_type": "citation_click", "metadata": {"count": True}}, "wrong metadata.count"),
        ({**DOWN, "metadata": [1]}, "wrong metadata"),
        (json.dumps(DOWN)[:-1] + ', "metadata": {"x": NaN}}', "number out of range"),
        (json.dumps(DOWN)[:-1] + ', "metadata": {"x": 1e999}}', "number out of range"),
        (json.dumps(DOWN)[:-1] + ', "metadata": {"x": ' + "[" * 40 + "]" * 40 + "}}", "nested too deeply"),
        ({**DOWN, "user_id": "a\x00b"}, "NUL character"),
        ({**DOWN, "metadata": {"a\x00": 1}}, "NUL character"),
        ({**DOWN, "user_id": "\ud83d"}, "lone surrogate"),
        ({**DOWN, "metadata": {"x": "\ude00"}}, "lone surrogate"),
        (json.dumps(DOWN).encode().replace(b"u1", b"\xff\xfe"), "not UTF-8"),
        (json.dumps(DOWN).encode("utf-16"), "not UTF-8"),
        (b'{"a": "\x00"}', "not JSON"),
    ],
)
def test_bad_line_is_a_fault(tmp_path: Path, line: Any, reason: str) -> None:
    assert reason_of(tmp_path / "log.jsonl", line) == reason


def test_a_null_is_a_field_that_is_not_given(tmp_path: Path) -> None:
    optional = {name: None for name, field in Interaction.model_fields.items() if not field.is_required()}
    [(_, found)] = read_log(write(tmp_path / "log.jsonl", {**SAID, **optional}), Interaction)
    assert found == Interaction.model_validate(SAID)
    assert reason_of(tmp_path / "log.jsonl", {**SAID, "response": None}, Interaction) == "missing response"


def test_what_only_looks_bad_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert reason_of(path, {**DOWN, "metadata": {"x": "a literal \\u0000"}}) is None
    assert reason_of(path, {**DOWN, "feedback_type": "rating", "rating": 4.5}) is None
    assert reason_of(path, {**DOWN, "metadata": {"x": "\U0001f600", "n": 10**30}}) is None
    assert reason_of(path, {**DOWN, "extra": "ignored"}) is None
    assert reason_of(path, {**DOWN, "comment": "wrong service"}) is None
    assert reason_of(path, {**DOWN, "feedback_type": "edit", "corrected_response": "Restart."}) is None
    duel = {**DOWN, "feedback_type": "duel", "other_response": "Restart.", "preferred": "tie"}
    assert reason_of(path, duel) is None


def test_fault_can_be_written_and_stored(tmp_path: Path) -> None:
    [(_, fault)] = read_log(write(tmp_path / "log.jsonl", b'{"a": "\x00\xff"}'), FeedbackEvent)
    assert isinstance(fault, Fault)
    assert fault.line == '{"a": "\\u0000\\xff"}'
    fault.line.encode()


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_huge_line_is_not_kept_whole(tmp_path: Path, name: str) -> None:
    huge = {**DOWN, "metadata": {"x": "y" * (3 * MAX_LINE_BYTES)}}
    found = list(read_log(write(tmp_path / name, DOWN, huge, DOWN, {**huge, "event_id": "e2"}), FeedbackEvent))
    faults = [fault for _, fault in found if isinstance(fault, Fault)]
    assert [number for number, _ in found] == [1, 2, 3, 4]
    assert [fault.reason for fault in faults] == ["line over 1 MiB"] * 2
    assert all(len(fault.line) < 5000 and f"({len(json.dumps(huge)):,} bytes)" in fault.line for fault in faults)
    assert faults[0].digest != faults[1].digest


def test_line_of_just_one_mebibyte_is_kept(tmp_path: Path) -> None:
    line = {**DOWN, "metadata": {"x": ""}}
    line["metadata"] = {"x": "y" * (MAX_LINE_BYTES - len(json.dumps(line)))}
    assert len(json.dumps(line)) == MAX_LINE_BYTES
    assert reason_of(tmp_path / "log.jsonl", line) is None
    line["metadata"]["x"] += "y"
    assert reason_of(tmp_path / "log.jsonl", line) == "line over 1 MiB"


def test_truncated_gzip_keeps_what_came_through(tmp_path: Path) -> None:
    noise = random.Random(7)
    lines = [{**DOWN, "event_id": f"e{n}", "metadata": {"x": noise.randbytes(40).hex()}} for n in range(3000)]
    path = write(tmp_path / "log.jsonl.gz", *lines)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *whole, (number, last) = read_log(path, FeedbackEvent)
    assert 1000 < len(whole) < 2000
    assert all(isinstance(record, FeedbackEvent) for _, record in whole)
    assert isinstance(last, Fault)
    assert (number, last.reason) == (len(whole) + 1, "truncated gzip")
    assert json.dumps(lines[len(whole)]).startswith(last.line)


def test_damaged_gzip_ends_in_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl.gz", DOWN, DOWN)
    data = bytearray(path.read_bytes())
    data[-8] ^= 0xFF  # its checksum
    path.write_bytes(data)
    assert [getattr(found, "reason", "good") for _, found in read_log(path, FeedbackEvent)] == [
        "good",
        "good",
        "damaged gzip",
    ]


def test_unreadable_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match=r"missing\.jsonl: cannot be read \(No such file"):
        check_log(tmp_path / "missing.jsonl")
    with pytest.raises(FeedbackError, match="cannot be read"):
        check_log(tmp_path)
    (tmp_path / "plain.jsonl.gz").write_text(json.dumps(DOWN))
    with pytest.raises(FeedbackError, match="not gzip, though it is named so"):
        list(read_log(tmp_path / "plain.jsonl.gz", FeedbackEvent))


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl.gz", DOWN)
    assert reason_of(path, DOWN) is None
    path.rename(tmp_path / "log.jsonl")
    assert len(list(read_log(tmp_path / "log.jsonl", FeedbackEvent))) == 1


def test_body_is_canonical_json() -> None:
    event = FeedbackEvent.model_validate({**DOWN, "metadata": {"b": 1.5, "a": "ü"}})
    body, seen = encode_body(event)
    said = {key: value for key, value in event.model_dump(mode="json").items() if value is not None}
    assert body.encode() == canonical_json(said)
    assert seen == digest(said)


def test_a_field_that_is_not_given_changes_no_digest(tmp_path: Path) -> None:
    """Lines of before a field existed, with it as null, and without: one body. `metadata` keeps its own nulls."""
    old = {**SAID, "metadata": {"x": None}}
    optional = {name: None for name, field in Interaction.model_fields.items() if field.default is None}
    paths = [write(tmp_path / f"{n}.jsonl", line) for n, line in enumerate((old, {**old, **optional}))]
    first, second = (entry for path in paths for _, entry in scan_log(path, Interaction))
    assert isinstance(first, Entry)
    assert isinstance(second, Entry)
    assert (first.body, first.digest) == (second.body, second.digest)
    assert json.loads(first.body) == {
        **old,
        "completed": True,
        "history": [],
        "timestamp": "2026-11-09T12:00:00Z",
    }
    again = write(tmp_path / "again.jsonl", canonical_json(first.record))  # as `feedback export` writes it
    assert [entry.digest for _, entry in scan_log(again, Interaction)] == [first.digest]  # type: ignore[union-attr]
    assert '"comment"' not in encode_body(FeedbackEvent.model_validate(DOWN))[0]


def test_held_line_comes_out_with_its_reason(tmp_path: Path) -> None:
    raw = b'{"messages":\n "x", "a": "\xff"}'
    path = tmp_path / "log.jsonl"
    path.write_bytes(hold_line("wrong messages", raw) + json.dumps(DOWN).encode())
    (_, fault), (_, event) = read_log(path, FeedbackEvent)
    assert fault == Fault("wrong messages", '{"messages":  "x", "a": "\\xff"}', fault.digest)  # type: ignore[union-attr]
    assert event == FeedbackEvent.model_validate(DOWN)
    with pytest.raises(ValueError, match="HELD_REASONS"):
        hold_line("because I say so", raw)


@pytest.mark.parametrize(
    "line", [b"\x00because I say so\x00{}", b"\x00not JSON", b"\x00", b"\x00\x00", b"\x00\xff\x00{}"]
)
def test_a_log_brings_no_reason_of_its_own(tmp_path: Path, line: bytes) -> None:
    assert reason_of(tmp_path / "log.jsonl", line) in {"not JSON", "not UTF-8"}


def test_body_of_a_record_that_cannot_be_stored() -> None:
    with pytest.raises(FeedbackError, match="FeedbackEvent refused: missing rating"):
        encode_body(FeedbackEvent.model_validate({**DOWN, "feedback_type": "rating"}))
    with pytest.raises(FeedbackError, match="refused: number out of range"):
        encode_body(FeedbackEvent.model_validate({**DOWN, "metadata": {"x": float("inf")}}))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_line_is_fatal(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "log.jsonl"
    path.write_bytes(line)
    for model in (Interaction, FeedbackEvent):
        for _, found in read_log(path, model):
            assert isinstance(found, Fault)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[]), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*DOWN, "rating", "metadata", "corrected_response"]), ANYTHING, max_size=4))
def test_any_field_may_hold_anything(tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]) -> None:
    """Whatever a field holds: a fault that can be stored, or a record whose body gives the same record again."""
    [(_, found)] = scan_log(write(tmp_path_factory.mktemp("any") / "log.jsonl", {**DOWN, **given}), FeedbackEvent)
    if isinstance(found, Entry):
        again = FeedbackEvent.model_validate_json(found.body)
        assert encode_body(again) == (found.body, found.digest)
        assert again == found.record
    else:
        assert "\x00" not in found.line
        found.line.encode()
