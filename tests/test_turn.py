"""How a turn begins and how its failure is told, on real services."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel import runs, turn
from flytewheel.dataset import DatasetCard, digest_content, list_files, part_file, write_card, write_rows
from flytewheel.errors import BaseModelError, DatasetError, FeedbackError, RecipeError
from flytewheel.local.services import Services
from flytewheel.models import POCKET
from flytewheel.recipe import CurationSpec, FeedbackSpec, Recipe
from flytewheel.records import Message, SftRow
from flytewheel.review.store import get_review
from registry.store import ObjectStore
from tests.review.duels import prefer, put_up

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
    return turn.open_turn(here, given, here.home / "window", start=here.home / "start", now=NOW, execution="e")


def write_logs(folder: Path, count: int, *, first: int = 0) -> dict[str, str]:
    rows = [
        {"interaction_id": f"i{n}", "user_id": "u", "timestamp": NOW.isoformat(), "query": "q?", "response": "r."}
        for n in range(first, first + count)
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


def test_what_people_said_of_an_earlier_turn_comes_into_the_window_of_the_next(
    here: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = recipe(curation={"min_interactions": 1}, feedback={"sources": ["web", "oncall"]})
    review = put_up(here.database_url, "an earlier run", count=4, shared=0)
    another = put_up(here.database_url, "of another model", count=4, name="else")
    prefer(here.database_url, review, "ada", "ours")
    assert not open_turn(here, given).ready  # people are not done yet
    while prefer(here.database_url, review, "ada", "ours") is not None:
        pass
    opened = open_turn(here, given)
    assert opened.message.endswith("opens: 4 interactions, 4 feedback events")
    assert "review of an earlier run is closed: 4 preferences, 0 ties, 0 without a label" in capsys.readouterr().out
    written = [json.loads(line) for line in (opened.window / "feedback.jsonl").read_text().splitlines()]
    assert {event["feedback_type"] for event in written} == {"duel"}
    assert get_review(here.database_url, another.review_id).open


def test_a_hub_model_without_a_commit_is_said_with_the_one_that_is_used(
    here: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = "5f7ef6c9d1a5c6a8ea1a2c0a3b2f0c9b0a7d4e11"
    cached = tmp_path / "hub" / "models--someone--small"
    shutil.copytree(POCKET, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for revision, moves in ((None, "no revision is given"), ("main", "revision 'main' may move"), (commit, "")):
        open_turn(here, recipe(base={"model": "someone/small", "revision": revision}))
        said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
        line = f"warning: base.model 'someone/small': {moves}; commit {commit} is used, pin it with base.revision: "
        assert said == ([line + commit] if moves else [])


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


def freeze(here: Services, run_id: str) -> None:
    with runs.run_station(here.database_url, here.home, run_id, "curate") as station:
        station.report = {"digest": "d1"}


def window_of(here: Services, opened: turn.OpenedTurn) -> int:
    return int(runs.read_run(here.database_url, opened.run_id).window["number"])


def test_a_run_whose_window_lost_rows_makes_place_for_the_next_window(
    here: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    given = recipe(curation={"min_interactions": 3}, feedback={"files": write_logs(tmp_path / "logs", 4)})
    dead = open_turn(here, given)
    freeze(here, dead.run_id)
    with psycopg.connect(here.database_url) as connection:
        connection.execute("DELETE FROM interactions WHERE interaction_id = 'i2'")
    (tmp_path / "logs" / "interactions.jsonl").write_text("")  # or the next turn would import it again
    capsys.readouterr()

    reason = (
        "the window closed over 4 interactions and 0 events, but 3 and 0 are left:"
        " rows were erased since, so only another window can be learned from"
    )
    with pytest.raises(FeedbackError, match=reason):  # nothing came in since
        open_turn(here, given)
    closed = runs.read_run(here.database_url, dead.run_id)
    assert (closed.status, closed.station, closed.error) == ("failed", "open_turn", reason)
    assert f"run {dead.run_id} is closed as failed: {reason}\n" in capsys.readouterr().out

    write_logs(tmp_path / "logs", 3, first=4)
    opened = open_turn(here, given)
    assert opened.run_id != dead.run_id
    assert opened.message == f"run {opened.run_id} opens: 3 interactions, 0 feedback events"
    assert window_of(here, opened) == 2
    assert open_turn(here, given).run_id == opened.run_id


def test_a_run_of_an_older_release_makes_place_for_a_new_one(here: Services, tmp_path: Path) -> None:
    given = recipe(curation={"min_interactions": 3}, feedback={"files": write_logs(tmp_path / "logs", 3)})
    old = {"sources": ["oncall"], "high_xid": "9", "interactions": 3, "events": 0, "low_xid": "0", "low_id": ""}
    dead = runs.open_run(here.database_url, given, old, now=NOW, execution="e")
    opened = open_turn(here, given)
    assert (opened.ready, opened.run_id != dead.run_id, window_of(here, opened)) == (True, True, 1)
    assert (runs.read_run(here.database_url, dead.run_id).error or "").startswith("not a window")


def test_an_interrupted_run_keeps_its_window_whatever_came_in(here: Services, tmp_path: Path) -> None:
    given = recipe(curation={"min_interactions": 3}, feedback={"files": write_logs(tmp_path / "logs", 3)})
    first = open_turn(here, given)  # and is killed before anything is curated
    write_logs(tmp_path / "logs", 5, first=3)
    again = open_turn(here, given)
    assert again.message == f"run {first.run_id} resumes: 3 interactions, 0 feedback events"
    runs.finish_run(here.database_url, first.run_id)
    following = open_turn(here, given)
    assert following.message == f"run {following.run_id} opens: 5 interactions, 0 feedback events"


def test_a_run_that_could_not_be_curated_takes_a_new_window_when_there_is_enough(
    here: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = recipe(curation={"min_interactions": 3}, feedback={"files": write_logs(tmp_path / "logs", 3)})
    opened = open_turn(here, given)
    runs.finish_run(here.database_url, opened.run_id, error="no rows", station="curate")
    write_logs(tmp_path / "logs", 2, first=3)
    again = open_turn(here, given)
    assert (again.run_id, window_of(here, again)) == (opened.run_id, 1)  # two are not enough
    runs.finish_run(here.database_url, opened.run_id, error="no rows", station="curate")
    write_logs(tmp_path / "logs", 4, first=3)
    again = open_turn(here, given)
    assert again.message == f"run {opened.run_id} resumes: 4 interactions, 0 feedback events"
    assert "window 1 stays behind: `curation.window: 1` learns from it\n" in capsys.readouterr().out


def test_nothing_new_is_the_last_window_again_and_a_little_is_not_yet(
    here: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_logs(tmp_path / "logs", 3)
    mine, other, third = (
        recipe(seed=seed, curation={"min_interactions": 3}, feedback={"files": files}) for seed in (1, 2, 3)
    )
    first = open_turn(here, mine)
    runs.finish_run(here.database_url, first.run_id)
    before = {path.name: path.read_bytes() for path in first.window.iterdir()}
    for given in (mine, other):
        opened = open_turn(here, given)
        assert opened.run_id != first.run_id
        assert {path.name: path.read_bytes() for path in opened.window.iterdir()} == before
        runs.finish_run(here.database_url, opened.run_id)
        assert "no new feedback since window 1 closed: learning from it again\n" in capsys.readouterr().out
    demanding = recipe(curation={"min_interactions": 5}, feedback={"files": files})
    assert open_turn(here, demanding).message.startswith(
        "not yet: 3 of 5 interactions in window 1, and nothing new since, in oncall ("
    )
    write_logs(tmp_path / "logs", 2, first=3)
    opened = open_turn(here, third)
    assert not opened.ready
    assert opened.message.startswith("not yet: 2 of 3 interactions since window 1 closed, in oncall (collect more, ")


def test_a_recipe_may_name_an_earlier_window(here: Services, tmp_path: Path) -> None:
    files = write_logs(tmp_path / "logs", 3)
    given = recipe(curation={"min_interactions": 3}, feedback={"files": files})
    runs.finish_run(here.database_url, open_turn(here, given).run_id)
    write_logs(tmp_path / "logs", 4, first=3)
    second = open_turn(here, given)
    assert window_of(here, second) == 2
    named = recipe(curation={"min_interactions": 100, "window": 1}, feedback={"files": files})
    opened = open_turn(here, named)
    assert (opened.ready, window_of(here, opened)) == (True, 1)
    assert len((opened.window / "interactions.jsonl").read_text().splitlines()) == 3
    write_logs(tmp_path / "logs", 9, first=20)
    with pytest.raises(
        RecipeError, match=r"curation\.window: no window 7 in series oncall/oncall: its windows are 1 to"
    ):
        open_turn(here, recipe(curation={"window": 7}, feedback={"files": files}))
    with psycopg.connect(here.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM interactions").fetchall() == [(7,)]


def test_what_a_window_brings_along_and_leaves_out_is_said(
    here: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_logs(tmp_path / "logs", 3)
    given = recipe(curation={"min_interactions": 2, "max_interactions": 2}, feedback={"files": files})
    opened = open_turn(here, given)
    assert opened.message == f"run {opened.run_id} opens: 3 interactions, 0 feedback events"
    assert len((opened.window / "interactions.jsonl").read_text().splitlines()) == 2
    said = "window 1 of series oncall/oncall; 1 interactions skipped, more than curation.max_interactions\n"
    assert said in capsys.readouterr().out
    runs.finish_run(here.database_url, opened.run_id)
    event = {"event_id": "e", "interaction_id": "i0", "user_id": "u", "feedback_type": "copied"}
    write_logs(tmp_path / "logs", 2, first=3)
    (tmp_path / "logs" / "feedback.jsonl").write_text(json.dumps({**event, "timestamp": NOW.isoformat()}) + "\n")
    open_turn(here, given)
    assert "window 2 of series oncall/oncall; 1 earlier interactions come along with 0 events\n" in (
        capsys.readouterr().out
    )


def test_too_little_says_how_much_there_is_and_what_to_do(here: Services) -> None:
    opened = open_turn(here, recipe(feedback={"sources": ["web", "app"]}))
    assert opened.message.startswith("not yet: 0 of 1,000 interactions in web, app (collect more, ")
    assert "lower curation.min_interactions" in opened.message


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"base": {"model": "./none"}}, BaseModelError, "no such folder"),
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
        write_rows(part_file(folder, "sft", part), "sft", rows)
    content = digest_content(folder)
    card = DatasetCard(content, content, ("oncall",), 3, 3, (), {}, {}, {})
    write_card(folder, card)
    return card


def test_a_data_set_is_published_once_and_fetched_whole(here: Services, tmp_path: Path) -> None:
    card = write_dataset(tmp_path / "set", {"train": ["a", "b"], "test": ["c"]})
    turn.publish_dataset(here, tmp_path / "set", card)
    store = turn.open_store(here)
    assert len(store.list(f"datasets/{card.digest}/")) == len(list_files(tmp_path / "set"))
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
    talks = turn.parity_conversations(tmp_path / "set", 3)
    assert [(talk[0].content, talk[-1].role) for talk in talks] == [
        ("d", "assistant"), ("c", "assistant"), ("a", "assistant"),
    ]  # fmt: skip
    write_dataset(tmp_path / "empty", {"train": []})
    with pytest.raises(DatasetError, match="no prompt to compare the exported model on"):
        turn.parity_conversations(tmp_path / "empty", 3)


def test_sources_that_a_recipe_passes_over_are_said() -> None:
    assert (
        turn.describe_sources({"default": 5276, "oncall": 3}, ("oncall",)) == "oncall; not looked at: default (5,276)"
    )
    assert turn.describe_sources({"oncall": 3}, ("oncall",)) == "oncall"
