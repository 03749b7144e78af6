"""The review API of a real router: who may ask, what is told, and what must not be."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from flytewheel.review.close import close_review
from flytewheel.review.labels import read_labels
from flytewheel.review.store import Review, list_duels
from router.receipts import sign_reviewer
from tests.review.duels import put_up
from tests.router.live import ADMIN, ASSIGNMENT_KEY, LiveRouter

Ask = Callable[..., httpx.Response]


@pytest.fixture
def review(router: LiveRouter) -> Review:
    return put_up(router.database_url, f"oncall-{uuid.uuid4().hex}", count=10)


def sign(review: Review, reviewer: str) -> dict[str, str]:
    token = sign_reviewer(ASSIGNMENT_KEY.encode(), review.review_id, reviewer)
    return {"x-flytewheel-reviewer": quote(reviewer), "x-flytewheel-review-token": token}


@pytest.fixture
def ask(router: LiveRouter, review: Review) -> Ask:
    def call(path: str = "", body: Any = None, *, who: str = "ada", method: str = "POST") -> httpx.Response:
        url = f"{router.url}/review/{review.review_id}{path}"
        return router.client.request(method, url, json=body, headers=sign(review, who))

    return call


def label(ask: Ask, choice: str, **options: Any) -> dict[str, Any]:
    shown = ask("/next", **options).json()["duel"]
    answer = ask("/labels", {"duel": shown["id"], "choice": choice}, **options)
    assert answer.json() == {"status": "stored"}, answer.text
    return dict(shown)


def test_a_link_of_the_operator_opens_the_review_and_no_other(router: LiveRouter, review: Review) -> None:
    made = router.send("POST", f"/review/{review.review_id}/links", {"reviewer": "  Zoe\u0308   L. "}).json()
    parts = urlsplit(made["path"])
    link = {name: values[0] for name, values in parse_qs(parts.fragment).items()}
    assert made["reviewer"] == link["reviewer"] == "Zoë L."
    assert parts.path == f"/ui/review/{review.review_id}"
    headers = {"x-flytewheel-reviewer": quote(link["reviewer"]), "x-flytewheel-review-token": link["token"]}
    assert router.get(f"/review/{review.review_id}", headers=headers).status_code == 200
    other = put_up(router.database_url, f"oncall-{uuid.uuid4().hex}", count=2)
    assert router.get(f"/review/{other.review_id}", headers=headers).status_code == 401
    stolen = {**headers, "x-flytewheel-reviewer": "bob"}
    assert router.get(f"/review/{review.review_id}", headers=stolen).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-flytewheel-reviewer": "ada"},
        {"x-flytewheel-reviewer": "ada", "x-flytewheel-review-token": "0" * 40},
        {"x-flytewheel-reviewer": "ada", "x-flytewheel-review-token": "é".encode("latin-1")},
        {"x-flytewheel-reviewer": "%00", "x-flytewheel-review-token": "0" * 40},
        {"x-flytewheel-reviewer": "%ff%fe", "x-flytewheel-review-token": "0" * 40},
        {"x-flytewheel-reviewer": "ada", "authorization": "Bearer wrong"},
    ],
)
def test_without_a_link_nothing_is_told(router: LiveRouter, review: Review, headers: dict[str, Any]) -> None:
    for method, path in (("GET", ""), ("POST", "/next"), ("POST", "/undo"), ("POST", "/labels")):
        body = {"duel": "d", "choice": "left"} if path == "/labels" else None
        answer = router.client.request(
            method, f"{router.url}/review/{review.review_id}{path}", json=body, headers=headers
        )
        assert answer.status_code == 401, (path, answer.text)
        assert "\n" not in answer.json()["error"]["message"]


def test_operators_lists_and_links_want_the_admin_key(router: LiveRouter, review: Review) -> None:
    assert router.get("/review").status_code == 403
    assert httpx.get(router.url + "/review").status_code == 401
    assert router.get("/review", headers=sign(review, "ada")).status_code == 403
    assert router.post(f"/review/{review.review_id}/links", json={"reviewer": "ada"}).status_code == 403
    found = router.send("GET", "/review").json()["reviews"]
    (own,) = [each for each in found if each["review"] == review.review_id]
    assert (own["run"], own["duels"], own["labels"], own["open"]) == (review.run_id, 10, 0, True)
    assert router.send("POST", f"/review/{review.review_id}/links", {"reviewer": " "}).status_code == 422
    assert router.send("POST", "/review/r-nope/links", {"reviewer": "ada"}).status_code == 404


def test_the_admin_key_reviews_under_a_name(router: LiveRouter, review: Review) -> None:
    headers = {**ADMIN, "x-flytewheel-reviewer": "Op"}
    found = router.post(f"/review/{review.review_id}/next", headers=headers).json()
    assert found["duel"] is not None
    assert found["reviewer"] == "Op"


def test_a_run_s_id_is_no_address(router: LiveRouter, review: Review) -> None:
    headers = {**ADMIN, "x-flytewheel-reviewer": "Op"}
    for name in (review.run_id, "r-nope"):
        assert router.get(f"/review/{name}", headers=headers).status_code == 404


def test_labels_by_side_arrive_as_whose_answer_they_prefer(router: LiveRouter, review: Review, ask: Ask) -> None:
    ours = {duel.duel_id: duel.ours for duel in list_duels(router.database_url, review.review_id)}
    expected = {}
    for choice in ("left", "right", "tie", "skip"):
        shown = label(ask, choice)
        if choice in ("left", "right"):
            expected[shown["id"]] = "ours" if shown[choice] == ours[shown["id"]] else "theirs"
        elif choice == "tie":
            expected[shown["id"]] = "tie"
    found = read_labels(router.database_url, review.review_id)
    assert {each.duel_id: each.preferred for each in found} == expected
    assert {each.reviewer for each in found} == {"ada"}


def test_reloading_repeating_changing_and_undoing(router: LiveRouter, review: Review, ask: Ask) -> None:
    first = ask("/next").json()
    assert ask("/next").json() == first
    body = {"duel": first["duel"]["id"], "choice": "left", "comment": "shorter"}
    assert ask("/labels", body).json() == {"status": "stored"}
    assert ask("/labels", body).json() == {"status": "duplicate"}
    assert ask("/labels", {**body, "choice": "tie"}).json() == {"status": "stored"}
    assert ask("/next").json()["duel"]["id"] != first["duel"]["id"]
    assert ask("/undo").json() == {"undone": first["duel"]["id"]}
    assert ask("/next").json()["duel"] == {**first["duel"], "comment": "shorter"}
    assert ask("/undo").json() == {"undone": None}


def test_a_duel_of_another_reviewer_is_refused(review: Review, ask: Ask) -> None:
    label(ask, "left")
    shown = ask("/next").json()["duel"]
    answer = ask("/labels", {"duel": shown["id"], "choice": "left"}, who="bob")
    assert answer.status_code == 409
    assert "was not dealt to bob" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"duel": "d"}, {"duel": "d", "choice": "ours"}, {"duel": "", "choice": "left"},
        {"duel": 3, "choice": "tie"}, {"duel": "d", "choice": "left", "comment": "x" * 4001},
        {"duel": "d", "choice": "left", "preferred": "ours"},
    ],
)  # fmt: skip
def test_a_body_of_another_form_is_refused(ask: Ask, body: Any) -> None:
    answer = ask("/labels", body)
    assert answer.status_code == 422
    assert "\n" not in answer.json()["error"]["message"]


def test_agreement_is_a_number_of_all_reviewers_and_names_nobody(review: Review, ask: Ask) -> None:
    assert ask(method="GET").json()["agreement"]["kappa"] is None
    for who in ("ada", "bob"):
        for _ in range(10):
            shown = ask("/next?more=true", who=who).json()["duel"]
            best = "left" if shown["left"].startswith("Look") else "right"
            choice = best if int(shown["id"][0], 16) % 2 else {"left": "right", "right": "left"}[best]
            ask("/labels", {"duel": shown["id"], "choice": choice}, who=who)
    found = ask(method="GET").json()
    assert found["agreement"]["shared"] == 10
    assert found["agreement"]["kappa"] == 1
    assert found["progress"] == {"duels": 10, "answered": 10, "labelled": 10, "skipped": 0, "seconds": 0}
    assert "bob" not in json.dumps(found)


def test_nothing_says_whose_answer_is_whose(router: LiveRouter, ask: Ask) -> None:
    """Across reviewers sides are drawn anew; beside the texts nothing in the answer goes with the side."""
    told, sides = set(), []
    for number in range(24):
        answer = ask("/next", who=f"reviewer {number}")
        duel = answer.json()["duel"]
        sides.append(duel["left"].startswith("Look"))
        told |= set(answer.json()) | set(duel)
        text = answer.text.lower()
        for word in ("candidate", "champion", "ours", "theirs", "oncall", "salt", "model", "user-"):
            assert word not in text, word
    assert told == {"duel", "open", "reviewer", "progress", "agreement", "id", "prompt", "left", "right", "comment"}
    assert 3 <= sum(sides) <= 21


def test_a_closed_review_says_so(router: LiveRouter, review: Review, ask: Ask) -> None:
    shown = label(ask, "left")
    close_review(router.database_url, review.review_id, source="oncall")
    found = ask("/next").json()
    assert (found["open"], found["duel"]) == (False, None)
    answer = ask("/labels", {"duel": shown["id"], "choice": "right"})
    assert answer.status_code == 409
    assert "closed" in answer.json()["error"]["message"]
    assert ask("/undo").status_code == 409


@pytest.mark.parametrize("path", ["/ui/review", "/ui/review/r-anything", "/ui/review/%3Cscript%3E"])
def test_the_page_may_load_nothing_but_its_own(router: LiveRouter, path: str) -> None:
    answer = router.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert "http" not in answer.text.replace("http-equiv", "")
    assert answer.content == router.get("/ui/review").content


def test_assets_are_listed_one_by_one(router: LiveRouter) -> None:
    for name, kind in (("review.js", "text/javascript"), ("review.css", "text/css"), ("review.svg", "image/svg+xml")):
        answer = router.get(f"/ui/assets/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert "content-security-policy" in answer.headers
    for name in ("review.html", "nope.js", "..%2Fapp.py", "%2e%2e/app.py"):
        assert router.get(f"/ui/assets/{name}").status_code == 404
