"""Beside the loop: a look at the data, a look at the statistics, age limits, and summaries by mail.

A report is stored once for an execution, and told once; what is amiss is told to people, what is not stands in the
deck and in the next summary.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from flytekit import Deck, task

from flytewheel.progress import Progress
from flytewheel.recipe import Recipe
from flytewheel.settings import read_settings
from flytewheel.upkeep import bulletin, calibration, pages, quality, retention
from flytewheel.upkeep.reports import Report, keep_report
from images import core
from tasks import DECK, LARGE_MEMORY, SHORT, SMALL, TELLING_SECRETS
from tasks.services import connect, locate_retained, name_execution, tell_people


@task(container_image=core, requests=LARGE_MEMORY, retries=2, timeout=SHORT, secret_requests=TELLING_SECRETS, **DECK)
def check_quality(recipe: Recipe) -> str:
    """Compares what was stored during the last day with the weeks before, and tells people what is amiss.

    Args:
        recipe: names the streams; `automation.upkeep.quality` has the limits.

    Returns:
        What is amiss, in one line.
    """
    return _close(recipe, quality.look_at_quality(connect().database_url, recipe, now=datetime.now(UTC)))


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=TELLING_SECRETS, **DECK)
def check_calibration(recipe: Recipe) -> str:
    """Runs experiments between identical arms by the configured statistics, and tells people when too many differ.

    Args:
        recipe: its `ab_testing` is checked, with that of running experiments; `automation.upkeep.calibration` says how.

    Returns:
        What is amiss, in one line.
    """
    seed = recipe.seed + datetime.now(UTC).toordinal()  # other draws each night, the same for a retry
    return _close(recipe, calibration.check_calibration(connect().database_url, recipe, seed=seed))


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=TELLING_SECRETS, **DECK)
def carry_out_retention(recipe: Recipe) -> str:
    """Deletes interactions and what runs left behind, where they are older than the limits.

    Args:
        recipe: `automation.upkeep.retention` has the limits; nothing is deleted where there is none.

    Returns:
        What went, in one line.
    """
    with Progress(stream=sys.stdout) as progress:
        done = retention.carry_out_limits(
            locate_retained(connect(), recipe),
            recipe,
            days=read_settings().retention_days,
            now=datetime.now(UTC),
            by=f"execution {name_execution()}",
            progress=progress,
        )
    return _close(recipe, done)


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=TELLING_SECRETS, **DECK)
def send_summary(recipe: Recipe, span: str) -> str:
    """Writes what happened in a day or a week, and mails it.

    Args:
        recipe: `automation.notify.email` says to whom.
        span: `daily` or `weekly`.

    Returns:
        The summary.
    """
    written = bulletin.write_bulletin(connect().database_url, recipe, bulletin.parse_span(span), now=datetime.now(UTC))
    tell_people(recipe, written.to_message())
    Deck("summary", pages.describe_bulletin(written))
    return written.to_text()


def _close(recipe: Recipe, report: Report) -> str:
    keep_report(connect().database_url, report, name_execution())
    if report.alarms:
        tell_people(recipe, report.to_message(name_execution(), datetime.now(UTC)))
    Deck(report.kind, pages.describe_report(report))
    print(report.describe(), flush=True)
    return report.describe()
