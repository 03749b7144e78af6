from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.dataset import LAYOUT, digest_content, encode_rows, part_file, write_batches, write_rows
from flytewheel.dataset import parts as parts_module
from flytewheel.dataset.content import ColumnDigest
from flytewheel.dataset.layout import COLUMNS, RECORDS, schema_of
from flytewheel.dataset.parts import ROW_GROUP, count_rows, read_rows
from flytewheel.errors import DatasetError
from flytewheel.records import Message, SftRow, file_digest

from .made import LEFT_OUT, ROWS, SFT

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
TURNS = st.lists(st.builds(Message, role=st.sampled_from(["system", "user", "tool"]), content=TEXT), max_size=4)
SFT_ROWS = st.builds(
    SftRow,
    TEXT, TEXT, TEXT, TURNS.map(tuple), TEXT, NUMBER, NUMBER, st.just("answer"),
    st.lists(TEXT, max_size=3).map(tuple), st.lists(TEXT, max_size=3).map(tuple), NUMBER, st.none() | NUMBER,
)  # fmt: skip


def many(count: int) -> Iterator[SftRow]:
    return (replace(SFT, id=f"{n:09d}", completion=f"answer {n} " * (n % 7)) for n in range(count))


def test_the_columns_are_the_fields_of_the_records() -> None:
    for kind, record in RECORDS.items():
        assert list(COLUMNS[kind]) == list(record.__dataclass_fields__), kind
        assert schema_of(kind).names == list(COLUMNS[kind])


@pytest.mark.parametrize("kind", list(LAYOUT))
def test_records_and_mappings_give_the_same_bytes_and_come_back(tmp_path: Path, kind: str) -> None:
    row = ROWS[kind]
    plain = asdict(row)
    turns = "messages" if kind == "trajectory" else "prompt"
    plain[turns] = [{"role": turn.role, "content": turn.content} for turn in plain[turns]]
    backwards = dict(reversed(plain.items()))
    for name, given_row in (("a", row), ("b", plain), ("c", backwards)):
        assert write_rows(tmp_path / name, kind, [given_row]) == 1
    assert len({file_digest(tmp_path / name) for name in "abc"}) == 1
    assert list(read_rows(tmp_path / "b", kind)) == [row]


@settings(max_examples=60, deadline=None)
@given(st.lists(SFT_ROWS, max_size=8))
def test_any_rows_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[SftRow]) -> None:
    path = tmp_path_factory.mktemp("any") / "train.parquet"
    assert write_rows(path, "sft", rows) == len(rows) == count_rows(path)
    assert list(read_rows(path, "sft")) == rows


def test_how_rows_come_in_does_not_change_the_bytes(tmp_path: Path) -> None:
    count = ROW_GROUP + 701
    write_rows(tmp_path / "a", "sft", many(count))
    write_rows(tmp_path / "b", "sft", list(many(count)))
    write_batches(tmp_path / "c", "sft", encode_rows(many(count), "sft"))
    assert len({file_digest(tmp_path / name) for name in "abc"}) == 1
    assert [row.id for row in read_rows(tmp_path / "a", "sft")] == [f"{n:09d}" for n in range(count)]


