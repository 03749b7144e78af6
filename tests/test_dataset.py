"""The frozen data set as a whole, and that the libraries people use can read its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flytewheel.dataset import LAYOUT, Dataset, digest_content, list_files, part_file, write_card, write_rows
from flytewheel.records import file_digest
from tests.dataset.made import CARD, CASE, LEFT_OUT, PAIR, ROWS, SESSION, SFT, THUMB, make


def test_rows_of_every_kind_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = {(kind, "test"): [row] for kind, row in ROWS.items()}
    card = make(tmp_path, rows)
    data = Dataset(tmp_path)
    assert (data.sft("test"), data.preferences("test"), data.unpaired("test"), data.regression()) == (
        [SFT], [PAIR], [THUMB], [CASE],
    )  # fmt: skip
    assert data.trajectories("test") == [SESSION]
    assert data.sft("train") == data.sft("holdout") == data.sft("nowhere") == []
    assert list(data.quarantined()) == []
    assert data.card == card


def test_a_complete_data_set_has_every_part_the_card_is_last(tmp_path: Path) -> None:
    make(tmp_path, {})
    names = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)]
    assert set(names) >= {f"{kind}/{part}.parquet" for kind, parts in LAYOUT.items() for part in parts}
    assert "quarantined.parquet" in names
    assert names[-2:] == ["README.md", "card.json"]
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == len(names)


def test_the_same_rows_and_card_are_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        make(tmp_path / name)
    one, other = ({path.name: file_digest(path) for path in list_files(tmp_path / name)} for name in "ab")
    assert one == other


def test_the_content_digest_is_of_rows_not_of_the_card(tmp_path: Path) -> None:
    make(tmp_path)
    before = digest_content(tmp_path)
    write_card(tmp_path, replace(CARD, digest="other"))
    assert digest_content(tmp_path) == before == make(tmp_path).content_digest
    write_rows(part_file(tmp_path, "sft", "validation"), "sft", [SFT])
    assert digest_content(tmp_path) != before


def test_datasets_reads_every_configuration_by_name(tmp_path: Path) -> None:
    import datasets

    make(tmp_path / "set")
    for kind, parts in LAYOUT.items():
        found = datasets.load_dataset(str(tmp_path / "set"), kind, cache_dir=str(tmp_path / "cache"))
        assert {part: table.num_rows for part, table in found.items()} == dict.fromkeys(parts, 1)
    row = datasets.load_dataset(str(tmp_path / "set"), "sft", split="train", cache_dir=str(tmp_path / "cache"))[0]
    assert row["prompt"] == [{"role": turn.role, "content": turn.content} for turn in SFT.prompt]
    assert (row["completion"], row["events"], row["weight"], row["surprise"]) == ("Prune.", ["e1"], 0.5, 2.25)
    quarantined = datasets.load_dataset(str(tmp_path / "set"), "quarantined", cache_dir=str(tmp_path / "cache"))
    assert quarantined["train"][0] == LEFT_OUT


def test_datasets_reads_a_set_some_of_whose_parts_are_empty(tmp_path: Path) -> None:
    import datasets

    make(tmp_path / "set", {("sft", "train"): [SFT], ("unpaired", "test"): [THUMB]})
    found = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))  # the first is the default
    assert list(found) == ["train"]
    assert found["train"]["completion"][:] == ["Prune."]
    assert list(datasets.load_dataset(str(tmp_path / "set"), "unpaired", cache_dir=str(tmp_path / "cache"))) == ["test"]


def test_polars_and_duckdb_read_every_part_also_an_empty_one(tmp_path: Path) -> None:
    import duckdb
    import polars as pl

    make(tmp_path / "full")
    make(tmp_path / "empty", {})
    for name, rows in (("full", 1), ("empty", 0)):
        for path in list_files(tmp_path / name):
            if path.suffix == ".parquet":
                assert pl.read_parquet(path).height == rows, path
                assert duckdb.sql(f"SELECT count(*) FROM '{path}'").fetchall() == [(rows,)], path
    train = part_file(tmp_path / "full", "sft", "train")
    turns = [turn.content for turn in SFT.prompt]
    assert pl.read_parquet(train)["prompt"].list.eval(pl.element().struct.field("content")).to_list() == [turns]
    asked = duckdb.sql(f"SELECT prompt[2].content, events[1], weight FROM '{train}'").fetchall()
    assert asked == [(turns[1], "e1", 0.5)]
