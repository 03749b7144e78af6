"""`flytewheel review …` over a real router and database; wrong inputs are one line."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from flytewheel import runs
from flytewheel.cli import main
from flytewheel.recipe import Recipe
from flytewheel.review.desk import show_next
from flytewheel.review.store import Review
from tests.review.duels import prefer, put_up
from tests.router.conftest import make_router, router  # noqa: F401
from tests.router.live import LiveRouter

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
Call = Callable[..., Result]


@pytest.fixture
def call(router: LiveRouter) -> Call:  # noqa: F811
    environ = {**router.environ, "FLYTEWHEEL_ROUTER_URL": router.url}
    del environ["FLYTEWHEEL_ASSIGNMENT_KEY"]

    def run(*arguments: str, **more: str) -> Result:
        return CliRunner(env={**environ, **more}).invoke(main, ["review", *arguments])

    return run


@pytest.fixture
def review(router: LiveRouter) -> Review:  # noqa: F811
    fields: dict[str, Any] = {"name": f"oncall-{uuid.uuid4().hex[:8]}", "base": {"model": "pocket"}}
    recipe = Recipe.model_validate({**fields, "feedback": {"sources": ["web", "app"]}})
    run = runs.open_run(router.database_url, recipe, {}, now=NOW, execution="e")
    return put_up(router.database_url, run.run_id, count=6, shared=0.5, name=recipe.name)


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_link_lets_a_reviewer_in(call: Call, review: Review, router: LiveRouter) -> None:  # noqa: F811
    made = read(call("link", review.run_id, "--reviewer", " Zoë  L. ", "--json"))
    assert made["reviewer"] == "Zoë L."
    address, _, secret = made["link"].partition("#")
    assert address == f"{router.url}/ui/review/{review.review_id}"
    token = secret.rpartition("token=")[2]
    headers = {"x-flytewheel-reviewer": "Zo%C3%AB%20L.", "x-flytewheel-review-token": token}
    answer = httpx.post(f"{router.url}/review/{review.review_id}/next", headers=headers, trust_env=False)
    assert answer.json()["duel"]["id"]
    plain = call("link", review.review_id, "--reviewer", "Zoë L.", "--address", "https://models.example/")
    assert plain.stdout == f"https://models.example/ui/review/{review.review_id}#{secret}\n"


def test_what_was_said_is_listed_measured_and_stored(call: Call, review: Review, router: LiveRouter) -> None:  # noqa: F811
    url = router.database_url
    for name in ("ada", "bob"):
        for wanted in ("ours", "theirs", "ours", "tie"):
            prefer(url, review, name, wanted, comment="short" if wanted == "tie" else "")
    (own,) = [each for each in read(call("list", "--json")) if each["run"] == review.run_id]
    assert (own["state"], own["duels"], own["shared"], own["reviewers"]) == ("open", 6, 3, ["ada", "bob"])
    assert review.run_id in call("list").stdout

    labels = read(call("labels", review.run_id, "--json"))["labels"]
    assert len(labels) == 8
    assert {label["comment"] for label in labels if label["preferred"] == "tie"} == {"short"}
    assert "4 ours (candidate), 2 theirs (champion), 2 ties" in call("labels", review.review_id).stdout

    agreement = read(call("agreement", review.run_id, "--json"))
    assert agreement["reviewers"] == ["ada", "bob"]
    assert agreement["pairs"][0]["shared"] == agreement["shared"] >= 2
    assert "Cohen's kappa" in call("agreement", review.run_id).stdout

    closed = read(call("close", review.run_id, "--json"))
    assert closed["source"] == "web"
    assert closed["preferences"] + closed["ties"] == own["labelled"]
    assert call("close", review.run_id).stdout.startswith("closed: ")
    rows = router.rows("SELECT source FROM feedback_events WHERE event_id LIKE %s", f"review/{review.review_id}/%")
    assert rows == [("web",)] * own["labelled"]
    assert "is closed" in one_line(call("link", review.run_id, "--reviewer", "ada"))


def one_line(result: Result, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_wrong_inputs_are_one_line(call: Call, review: Review) -> None:
    for command in (("labels",), ("agreement",), ("close",), ("link", "--reviewer", "ada")):
        assert "no review 'nope'" in one_line(call(command[0], "nope", *command[1:]))
    assert "expected a reviewer's name" in one_line(call("link", review.run_id, "--reviewer", "\u202e"))
    assert "makes no link" in one_line(call("link", review.run_id, "--reviewer", "a", FLYTEWHEEL_ADMIN_KEY="wrong"))


def test_nobody_labelled_yet_is_said(call: Call, review: Review, router: LiveRouter) -> None:  # noqa: F811
    assert show_next(router.database_url, review.review_id, "ada") is not None
    assert call("agreement", review.run_id).stdout == "agreement: cannot tell, it takes two reviewers\n"
    assert "0 ours" in call("labels", review.run_id).stdout