def test_row_groups_are_fixed_and_the_footer_has_no_metadata(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_rows(tmp_path / "a", "sft", many(2 * ROW_GROUP + 1))
    file = pq.ParquetFile(tmp_path / "a")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [ROW_GROUP, ROW_GROUP, 1]
    assert file.metadata.metadata is None
    assert file.schema_arrow.metadata is None
    assert str(file.schema_arrow.field("prompt").type) == "list<element: struct<role: string, content: string>>"


def test_long_texts_end_a_row_group_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(parts_module, "GROUP_BYTES", 1 << 20)
    write_rows(tmp_path / "a", "sft", (replace(SFT, id=str(n), completion="x" * 4000) for n in range(1200)))
    assert pq.ParquetFile(tmp_path / "a").num_row_groups == 3  # 500 rows of 4,000 characters pass 1 MiB


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reward": float("nan")}, r"row 1 of kind 'sft', field 'reward': a number is not finite; expected a finite"),
        ({"reward": float("inf")}, "a number is not finite"),
        ({"reward": None}, "field 'reward': a value is missing"),
        ({"reward": "high"}, "field 'reward'.*expected a finite number"),
        ({"completion": 3}, "field 'completion'.*expected a text"),
        (
            {"completion": "\ud800"},
            "row 1 of kind 'sft', field 'completion': .*surrogates not allowed; expected a text",
        ),
        ({"events": "e1"}, "field 'events': a list of texts is wanted"),
        ({"events": ["e1", None]}, "field 'events': a value is missing inside a list"),
        ({"events": None}, "field 'events'"),
        ({"prompt": [{"role": "robot", "content": "x"}]}, "field 'prompt': a role is none of assistant, system"),
        ({"prompt": [{"role": "user"}]}, "field 'prompt'.*expected turns of role and content"),
        ({"prompt": "hello"}, "field 'prompt'"),
        ({"answer": "x"}, "row 1 of kind 'sft': unknown field 'answer'; expected id, user"),
    ],
)
def test_a_wrong_row_is_one_line_and_leaves_what_was_there(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    good = asdict(SFT)
    path = tmp_path / "train.parquet"
    write_rows(path, "sft", [good])
    before = path.read_bytes()
    with pytest.raises(DatasetError, match=said) as caught:
        write_rows(path, "sft", [good, {**good, **changes}])
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_fields_with_defaults_may_be_left_out_others_not(tmp_path: Path) -> None:
    row = {name: value for name, value in asdict(SFT).items() if name not in ("interactions", "weight", "surprise")}
    write_rows(tmp_path / "a", "sft", [row, SFT])
    assert list(read_rows(tmp_path / "a", "sft")) == [replace(SFT, interactions=(), weight=1.0, surprise=None), SFT]
    with pytest.raises(DatasetError, match="row 0 of kind 'sft': no field 'completion'"):
        write_rows(tmp_path / "a", "sft", [{name: value for name, value in row.items() if name != "completion"}])
    with pytest.raises(DatasetError, match="row 0: expected a row of kind 'sft' or a mapping, got Unpaired"):
        write_rows(tmp_path / "a", "sft", [ROWS["unpaired"]])


def test_a_damaged_or_foreign_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write_rows(path, "sft", many(300))
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    spoilt[len(whole) // 3] ^= 0xFF
    for data in (whole[:-20], bytes(spoilt), b"", b"PAR1"):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match=r"train\.parquet: cannot be read .*; fetch or curate") as caught:
            list(read_rows(path, "sft"))
        assert "\n" not in str(caught.value)
    write_rows(path, "quarantined", [LEFT_OUT])
    with pytest.raises(DatasetError, match="not a part of kind 'sft'"):
        list(read_rows(path, "sft"))


def test_no_flipped_bit_in_the_rows_goes_unseen(tmp_path: Path) -> None:
    """Texts that do not compress are stored as they are: only the pages' checksums can tell."""
    chance = random.Random(4)
    path = tmp_path / "train.parquet"
    write_rows(path, "sft", [replace(SFT, completion=chance.randbytes(20_000).hex()) for _ in range(2)])
    whole, rows = path.read_bytes(), list(read_rows(path, "sft"))
    seen = 0
    for place in range(100, len(whole) - 4000, len(whole) // 60):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << (place % 8)
        path.write_bytes(spoilt)
        try:
            assert list(read_rows(path, "sft")) == rows
        except DatasetError:
            seen += 1
    assert seen > 40


CHILD = """
import os, sys
from pathlib import Path
from tests.dataset.made import CARD, SFT
from flytewheel.dataset import part_file, write_card, write_rows
from dataclasses import replace
folder = Path(sys.argv[1])
write_rows(part_file(folder, "sft", "test"), "sft", [SFT])
def rows():
    for n in range(50_000):
        if n == 12_000:
            print("half", flush=True)
            sys.stdin.read()
        yield replace(SFT, id=str(n))
write_rows(part_file(folder, "sft", "train"), "sft", rows())
write_card(folder, CARD)
"""


def test_a_writer_killed_in_the_middle_leaves_no_part_and_no_card(tmp_path: Path) -> None:
    from flytewheel.dataset import Dataset, clear_folder, list_files

    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
    assert not part_file(tmp_path, "sft", "train").exists()
    assert list((tmp_path / "sft").glob(".train.parquet.*.part"))
    assert [path.name for path in list_files(tmp_path)] == ["test.parquet"]
    with pytest.raises(DatasetError, match="no readable data set card"):
        Dataset(tmp_path)
    clear_folder(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


BIG = """
import resource, sys
from pathlib import Path
from tests.dataset.made import SFT
from flytewheel.dataset import write_rows
from dataclasses import replace
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def rows(count):
    return (replace(SFT, id=f"{n:08d}", completion=f"{n} " * 150) for n in range(count))
folder = Path(sys.argv[1])
write_rows(folder / "small", "sft", rows(10_000))
small = peak()
write_rows(folder / "big", "sft", rows(200_000))
print(small, peak())
"""


def test_200_000_rows_take_no_more_memory_than_10_000(tmp_path: Path) -> None:
    """Each row has about 1 KB of text: kept, they would be 200 MB."""
    done = subprocess.run(
        [sys.executable, "-c", BIG, str(tmp_path)], check=True, capture_output=True, text=True,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    small, big = map(int, done.stdout.split())
    assert big - small < 60, f"{small} MiB with 10,000 rows, {big} MiB with 200,000"
    assert count_rows(tmp_path / "big") == 200_000


def test_the_digest_is_of_the_rows_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    rows = list(many(1000))
    for name, given_rows in (("a", rows), ("b", rows), ("c", rows[::-1]), ("d", rows[:-1])):
        write_rows(part_file(tmp_path / name, "sft", "train"), "sft", given_rows)
    # Another writer: other row groups, other compression, a dictionary everywhere.
    table = pq.read_table(part_file(tmp_path / "a", "sft", "train"))
    pq.write_table(table, part_file(tmp_path / "b", "sft", "train"), row_group_size=77, compression="snappy")
    monkeypatch.setattr(parts_module, "ROW_GROUP", 300)  # batches that begin inside a row group
    digests = {name: digest_content(tmp_path / name) for name in "abcd"}
    assert digests["a"] == digests["b"]
    assert len(set(digests.values())) == 3
    write_rows(part_file(tmp_path / "a", "unpaired", "test"), "unpaired", [])
    assert digest_content(tmp_path / "a") == digests["a"]  # absent and empty are the same


@pytest.mark.parametrize(
    "change",
    [
        {"completion": "Prune. "}, {"completion": "", "topic": SFT.topic + SFT.completion}, {"surprise": None},
        {"surprise": 0.0}, {"events": ("e", "1")}, {"events": ("e1", "")}, {"events": ()}, {"weight": 0.25},
        {"prompt": SFT.prompt[::-1]}, {"prompt": SFT.prompt[1:]}, {"interactions": ("i1i2",)},
    ],
)  # fmt: skip
def test_every_change_of_a_row_changes_the_digest(tmp_path: Path, change: dict[str, Any]) -> None:
    write_rows(part_file(tmp_path / "a", "sft", "train"), "sft", [SFT])
    write_rows(part_file(tmp_path / "b", "sft", "train"), "sft", [replace(SFT, **change)])
    assert digest_content(tmp_path / "a") != digest_content(tmp_path / "b")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"events": ("ab", "c")}, {"events": ("a", "bc")}),
        ({"surprise": None}, {"surprise": 0.0}),
        ({"events": ("a",), "interactions": ()}, {"events": (), "interactions": ("a",)}),
    ],
)
def test_rows_with_the_same_bytes_in_other_places_are_other_rows(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    for name, change in (("a", one), ("b", other)):
        write_rows(part_file(tmp_path / name, "sft", "train"), "sft", [replace(SFT, **change)])
    assert digest_content(tmp_path / "a") != digest_content(tmp_path / "b")


def test_a_row_in_another_part_is_another_data_set(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_rows(part_file(tmp_path / part, "sft", part), "sft", [SFT])
    assert digest_content(tmp_path / "train") != digest_content(tmp_path / "test")


def test_a_slice_of_a_column_is_hashed_as_its_values_alone() -> None:
    import pyarrow as pa

    for values in (["ab", None, "", "c", "de"], [["a"], [], ["bc", "d"], ["e"], []], [1.5, None, 0.0, 2.0, 3.0]):
        whole, sliced = ColumnDigest(), ColumnDigest()
        whole.add(pa.array(values[1:4]))
        sliced.add(pa.array(values).slice(1, 2))
        sliced.add(pa.array(values).slice(3, 1))
        assert sliced.hexdigest() == whole.hexdigest()


def test_a_part_that_was_written_before_a_column_was_added_is_read_with_its_default(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from flytewheel.dataset import read_rows, schema_of
    from flytewheel.errors import DatasetError
    from tests.dataset.made import CASE

    write_rows(tmp_path / "now.parquet", "regression", [CASE])
    old = pq.read_table(tmp_path / "now.parquet").select(["id", "user", "topic", "prompt", "check", "expected"])
    old = old.cast(pa.schema([schema_of("regression").field(name) for name in old.column_names]))
    pq.write_table(old, tmp_path / "old.parquet")
    assert list(read_rows(tmp_path / "old.parquet", "regression")) == [CASE]
    pq.write_table(old.drop_columns(["expected"]), tmp_path / "short.parquet")
    with pytest.raises(DatasetError, match="its columns differ"):
        list(read_rows(tmp_path / "short.parquet", "regression"))
