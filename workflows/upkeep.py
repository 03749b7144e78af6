"""What is looked after beside the loop, a task each; launched by a schedule (workflows/launch_plans.py) or by hand:

pyflyte run workflows/upkeep.py daily_data_quality --recipe recipes/laptop.yaml
"""

from __future__ import annotations

from flytekit import workflow

from flytewheel.recipe import Recipe
from tasks.report import record_failure
from tasks.upkeep import carry_out_retention, check_calibration, check_quality, send_summary


@workflow(on_failure=record_failure)
def daily_data_quality(recipe: Recipe) -> str:
    """Is what came in during the last day like what came in before?

    Args:
        recipe: names the streams, and the limits under `automation.upkeep.quality`.
    """
    return check_quality(recipe=recipe)


@workflow(on_failure=record_failure)
def nightly_calibration(recipe: Recipe) -> str:
    """Do the statistics keep their word? Simulated experiments between identical arms, as configured.

    Args:
        recipe: its `ab_testing` is what is checked.
    """
    return check_calibration(recipe=recipe)


@workflow(on_failure=record_failure)
def weekly_retention(recipe: Recipe) -> str:
    """Deletes what is older than it may be.

    Args:
        recipe: the limits stand under `automation.upkeep.retention`.
    """
    return carry_out_retention(recipe=recipe)


@workflow(on_failure=record_failure)
def daily_summary(recipe: Recipe) -> str:
    """What came in, turned, was released and was amiss during the last day, by mail.

    Args:
        recipe: `automation.notify.email` says to whom.
    """
    return send_summary(recipe=recipe, span="daily")


@workflow(on_failure=record_failure)
def weekly_summary(recipe: Recipe) -> str:
    """The same of the last week.

    Args:
        recipe: `automation.notify.email` says to whom.
    """
    return send_summary(recipe=recipe, span="weekly")
