"""Decides which arms an experiment has: control and treatment, and those that its body names beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.design import read_design

MOST_ARMS = 10
_ARM = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN = frozenset(("control", "treatment", "champion", "override", "duel"))


def name_arms(control: str, treatment: str, body: Mapping[str, Any]) -> dict[str, str]:
    """The version of each arm, the control first: `arms` of a body names those beside the two."""
    return {"control": control, "treatment": treatment, **(body.get("arms") or {})}


def check_arms(name: str, control: str, treatment: str, body: Mapping[str, Any]) -> None:
    """Refuses arms, or an allocation over them, that cannot be.

    Raises:
        ExperimentError: a name or version that cannot be an arm's, too many, or what `read_design` refuses.
    """
    more = body.get("arms") or {}
    if not isinstance(more, Mapping) or not all(
        isinstance(arm, str) and _ARM.fullmatch(arm) and arm not in _TAKEN and isinstance(version, str) and version
        for arm, version in more.items()
    ):
        raise ExperimentError(
            f"experiment on {name}: arms {more!r}: expected further arms as name: version, each name of a-z, 0-9 and _,"
            f" and none of {', '.join(sorted(_TAKEN))}"
        )
    arms = name_arms(control, treatment, body)
    if len(arms) > MOST_ARMS or len(set(arms.values())) < len(arms):
        raise ExperimentError(
            f"experiment on {name}: expected at most {MOST_ARMS} arms, each of another version: {arms}"
        )
    read_design(body, tuple(arms))
