"""The command `flytewheel experiments duels`: which of two answers people chose, and whether that says anything."""

from __future__ import annotations

import click

from flytewheel.errors import ExperimentError
from flytewheel.terminal import as_json, open_services, say


@click.command("duels")
@click.argument("name")
@click.option("--level", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.95, show_default=True)
@as_json
def experiments_duels(name: str, level: float, json_: bool) -> None:
    """Judge the duels of experiment NAME, or of model NAME's newest one; look as often as you like."""
    from flytewheel.database import connect
    from flytewheel.experiment.duels import judge_duels
    from flytewheel.experiment.experiments import find_experiment, list_experiments

    url = open_services(with_router=False).database_url
    experiment = find_experiment(url, name)
    if experiment is None:
        experiment = next((one for one in list_experiments(url, name=name) if not one.draft), None)
    if experiment is None:
        raise ExperimentError(f"no experiment {name!r} and none of a model {name!r}: see `flytewheel experiments list`")
    with connect(url) as connection:
        found = judge_duels(connection, experiment, level=level)

    def text() -> None:
        click.echo(f"{experiment.experiment_id}: {found.outcome}: {found.reason}")
        click.echo(
            f"users who prefer {experiment.treatment} {found.treatment:,}, {experiment.control} {found.control:,}, only"
            f" ties {found.ties:,}; {found.chosen:,} of {found.shown:,} duels were decided"
        )

    say({"experiment": experiment.experiment_id, "result": found}, json_, text)
