"""The review of an evaluation by people: the page at `/ui/review` and what it asks under `/review`.

A reviewer comes with a link: their name, and an HMAC over review and name by the assignment key. The admin key lists
reviews and hands links out. Nothing here says which model an answer comes from: not the texts, the ids, the order (all
drawn by a salt that stays in the database) nor the agreement, which is a number. The page is static, and its policy
lets it load nothing but its own script and style; answers reach it as JSON and are shown as text.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import Field

from flytewheel.errors import ReviewError
from flytewheel.records import to_jsonable
from flytewheel.review import desk
from flytewheel.review.agreement import measure_agreement, to_json
from flytewheel.review.labels import read_labels
from flytewheel.review.store import Review, get_review, list_reviews
from router.access.callers import ADMIN, PROOF, PUBLIC
from router.access.needs import needs
from router.control import State, Strict, is_admin
from router.receipts import check_reviewer_token, sign_reviewer

PAGE = "/ui/review"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
_ASSETS = {"review.js": "text/javascript", "review.css": "text/css", "review.svg": "image/svg+xml"}

review = APIRouter(tags=["review"])


class LinkBody(Strict):
    """Who is to be asked."""

    reviewer: str = Field(min_length=1, max_length=200)


class LabelBody(Strict):
    """What a reviewer says: the side as they saw it."""

    duel: str = Field(min_length=1, max_length=200)
    choice: desk.Choice
    comment: str = Field(default="", max_length=desk.MAX_COMMENT)


def find_open(review_id: str, state: State) -> Review:
    """The review of a path, by its own id only: a run's id may name the model."""
    try:
        found: Review | None = get_review(state.database_url, review_id)
    except ReviewError:
        found = None
    if found is None or found.review_id != review_id:
        raise HTTPException(404, f"no review {review_id[:100]!r}")
    return found


Found = Annotated[Review, Depends(find_open)]


def name_reviewer(review_id: str, request: Request, state: State) -> str:
    """Who asks, proven by the token of their link, or by the admin key."""
    given = unquote(request.headers.get("x-flytewheel-reviewer", ""), errors="replace")
    try:
        reviewer = desk.check_reviewer(given)
    except ReviewError as error:
        raise HTTPException(401, f"{error}; open the link that you were sent") from None
    token = request.headers.get("x-flytewheel-review-token", "")
    if not check_reviewer_token(state.assignment_key, review_id, reviewer, token) and not is_admin(request):
        raise HTTPException(401, "this link is not for this review and name; ask for a new one")
    return reviewer


Reviewer = Annotated[str, Depends(name_reviewer)]


@review.get("/review", dependencies=[needs(ADMIN)])
def get_reviews(state: State) -> dict[str, Any]:
    """Every review, the newest first, with how many labels it has; for operators."""
    return {"reviews": [_describe(state.database_url, found) for found in list_reviews(state.database_url)]}


@review.post("/review/{review_id}/links", dependencies=[needs(ADMIN)])
def post_link(review_id: str, body: LinkBody, state: State, found: Found) -> dict[str, str]:
    """A reviewer's link, as a path of this router. The token stands behind `#`, which browsers send to nobody."""
    reviewer = _check_name(body.reviewer)
    token = sign_reviewer(state.assignment_key, review_id, reviewer)
    return {"reviewer": reviewer, "path": f"{PAGE}/{review_id}#reviewer={quote(reviewer, safe='')}&token={token}"}


@review.get("/review/{review_id}", dependencies=[needs(PROOF)])
def get_standing(review_id: str, state: State, reviewer: Reviewer, found: Found) -> dict[str, Any]:
    """How far the reviewer is, and how far the reviewers agree."""
    return _stand(state.database_url, found, reviewer)


@review.post("/review/{review_id}/next", dependencies=[needs(PROOF)])
def post_next(
    review_id: str, state: State, reviewer: Reviewer, found: Found, more: Annotated[bool, Query()] = False
) -> dict[str, Any]:
    """The duel before the reviewer, the same until they answer it; `more` deals second opinions as well."""
    shown = desk.show_next(state.database_url, review_id, reviewer, more=more) if found.open else None
    return {"duel": _show(shown), **_stand(state.database_url, found, reviewer)}


@review.post("/review/{review_id}/labels", dependencies=[needs(PROOF)])
def post_label(review_id: str, body: LabelBody, state: State, reviewer: Reviewer, found: Found) -> dict[str, str]:
    """Stores a label; `status` is `stored`, or `duplicate` where it was said before."""
    status = desk.say(state.database_url, review_id, reviewer, body.duel, body.choice, comment=body.comment)
    return {"status": status}


@review.post("/review/{review_id}/undo", dependencies=[needs(PROOF)])
def post_undo(review_id: str, state: State, reviewer: Reviewer, found: Found) -> dict[str, Any]:
    """Takes the reviewer's last answer back; `undone` is its duel, null where there is none."""
    return {"undone": desk.undo(state.database_url, review_id, reviewer)}


@review.get(PAGE, include_in_schema=False, dependencies=[needs(PUBLIC)])
@review.get(PAGE + "/{review_id}", include_in_schema=False, dependencies=[needs(PUBLIC)])
def get_page(review_id: str = "") -> Response:
    """The page, the same for everybody."""
    return Response(_read("review.html"), media_type="text/html", headers=_HEADERS)


@review.get("/ui/assets/{name}", include_in_schema=False, dependencies=[needs(PUBLIC)])
def get_asset(name: str) -> Response:
    """The page's script, style and icon."""
    if name not in _ASSETS:
        raise HTTPException(404, f"no page {name[:100]!r}")
    return Response(_read(name), media_type=_ASSETS[name], headers=_HEADERS)


def _read(name: str) -> bytes:
    return (files("router") / "pages" / name).read_bytes()


def _check_name(name: str) -> str:
    try:
        return desk.check_reviewer(name)
    except ReviewError as error:
        raise HTTPException(422, str(error)) from None


def _describe(database_url: str, found: Review) -> dict[str, Any]:
    labels = read_labels(database_url, found.review_id)
    return {
        "review": found.review_id,
        "run": found.run_id,
        "model": found.name,
        "open": found.open,
        "opened_at": to_jsonable(found.opened_at),
        "duels": found.duels,
        "labelled": len({label.duel_id for label in labels}),
        "labels": len(labels),
        "reviewers": sorted({label.reviewer for label in labels}),
    }


def _stand(database_url: str, found: Review, reviewer: str) -> dict[str, Any]:
    labels = [label.record for label in read_labels(database_url, found.review_id)]
    return {
        "open": found.open,
        "reviewer": reviewer,
        "progress": to_jsonable(desk.read_standing(database_url, found.review_id, reviewer)),
        "agreement": to_json(measure_agreement(labels)),
    }


def _show(shown: desk.Shown | None) -> dict[str, Any] | None:
    if shown is None:
        return None
    return {
        "id": shown.duel_id,
        "prompt": to_jsonable(shown.prompt),
        "left": shown.left,
        "right": shown.right,
        "comment": shown.comment,
    }
