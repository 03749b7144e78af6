"""Decides which versions an experiment may be opened with: its arms by name, and what no launch may ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.design import read_design
from flytewheel.experiment.layers import check_asked

MOST_ARMS = 10
_ARM = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN = frozenset(("control", "treatment", "champion", "override", "duel"))


def name_arms(control: str, treatment: str, body: Mapping[str, Any]) -> dict[str, str]:
    """The version of each arm, the control first: `arms` of a body names those beside the two."""
    return {"control": control, "treatment": treatment, **(body.get("arms") or {})}


def check_launch(
    *, name: str, control: str, treatment: str, share: float, launch_key: str, body: Mapping[str, Any] | None = None
) -> None:
    """Refuses a launch that could never be opened, before anything is loaded for it.

    Raises:
        ExperimentError: share outside (0, 1], equal arms, an empty name or launch key, or arms and an allocation in the
            body that cannot be.
    """
    if not 0.0 < share <= 1.0:
        raise ExperimentError(f"experiment on {name}: share {share!r} must be above 0 and at most 1")
    if control == treatment:
        raise ExperimentError(f"experiment on {name}: control and treatment are both {control}; name another version")
    if not name or not launch_key or not control or not treatment:
        raise ExperimentError("an experiment needs a name, a control, a treatment and a launch key; none may be empty")
    _check_body(name, control, treatment, body or {})


def _check_body(name: str, control: str, treatment: str, body: Mapping[str, Any]) -> None:
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
    check_asked(body)
