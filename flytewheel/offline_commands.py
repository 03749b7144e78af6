"""The command `flytewheel experiments offline`: what a policy would have earned, asked of the log of an experiment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from flytewheel.errors import ExperimentError
from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.experiment.experiments import Experiment
    from flytewheel.experiment.off_policy.question import Answer
    from flytewheel.records import FeedbackEvent


@click.command("offline")
@click.argument("name")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    help="treatment (everybody), control=0.5,treatment=0.5 (shares), topic:billing=treatment,*=control (by topic), or "
    "linucb (learnt from the first half of the users, asked about the second). Several may be given.",
)
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), default=7.0, show_default=True, help="How far back."
)
@click.option("--level", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.95, show_default=True)
@click.option("--least-users", type=click.FloatRange(min=2), default=100.0, show_default=True, help="Effective users.")
@as_json
def experiments_offline(
    name: str, policies: tuple[str, ...], days: float, level: float, least_users: float, json_: bool
) -> None:
    """Ask the log of experiment NAME (or of model NAME's newest one) what a policy would have earned an answer.

    Rewards are in [-1, 1] and 0 where nobody said anything. A question that the log cannot answer is refused in one
    sentence, and the command ends with 1 when all were.
    """
    from flytewheel.database import connect
    from flytewheel.experiment.off_policy.question import ask
    from flytewheel.experiment.off_policy.reading import read_answers
    from flytewheel.experiment.off_policy.targets import apply_policy

    url = open_services(with_router=False).database_url
    experiment = _find(url, name)
    until = datetime.now(UTC)
    with connect(url) as connection:
        answers = read_answers(connection, experiment, until - timedelta(days=days), until, _score)
    found = [
        ask(policy, *apply_policy(policy, answers, experiment.arms), level=level, least_users=least_users)
        for policy in policies
    ]
    say({"experiment": experiment.experiment_id, "days": days, "answers": found}, json_, lambda: _tell(found))
    if all(one.refusal for one in found):
        raise click.exceptions.Exit(1)


def _find(url: str, name: str) -> Experiment:
    from flytewheel.experiment.experiments import find_experiment, list_experiments

    found = find_experiment(url, name)
    if found is None:
        found = next((one for one in list_experiments(url, name=name) if not one.draft), None)
    if found is None:
        raise ExperimentError(f"no experiment {name!r} and none of a model {name!r}: see `flytewheel experiments list`")
    return found


def _score(events: Iterable[FeedbackEvent]) -> float | None:
    from flytewheel.feedback.rewards import score
    from flytewheel.recipe import FeedbackSpec

    return score(events, FeedbackSpec()).total


def _tell(found: list[Answer]) -> None:
    for one in found:
        if one.refusal is not None:
            click.echo(f"{one.policy}: refused: {one.refusal}")
            continue
        click.echo(
            f"{one.policy}: {one.answers:,} answers of {one.users:,} users, as good as {one.effective_users:,.0f} users"
            f" of its own; the log earned {one.logged:+.4f} an answer"
        )
        rows = [
            (label, f"{each.value:+.4f}", f"{each.standard_error:.4f}", "[{:+.4f}, {:+.4f}]".format(*each.interval))
            for label, each in (
                *((each.method, each) for each in one.estimates),
                *((("gain (DR)", one.difference),) if one.difference is not None else ()),
            )
        ]
        print_table(("estimate", "an answer", "error", "interval"), rows)
