"""Preparing partitions, alone and in processes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from flytewheel.curation import deal
from flytewheel.curation.deal import DEALT, INTERACTIONS, deal_window
from flytewheel.curation.features import ROWS, VOTES
from flytewheel.curation.ledger import merge_steps
from flytewheel.curation.prepare import STEPS, count_cores, prepare_share, read_steps
from flytewheel.errors import DatasetError, RecipeError
from flytewheel.recipe import NamesSpec
from tests.curation.windows import make_rules, make_week, write_window


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A share of several buckets."""
    monkeypatch.setattr(deal, "ROWS_A_BUCKET", 40)
    return deal_window(write_window(tmp_path / "w", *make_week(questions=60)), tmp_path / "dealt")[0]


def read_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_processes_change_nothing(tmp_path: Path, share: Path) -> None:
    told: list[tuple[int, int | None]] = []
    prepare_share(share, tmp_path / "one", make_rules(), progress=lambda _, done, total: told.append((done, total)))
    prepare_share(share, tmp_path / "two", make_rules(), workers=2)
    assert read_bytes(tmp_path / "one") == read_bytes(tmp_path / "two")
    buckets = [path for path in sorted((tmp_path / "one").iterdir()) if path.is_dir()]
    assert len(buckets) > 2
    assert told == [(done, len(buckets)) for done in range(len(buckets) + 1)]
    assert (tmp_path / "one" / DEALT).read_bytes() == (share / DEALT).read_bytes()


def test_steps_are_the_same_in_every_bucket_and_add_up(tmp_path: Path, share: Path) -> None:
    prepare_share(share, tmp_path / "out", make_rules())
    buckets = [path for path in sorted((tmp_path / "out").iterdir()) if path.is_dir()]
    steps = merge_steps(read_steps(buckets))
    assert [step.name for step in steps] == [
        "read interactions", "read feedback", "join feedback", "keep what was reacted to", "redact personal data",
        "screen corrections", "screen answers", "score",
    ]  # fmt: skip
    assert all(step.rows_in - sum(step.dropped.values()) == step.rows_out for step in steps)
    assert steps[0].rows_in == sum(len((path / INTERACTIONS).read_bytes().splitlines()) for path in share.glob("0*"))
    assert steps[-1].rows_out == sum(pl.read_ipc(bucket / ROWS).height for bucket in buckets)
    assert steps[1].rows_out == sum(pl.read_ipc(bucket / VOTES).height for bucket in buckets)


def test_without_redaction_its_step_is_not_there(tmp_path: Path, share: Path) -> None:
    prepare_share(share, tmp_path / "out", make_rules(redact_pii=False))
    steps = json.loads(next((tmp_path / "out").rglob(STEPS)).read_text())
    assert "redact personal data" not in [step["name"] for step in steps]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_empty_share_is_prepared(tmp_path: Path, workers: int) -> None:
    window = write_window(tmp_path / "w", *make_week(questions=3))
    empty = deal_window(window, tmp_path / "dealt", shares=deal.MAX_BUCKETS + 1)[-1]
    prepare_share(empty, tmp_path / "out", make_rules(), workers=workers)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [DEALT]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bucket_that_cannot_be_read_is_named(tmp_path: Path, share: Path, workers: int) -> None:
    (next(path for path in sorted(share.iterdir()) if path.is_dir()) / INTERACTIONS).unlink()
    with pytest.raises(DatasetError, match="write the window again"):
        prepare_share(share, tmp_path / "out", make_rules(), workers=workers)


def test_what_the_recipe_names_and_is_not_there_ends_it(tmp_path: Path, share: Path) -> None:
    with pytest.raises(RecipeError, match="no-such-model"):
        prepare_share(share, tmp_path / "out", make_rules(names=NamesSpec(spacy_model="no-such-model")))


def test_cores_are_counted() -> None:
    assert count_cores() >= 1
