"""Drafts: experiments that were written down and that nobody meets yet.

A draft has no rollout and no part of the traffic, and takes no place: a model may have many, beside the experiment that
runs. A launch with its key opens it as it stands; the arms are loaded then, and the champion is checked then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytewheel.database import connect
from flytewheel.experiment.experiments import (
    INSERT,
    Opened,
    check_launch,
    find_launch,
    get_experiment,
    lock_name,
    name_experiment,
)
from flytewheel.records import canonical_json


def draft_experiment(
    database_url: str,
    *,
    name: str,
    control: str,
    treatment: str,
    share: float,
    launch_key: str,
    body: Mapping[str, Any],
) -> Opened:
    """Writes an experiment down; with a key that is known, returns what has it.

    Raises:
        ExperimentError: as for a launch: equal arms, a share outside (0, 1], or a key that stands for another.
        DatabaseError: PostgreSQL is away.
    """
    launch = {"name": name, "control": control, "treatment": treatment, "launch_key": launch_key}
    check_launch(share=share, body=body, **launch)
    experiment_id = name_experiment(name, launch_key)
    with connect(database_url) as connection:
        lock_name(connection, name)
        earlier = find_launch(database_url, **launch)
        if earlier is not None:
            return Opened(earlier, created=False)
        connection.execute(
            INSERT,
            (experiment_id, name, "draft", control, treatment, share, canonical_json(body).decode(), launch_key),
        )
    return Opened(get_experiment(database_url, experiment_id), created=True)
