"""Decides which versions a call may be answered by, in the order of trying.

The arm is chosen by the sticky hash of the user (flytewheel/experiment/assign.py), or was given by an allocation that
learns (router/allocation). Somebody of the staff may ask for a
version or an arm instead: that call has no propensity and belongs to no experiment, so that no analysis counts it, and
nobody else answers for the version that was asked for.
"""

from __future__ import annotations

from dataclasses import replace

from flytewheel.experiment.assign import choose_arm
from flytewheel.experiment.holdback import choose_kept
from router.allocation.giving import Given
from router.proxy.call import Call
from router.refusals import RefusedError
from router.state import RouterState

OVERRIDE = "override"  # the arm of such calls in metrics and receipts


def keep_back(state: RouterState, call: Call) -> Given | None:
    """The arm of a user whom the model's holdback counts; the call is then that experiment's, not the canary's."""
    holdback = call.route.holdback
    if holdback is None or call.override is not None:
        return None
    kept = choose_kept(state.assignment_key, holdback, call.unit.user, beside=call.route.experiment is not None)
    if kept is None:
        return None
    call.route = replace(call.route, experiment=holdback, holdback=None)
    return Given(kept.arm, kept.propensity)


def leave_out(state: RouterState, call: Call) -> None:
    """Takes the experiment off the call of a user who may not meet it: the champion answers, and nothing is counted."""
    experiment = call.route.experiment
    if experiment is None or call.override is not None or experiment.layer.admits(state.assignment_key, call.unit.user):
        return
    call.route = replace(call.route, experiment=None)


def choose_versions(state: RouterState, call: Call, given: Given | None = None) -> list[str]:
    """The versions to try; the first is the assigned one. Writes arm, propensity and version into the call.

    Args:
        state: this process's.
        call: the request.
        given: the arm that an allocation gave the user; None: the sticky draw says it.

    Raises:
        RefusedError: what is asked for is not there.
    """
    experiment = call.route.experiment
    if call.override is not None:
        call.arm = OVERRIDE
        tries = [_find_wanted(state, call, call.override)]
    elif experiment is None:
        tries = [call.route.champion]
    elif given is not None:
        call.arm, call.propensity = given.arm, given.propensity
        state.metrics.assignments.labels(experiment.experiment_id, given.arm).inc()
        fallback = experiment.treatment if experiment.held_back else experiment.control
        tries = list(dict.fromkeys((experiment.arms[given.arm], fallback)))
    else:
        chosen = choose_arm(state.assignment_key, experiment.experiment_id, call.unit.user, experiment.share)
        call.arm, call.propensity = chosen.arm, chosen.propensity
        state.metrics.assignments.labels(experiment.experiment_id, chosen.arm).inc()
        tries = [experiment.treatment, experiment.control] if chosen.arm == "treatment" else [experiment.control]
    call.version = call.assigned_version = tries[0]
    call.served_arm = call.arm
    return tries


def _find_wanted(state: RouterState, call: Call, wanted: dict[str, str]) -> str:
    route, experiment = call.route, call.route.experiment
    arms = {"champion": route.champion}
    if experiment is not None:
        arms |= experiment.arms
    if route.holdback is not None:
        arms["holdback"] = route.holdback.control
    if "arm" in wanted:
        if wanted["arm"] not in arms:
            raise RefusedError(
                400, "invalid_request_error", f"no arm {wanted['arm']!r} of {route.name}: expected {', '.join(arms)}"
            )
        return arms[wanted["arm"]]
    loaded = {backend.model.version for backend in state.pool.all() if backend.model.name == route.name}
    loaded |= route.versions
    if wanted["version"] not in loaded:
        raise RefusedError(
            404,
            "invalid_request_error",
            f"version {wanted['version']!r} of {route.name} is not loaded; loaded are: {', '.join(sorted(loaded))}",
            "model_not_found",
        )
    return wanted["version"]
