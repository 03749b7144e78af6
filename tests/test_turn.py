"""How a turn begins and how its failure is told, on real services."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel import runs, turn
from flytewheel.dataset import DatasetCard, digest_content, write_card
from flytewheel.errors import BaseModelError, DatasetError, FeedbackError, RecipeError
from flytewheel.local.services import Services
from flytewheel.recipe import CurationSpec, FeedbackSpec, Recipe
from flytewheel.records import Message, SftRow, write_jsonl
from registry.store import ObjectStore

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def here(database_url: str, store: ObjectStore, services: Any, tmp_path: Path) -> Services:
    return Services(
        home=tmp_path / "home",
        database_url=database_url,
        s3_url=services.s3_url,
        s3_access_key=services.s3_access_key,
        s3_secret_key=services.s3_secret_key,
        s3_region=None,
        s3_bucket=store.bucket,
        router_url="",
        admin_key="",
        assignment_key="",
    )


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, **fields})


def open_turn(here: Services, given: Recipe) -> turn.OpenedTurn:
    return turn.open_turn(here, given, here.home / "window", now=NOW, execution="e")


def write_logs(folder: Path, count: int) -> dict[str, str]:
    rows = [
        {"interaction_id": f"i{n}", "user_id": "u", "timestamp": NOW.isoformat(), "query": "q?", "response": "r."}
        for n in range(count)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "interactions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "feedback.jsonl").write_text("")
    return {kind: str(folder / f"{kind}.jsonl") for kind in ("interactions", "feedback")}


def test_a_turn_opens_when_there_is_enough_and_goes_on_with_its_window(here: Services, tmp_path: Path) -> None:
    given = recipe(curation={"min_interactions": 3})
    assert not open_turn(here, given).ready
    assert runs.list_runs(here.database_url) == []

    given = recipe(curation={"min_interactions": 3}, feedback={"files": write_logs(tmp_path / "logs", 3)})
    opened = open_turn(here, given)
    assert (opened.ready, opened.champion, opened.replay) == (True, "", "")
    assert opened.message == f"run {opened.run_id} opens: 3 interactions, 0 feedback events"
    assert len((opened.window / "interactions.jsonl").read_text().splitlines()) == 3
    again = open_turn(here, given)
    assert (again.run_id, again.message.split()[2]) == (opened.run_id, "resumes:")


def test_a_frozen_run_replays_what_it_replayed_before(
    here: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    files = write_logs(tmp_path / "logs", 3)
    mine, other = (recipe(seed=seed, curation={"min_interactions": 3}, feedback={"files": files}) for seed in (1, 2))
    for given, replay in ((mine, ""), (other, "")):
        opened = open_turn(here, given)
        assert opened.replay == replay
        with runs.run_station(here.database_url, here.home, opened.run_id, "curate") as station:
            station.report = {"digest": f"d{given.seed}", "replay": opened.replay}
    runs.finish_run(here.database_url, opened.run_id)
    assert open_turn(here, mine).replay == ""
    assert open_turn(here, recipe(seed=3, curation={"min_interactions": 3})).replay == "d2"


def test_a_run_whose_frozen_window_lost_rows_makes_place_for_a_new_one(
    here: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    given = recipe(curation={"min_interactions": 3}, feedback={"files": write_logs(tmp_path / "logs", 4)})
    dead = open_turn(here, given)
    with runs.run_station(here.database_url, here.home, dead.run_id, "curate") as station:
        station.report = {"digest": "d1"}
    with psycopg.connect(here.database_url) as connection:
        connection.execute("DELETE FROM interactions WHERE interaction_id = 'i2'")
    (tmp_path / "logs" / "interactions.jsonl").write_text("")  # or the next turn would import it again
    capsys.readouterr()

    opened = open_turn(here, given)
    assert opened.run_id != dead.run_id
    assert opened.message == f"run {opened.run_id} opens: 3 interactions, 0 feedback events"
    closed = runs.read_run(here.database_url, dead.run_id)
    reason = (
        "the window closed over 4 interactions and 0 events, but 3 and 0 are left:"
        " rows were erased since, so only a new run can go on"
    )
    assert (closed.status, closed.station, closed.error) == ("failed", "open_turn", reason)
    assert f"run {dead.run_id} is closed as failed: {reason}\n" in capsys.readouterr().out
    assert len((opened.window / "interactions.jsonl").read_text().splitlines()) == 3
    assert open_turn(here, given).run_id == opened.run_id


def test_too_little_says_how_much_there_is_and_what_to_do(here: Services) -> None:
    opened = open_turn(here, recipe(feedback={"sources": ["web", "app"]}))
    assert opened.message.startswith("not yet: 0 of 1,000 interactions in web, app (collect more, ")
    assert "lower curation.min_interactions" in opened.message


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"base": {"model": "./none"}}, BaseModelError, "no such folder"),
        ({"rlhf": {"method": "grpo"}}, RecipeError, "rlhf.method"),
        ({"training": {"adapter": "full"}}, RecipeError, "training.adapter"),
        ({"curation": {"regression_cases": "none.jsonl"}}, FeedbackError, "curation.regression_cases: no file 'none"),
        (
            {"feedback": {"files": {"interactions": "a.jsonl", "feedback": "b.jsonl"}}},
            FeedbackError,
            "feedback.files.interactions: no file 'a.jsonl' under",
        ),
    ],
)
def test_what_cannot_work_is_found_before_anything_is_stored(
    here: Services, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        open_turn(here, recipe(**fields))
    assert "\n" not in str(caught.value)
    assert runs.list_runs(here.database_url) == []
    assert turn.open_store(here).list() == []
    assert not here.home.exists()


def test_files_are_looked_for_here_then_beside_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundled = turn.CODE / "examples" / "interactions.jsonl.gz"
    files = {"interactions": "examples/interactions.jsonl.gz", "feedback": "examples/feedback.jsonl.gz"}
    assert turn.locate_logs(FeedbackSpec.model_validate({"files": files})) == (
        bundled,
        bundled.with_name("feedback.jsonl.gz"),
    )
    assert turn.locate_logs(FeedbackSpec()) is None
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "interactions.jsonl.gz").touch()
    assert turn.locate_input(files["interactions"], "x") == tmp_path / "examples" / "interactions.jsonl.gz"
    assert turn.locate_input(str(bundled), "x") == bundled
    cases = turn.locate_cases(CurationSpec(regression_cases="examples/regression.jsonl")).regression_cases
    assert cases == str(turn.CODE / "examples" / "regression.jsonl")
    assert turn.locate_cases(CurationSpec()) == CurationSpec()


def write_dataset(folder: Path, prompts: dict[str, list[str]]) -> DatasetCard:
    for part, texts in prompts.items():
        rows = [
            SftRow(
                f"{part}{n}", f"{part}-user", "disk", (Message(role="user", content=text),), "done", 1.0, 0.9, "answer"
            )
            for n, text in enumerate(texts)
        ]
        write_jsonl(folder / "sft" / f"{part}.jsonl", rows)
    content = digest_content(folder)
    card = DatasetCard(content, content, ("oncall",), 3, 3, (), {}, {}, {})
    write_card(folder, card)
    return card


def test_a_data_set_is_published_once_and_fetched_whole(here: Services, tmp_path: Path) -> None:
    card = write_dataset(tmp_path / "set", {"train": ["a", "b"], "test": ["c"]})
    turn.publish_dataset(here, tmp_path / "set", card)
    store = turn.open_store(here)
    assert len(store.list(f"datasets/{card.digest}/")) == 3
    (tmp_path / "set" / "card.json").write_text("changed")
    turn.publish_dataset(here, tmp_path / "set", card)
    got = turn.fetch_dataset(here, card.digest)
    assert got == here.home / "datasets" / card.digest
    assert digest_content(got) == card.content_digest
    assert json.loads((got / "card.json").read_text())["digest"] == card.digest
    with pytest.raises(DatasetError, match=r"data set gone is not in .*: it cannot be replayed; set curation\.replay"):
        turn.fetch_dataset(here, "gone")


def test_parity_is_asked_on_held_out_prompts_first_each_once(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", {"train": ["a", "b"], "validation": ["c"], "test": ["d", "d"]})
    assert [prompt[0].content for prompt in turn.parity_prompts(tmp_path / "set", 3)] == ["d", "c", "a"]
    write_dataset(tmp_path / "empty", {"train": []})
    with pytest.raises(DatasetError, match="no prompt to compare the exported model on"):
        turn.parity_prompts(tmp_path / "empty", 3)


def test_a_failure_is_told_by_the_task_that_flyte_names(here: Services) -> None:
    message = "Error encountered while executing 'tasks.train.train_sft':\n  no rows; collect more\n"
    said = turn.record_failure(here.database_url, "e", "fn0", message)
    assert said == "✗ station train_sft failed: no rows; collect more"
    run = runs.open_run(here.database_url, recipe(), {}, now=NOW, execution="e")
    said = turn.record_failure(here.database_url, "e", "fn0", message)
    assert said == f"✗ run {run.run_id}: station train_sft failed: no rows; collect more"
    found = runs.read_run(here.database_url, run.run_id)
    assert (found.status, found.station, found.error) == ("failed", "train_sft", "no rows; collect more")
    assert turn.record_failure(here.database_url, "e", "", "") == "✗ station open_turn failed: no message"


def test_a_failure_that_flyte_names_no_task_for_is_the_running_stations(here: Services) -> None:
    run = runs.open_run(here.database_url, recipe(), {}, now=NOW, execution="e")
    with pytest.raises(OSError, match="No space"), runs.run_station(here.database_url, here.home, run.run_id, "align"):
        raise OSError(28, "No space left on device")
    said = turn.record_failure(here.database_url, "e", "fn0", "[Errno 28] No space left on device")
    assert said == f"✗ run {run.run_id}: station align failed: [Errno 28] No space left on device"
    assert runs.read_run(here.database_url, run.run_id).station == "align"


def test_a_failure_is_told_when_nobody_can_note_it() -> None:
    said = turn.record_failure("postgresql://u:secret@127.0.0.1:9/d", "e", "fn0", "'tasks.judge.gate':\n  it is away")
    assert said == "✗ station gate failed: it is away (not noted on the run: PostgreSQL is away)"


def test_sources_that_a_recipe_passes_over_are_said() -> None:
    assert (
        turn.describe_sources({"default": 5276, "oncall": 3}, ("oncall",)) == "oncall; not looked at: default (5,276)"
    )
    assert turn.describe_sources({"oncall": 3}, ("oncall",)) == "oncall"
