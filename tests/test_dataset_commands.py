"""`flytewheel datasets …` on folders and on a real object store; wrong inputs are one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flytewheel.cli import main
from flytewheel.dataset import Dataset, digest_content, list_files
from flytewheel.errors import DatasetError
from flytewheel.local.services import Services
from flytewheel.turn import fetch_dataset, publish_dataset
from registry.store import ObjectStore
from tests.dataset.made import CARD, SFT, make

A, B, C = "aa" + "1" * 62, "aa" + "2" * 62, "bb" + "3" * 62
Call = Callable[..., Result]


@pytest.fixture
def here(database_url: str, store: ObjectStore, services: Any, tmp_path: Path) -> Services:
    return Services(
        home=tmp_path / "home", database_url=database_url, s3_url=services.s3_url,
        s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key, s3_region=None,
        s3_bucket=store.bucket, router_url="", admin_key="", assignment_key="",
    )  # fmt: skip


@pytest.fixture
def call(here: Services) -> Call:
    environ = {
        "FLYTEWHEEL_HOME": str(here.home),
        "FLYTEWHEEL_DATABASE_URL": here.database_url,
        "FLYTEWHEEL_S3_URL": here.s3_url,
        "FLYTEWHEEL_S3_ACCESS_KEY": here.s3_access_key,
        "FLYTEWHEEL_S3_SECRET_KEY": here.s3_secret_key,
        "FLYTEWHEEL_S3_BUCKET": here.s3_bucket,
    }
    return lambda *arguments: CliRunner(env=environ).invoke(main, ["datasets", *map(str, arguments)])


@pytest.fixture
def shelf(here: Services, tmp_path: Path) -> Services:
    """Three published data sets: two whose digests begin alike, and one of another week."""
    for digest, rows in ((A, [SFT]), (B, [SFT, replace(SFT, id="s2", user="v")]), (C, [replace(SFT, id="s3")])):
        card = make(tmp_path / digest, {("sft", "train"): rows}, digest=digest, topics={"disk": len(rows)})
        publish_dataset(here, tmp_path / digest, card)
    return here


def offline(*arguments: str | Path) -> Result:
    """A command that must need no service: their addresses lead nowhere."""
    nowhere = {"FLYTEWHEEL_S3_URL": "http://127.0.0.1:9", "FLYTEWHEEL_DATABASE_URL": "postgresql://127.0.0.1:9/x"}
    return CliRunner(env=nowhere).invoke(main, ["datasets", *map(str, arguments)])


def one_line(result: Result) -> str:
    assert result.exit_code == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_list_shows_what_is_stored_and_what_is_only_here(shelf: Services, call: Call, store: ObjectStore) -> None:
    make(shelf.home / "datasets" / "local-only", {("sft", "train"): [SFT]}, digest="local-only")
    store.put_bytes("datasets/old/card.json", b'{"digest": "old"}')
    store.put_bytes("datasets/torn/sft/train.parquet", b"")  # never committed: no card
    found = {row["digest"]: row for row in json.loads(call("list", "--json").stdout)}
    assert set(found) == {A, B, C, "old", "local-only"}
    assert found[B]["rows"]["sft"] == 2
    assert (found[B]["series"], found[B]["window"], found[B]["stored"], found[B]["local"]) == ("oncall", 3, True, False)
    assert found[B]["size_bytes"] == sum(each.size for each in store.describe(f"datasets/{B}/"))
    assert found[B]["created"].endswith("+00:00")
    assert "format 1" in found["old"]["fault"]
    assert (found["local-only"]["stored"], found["local-only"]["local"]) == (False, True)
    text = call("list").stdout
    assert f"{B[:12]}  2" in text
    assert "sft 2" in text
    assert "here only" in text


def test_show_takes_a_digest_a_beginning_or_a_folder(shelf: Services, call: Call, tmp_path: Path) -> None:
    for name in (C, "bb"):
        assert json.loads(call("show", name, "--json").stdout)["digest"] == C
    result = offline("show", tmp_path / A)
    assert result.exit_code == 0, result.stderr
    for said in ("sft rows", "toxic", "<EMAIL_1> is a <b>fool</b>", "2026-11-16", "chosen answers are +2.0 words"):
        assert said in result.stdout
    assert json.loads(offline("show", tmp_path / A, "--json").stdout) == json.loads(
        (tmp_path / A / "card.json").read_text()
    )


def test_a_name_that_is_not_one_data_set_is_one_line(shelf: Services, call: Call, tmp_path: Path) -> None:
    line = one_line(call("show", "aa"))
    assert "2 data sets begin with 'aa' (aa11111111, aa22222222): give more of the digest" in line
    assert "no data set begins with 'cc'; see `flytewheel datasets list`" in one_line(call("show", "cc"))
    assert "expected a data set's digest" in one_line(call("show", "a*"))
    for name in (tmp_path, tmp_path / "gone"):
        assert f"{name}: no data set lies there (no card.json)" in one_line(call("show", name))
    (tmp_path / A / "card.json").write_text('{"format": 1}')
    assert "a data set of format 1" in one_line(call("show", tmp_path / A))


def test_diff_compares_stored_data_sets(shelf: Services, call: Call) -> None:
    found = json.loads(call("diff", A, B, "--json").stdout)
    assert found["rows"]["sft"]["train"] == {"added": 1, "removed": 0, "changed": 0}
    assert (found["same_rows"], found["moved_users"]) == (False, {})
    text = call("diff", A[:4], C).stdout
    assert "sft   train  1      1        0" in text
    assert "users who moved to another part: 0 (expected 0)" in text
    assert (shelf.home / "datasets" / A / "card.json").is_file()  # fetched once


def test_diff_says_recipe_and_funnel(tmp_path: Path) -> None:
    make(tmp_path / "a")
    recipe = {"curation": {"min_quality_score": 0.6, "abuse": {"burst_events": 20}}}
    make(tmp_path / "b", recipe=recipe, funnel=(("came in", 19), ("sft rows", 5)))
    text = offline("diff", tmp_path / "a", tmp_path / "b").stdout
    assert "curation.min_quality_score  0.5  0.6" in text
    assert "came in   9  19  +10" in text


def test_export_writes_one_file_a_part(shelf: Services, call: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = json.loads(call("export", "bb", out, "--form", "prompt-completion", "--json").stdout)
    assert found == {"folder": str(out), "rows": {"train.jsonl": 1}}
    [row] = map(json.loads, (out / "train.jsonl").read_text().splitlines())
    assert row["completion"] == [{"role": "assistant", "content": "Prune."}]
    text = tmp_path / "text"
    assert offline("export", tmp_path / C, text, "--form", "prompt-completion", "--text").exit_code == 0
    assert json.loads((text / "train.jsonl").read_text())["completion"] == "Prune."


def test_export_leaves_nothing_half_written(shelf: Services, call: Call, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    line = one_line(offline("export", tmp_path / A, tmp_path / "there", "--form", "jsonl"))
    assert "there: exists already; name a folder that does not" in line
    line = one_line(call("export", A, tmp_path / "out", "--form", "prompt-completion-label", "--part", "test"))
    assert f"{A}: 0 rows of unpaired in test; its card counts sft train 1" in line
    line = one_line(call("export", "zz", tmp_path / "out", "--form", "jsonl"))
    assert "no data set begins with 'zz'" in line
    assert call("export", A, tmp_path / "out", "--form", "csv").exit_code == 2
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_what_comes_from_the_store_is_what_was_published(
    shelf: Services, store: ObjectStore, tmp_path: Path, call: Call
) -> None:
    got = fetch_dataset(shelf, A)
    assert [path.read_bytes() for path in list_files(got)] == [path.read_bytes() for path in list_files(tmp_path / A)]
    assert digest_content(got) == Dataset(got).card.content_digest
    store.put_bytes(f"datasets/{B}/sft/train.parquet", (tmp_path / C / "sft" / "train.parquet").read_bytes())
    with pytest.raises(DatasetError, match=r"its rows in .* are not those of its card; curate it again"):
        fetch_dataset(shelf, B)
    assert not (shelf.home / "datasets" / B / "card.json").exists()
    assert "are not those of its card" in one_line(call("diff", A, B))


def test_publishing_takes_what_belongs_to_the_data_set(here: Services, store: ObjectStore, tmp_path: Path) -> None:
    card = make(tmp_path / "set")
    (tmp_path / "set" / "sft" / ".train.parquet.0.part").write_bytes(b"left by a killed writer")
    (tmp_path / "set" / "notes.txt").write_text("mine")
    publish_dataset(here, tmp_path / "set", card)
    names = {key.removeprefix(f"datasets/{CARD.digest}/") for key in store.list("datasets/")}
    assert names == {path.relative_to(tmp_path / "set").as_posix() for path in list_files(tmp_path / "set")}
