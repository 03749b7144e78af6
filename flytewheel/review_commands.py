"""The commands `flytewheel review …`: who is asked about an evaluation's answers, what they said, how they agree."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.local.services import Services

_TIMEOUT_S = 30.0


@click.group()
def review() -> None:
    """People's blind comparison of an evaluation's answers, at the router's /ui/review.

    RUN is the run that was evaluated, or the review's own id.
    """


@review.command("list")
@as_json
def review_list(json_: bool) -> None:
    """List reviews, the newest first."""
    from flytewheel.review.labels import read_labels
    from flytewheel.review.store import list_reviews

    database_url = _database_url()
    found: list[dict[str, Any]] = []
    for each in list_reviews(database_url):
        labels = read_labels(database_url, each.review_id)
        found.append(
            {
                "review": each.review_id,
                "run": each.run_id,
                "state": "open" if each.open else "closed",
                "opened": f"{each.opened_at:%Y-%m-%d %H:%M}",
                "duels": each.duels,
                "shared": each.common,
                "labelled": len({label.duel_id for label in labels}),
                "reviewers": sorted({label.reviewer for label in labels}),
            }
        )
    head = ("run", "review", "state", "opened", "duels", "shared", "labelled", "reviewers")
    rows = [(*(each[name] for name in head[:-1]), ", ".join(each["reviewers"])) for each in found]
    say(found, json_, lambda: print_table(head, rows))


@review.command("link")
@click.argument("run")
@click.option("--reviewer", required=True, help="Their name, as it will stand beside their labels.")
@click.option("--address", help="Where reviewers reach the router.  [default: the router's own address]")
@as_json
def review_link(run: str, reviewer: str, address: str | None, json_: bool) -> None:
    """Make the link with which one person reviews RUN."""
    from flytewheel.errors import ReviewError
    from flytewheel.review.desk import check_reviewer
    from flytewheel.review.store import get_review

    reviewer = check_reviewer(reviewer)
    services = open_services()
    found = get_review(services.database_url, run)
    if not found.open:
        raise ReviewError(f"the review of {found.run_id} is closed: expected an open one, see `flytewheel review list`")
    made = _ask_router(services, f"/review/{quote(found.review_id)}/links", {"reviewer": reviewer})
    link = f"{(address or services.router_url).rstrip('/')}{made['path']}"
    say({"review": found.review_id, "reviewer": reviewer, "link": link}, json_, lambda: click.echo(link))


@review.command("labels")
@click.argument("run")
@as_json
def review_labels(run: str, json_: bool) -> None:
    """Show what the reviewers of RUN said: the last word of each on each duel."""
    from flytewheel.review.labels import read_labels
    from flytewheel.review.store import get_review

    database_url = _database_url()
    found = get_review(database_url, run)
    labels = read_labels(database_url, found.review_id)
    counts = Counter(label.preferred for label in labels)

    def text() -> None:
        rows = [
            (label.duel_id[:12], label.reviewer, label.preferred, f"{label.at:%Y-%m-%d %H:%M}", label.comment)
            for label in labels
        ]
        print_table(("duel", "reviewer", "preferred", "at", "comment"), rows)
        click.echo(f"{counts['ours']} ours (candidate), {counts['theirs']} theirs (champion), {counts['tie']} ties")

    rows = [
        {
            "duel_id": label.duel_id,
            "reviewer": label.reviewer,
            "preferred": label.preferred,
            "comment": label.comment,
            "at": label.at,
            "shared": label.shared,
        }
        for label in labels
    ]
    say({"run": found.run_id, "review": found.review_id, "labels": rows}, json_, text)


@review.command("agreement")
@click.argument("run")
@as_json
def review_agreement(run: str, json_: bool) -> None:
    """Show how far the reviewers of RUN agree beyond chance: Cohen's kappa, pair by pair."""
    from flytewheel.review.agreement import describe_agreement, measure_agreement
    from flytewheel.review.labels import read_labels
    from flytewheel.review.store import get_review

    database_url = _database_url()
    labels = read_labels(database_url, get_review(database_url, run).review_id)
    found = measure_agreement(label.record for label in labels)

    def text() -> None:
        click.echo(describe_agreement(found))
        rows = [
            (
                f"{pair.one}, {pair.other}",
                pair.shared,
                _figure(pair.kappa.estimate),
                _figure(pair.standard_error),
                f"[{_figure(pair.kappa.low)}, {_figure(pair.kappa.high)}]",
                _figure(pair.observed),
                _figure(pair.expected),
            )
            for pair in found.pairs
        ]
        if rows:
            print_table(("reviewers", "shared", "kappa", "s.e.", "interval", "agree", "by chance"), rows)

    say(found, json_, text)


@review.command("close")
@click.argument("run")
@as_json
def review_close(run: str, json_: bool) -> None:
    """End the review of RUN: no label is taken any more, and its duels go into the next data set."""
    from flytewheel.review.close import close_review
    from flytewheel.review.store import get_review
    from flytewheel.runs import read_run

    database_url = _database_url()
    found = get_review(database_url, run)
    source = read_run(database_url, found.run_id).recipe.sources[0]
    closed = close_review(database_url, found.review_id, source=source)

    def text() -> None:
        click.echo(
            f"closed: {closed.preferences} preferences and {closed.ties} ties stored in {closed.source}, "
            f"{closed.unlabelled} duels without a label"
            + (f", {closed.empty} left out: an empty answer won" if closed.empty else "")
        )

    say({"run": found.run_id, "review": found.review_id, **_as_dict(closed)}, json_, text)


def _database_url() -> str:
    from flytewheel.database import migrate
    from flytewheel.settings import read_settings

    # A database of one's own is enough: nothing is asked of the other services.
    database_url = read_settings().database_url or open_services(with_router=False).database_url
    migrate(database_url)
    return database_url


def _ask_router(services: Services, path: str, body: dict[str, Any]) -> dict[str, Any]:
    import httpx

    from flytewheel.errors import RouterError

    address = services.router_url.rstrip("/")
    try:
        answer = httpx.post(
            address + path,
            json=body,
            headers={"authorization": f"Bearer {services.admin_key}"},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise RouterError(f"the router at {address} does not answer ({error}); start it with `flytewheel up`") from None
    if answer.is_error:
        said = found.get("error", {}).get("message", answer.status_code) if isinstance(found, dict) else found
        raise RouterError(f"the router at {address} makes no link ({said}): is it of the same database and version?")
    return dict(found)


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _as_dict(value: Any) -> dict[str, Any]:
    from flytewheel.records import to_jsonable

    return dict(to_jsonable(value))
