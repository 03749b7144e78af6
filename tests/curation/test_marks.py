"""Marks of lines, and the blocks that these are read in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from flytewheel.curation import marks
from flytewheel.curation.marks import ID, LINE_LOW, PLACE, Asked, Block, Heard, list_blocks, mark_block, mark_lines
from flytewheel.curation.mirrors import read_any
from flytewheel.errors import DatasetError
from flytewheel.records import FeedbackEvent, Interaction
from tests.curation.record_lines import PLAIN, draw_lines, join_line

NAMES = {Interaction: (Asked, "interaction_id", "user_id"), FeedbackEvent: (Heard, "event_id", "interaction_id")}


@contextmanager
def write(content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.jsonl"
        path.write_bytes(content)
        yield path


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([b"\n", b" ", b"\r", b"a", b"bc", b"\xff", b"\x0b"])), st.integers(1, 40))
def test_blocks_hold_every_line_once_in_its_order(parts: list[bytes], size: int) -> None:
    content = b"".join(parts)
    with write(content) as path:
        blocks = [Block(path, start, size) for start in range(0, len(content), size)]
        read = [line for block in blocks for line in block.read_lines()]
        assert [*marks.read_lines(path)] == read
    assert read == [line.strip() for line in content.split(b"\n") if line.strip()]


def test_a_file_that_is_missing_is_named_or_has_no_blocks(tmp_path: Path) -> None:
    assert list_blocks(tmp_path / "none.jsonl", needed=False) == []
    for read in (
        lambda: list_blocks(tmp_path / "none.jsonl", needed=True),
        lambda: [*Block(tmp_path / "none.jsonl", 0, 9).read_lines()],
    ):
        with pytest.raises(DatasetError, match=r"none\.jsonl: .*write the window again"):
            read()


@pytest.mark.parametrize("model", [*NAMES])
def test_every_record_is_marked_by_its_own_names(model: type[BaseModel]) -> None:
    names, key, place = NAMES[model]

    @settings(max_examples=300, deadline=None)
    @given(draw_lines(model))
    def check(line: bytes) -> None:
        ((*_, own, home),) = mark_lines([line], names).tolist()
        try:
            record = read_any(line, model)
        except ValueError:
            return  # counts nowhere, so it may lie anywhere
        named = getattr(record, key), getattr(record, place)
        assert marks.read_names(line, names) == named
        assert own == int.from_bytes(marks._mark(named[0]))
        assert home == int.from_bytes(marks._mark(named[1]))

    check()


def test_names_are_found_in_any_line_that_is_a_record() -> None:
    """Also where the quick look gives up, or would see less than is there."""
    plain = join_line([*PLAIN[Interaction].items()])
    (want,) = mark_lines([plain], Asked)[:, [ID, PLACE]].tolist()
    for line in (
        join_line([("interaction_id", '"other"'), *PLAIN[Interaction].items()]),
        plain.replace(b"user_id", b"user\\u005fid"),
        plain.replace(b'"u"', b'"\\u0075"'),
        join_line([*PLAIN[Interaction].items(), ("metadata", '{"user_id":"x","interaction_id":"x"}')]),
        join_line([*PLAIN[Interaction].items(), ("metadata", '{"a":' + "[" * 90 + "]" * 90 + "}")], " "),
        join_line([*PLAIN[Interaction].items(), ("else", "9" * 30)]),
    ):
        read_any(line, Interaction)
        assert mark_lines([line], Asked)[:, [ID, PLACE]].tolist() == [want], line
    assert mark_lines([plain.replace(b'"u"', b"5")], Asked)[0, PLACE] == int.from_bytes(marks._mark("5"))


def test_lines_differ_in_their_marks_and_no_line_has_none() -> None:
    lines = [b"{", b"[]", b"null", b"\xff", b"{}", b'{"interaction_id":"i","user_id":"u"}', b'{"a":' + b"[" * 9000]
    lines += [b'{"interaction_id":"\xff","user_id":"u"}', b"{"]
    found = mark_lines(lines, Asked)
    assert found.shape == (9, 4)
    assert len({tuple(row) for row in found[:, : LINE_LOW + 1].tolist()}) == 8
    assert mark_lines([], Asked).shape == (0, 4)
    with write(b"\n \n") as path:
        assert mark_block(Block(path, 0, 3), Heard).shape == (0, 4)
