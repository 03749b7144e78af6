"""Exercises the way back from a canary before it grows, and times it: a way that was never gone is a hope.

Beside the users' routes every worker gets one under a name that nobody knows (`NAME/drill`), with the same experiment,
and a user who exists nowhere else, whose draw lies in the treatment. Then that route becomes what a rollback makes of
it, the same way as for everybody: on disk, to all workers. Asked are all workers, through their own front door, with a
token from the real backends; nothing of it is remembered or counted as a user's.

| part | passes where |
|---|---|
| there | every worker's drill user is answered by the treatment |
| back | every worker's is answered by the control; timed from the change to the last answer of the treatment |
| alias | compare-and-set moves an alias `drill` from treatment to control: both versions read, the store answers |
| unload | without the experiment nobody needs the treatment, so that it would be drained and unloaded |

The real treatment stays loaded: users meet it. How it went is a row of `rollout_drills`; the next tick reads it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from flytewheel.errors import ExperimentError, FlytewheelError
from flytewheel.experiment.assign import choose_arm
from flytewheel.experiment.drills import store_drill
from flytewheel.experiment.experiments import Experiment, get_experiment
from router.keeper.promoting import try_alias
from router.keeper.state import KeeperState
from router.table import Route

WAIT_S = 30.0
_PAUSE_S = 0.02
_ANSWER_S = 20.0


async def drill(state: KeeperState, experiment_id: str) -> dict[str, Any]:
    """Exercises the way back of a running experiment, stores how it went, and returns that.

    Raises:
        ExperimentError: there is none, or this router does not serve it.
        DatabaseError: how it went could not be stored.
    """
    route = next(
        (one for one in state.routes.values() if one.experiment and one.experiment.experiment_id == experiment_id), None
    )
    if route is None or route.experiment is None:
        found = await asyncio.to_thread(get_experiment, state.database_url, experiment_id)
        raise ExperimentError(f"experiment {experiment_id} is {found.state} and not served here: no way back to try")
    async with state.lock(f"{route.name}/drill"):
        report = await _exercise(state, route.name, route.experiment)
    stored: dict[str, Any] = await asyncio.to_thread(store_drill, state.database_url, experiment_id, report)
    return stored


async def _exercise(state: KeeperState, name: str, experiment: Experiment) -> dict[str, Any]:
    asked = {"probe": f"{name}/drill", "user": _find_user(state, experiment)}
    report: dict[str, Any] = {"user": asked["user"], "faults": []}
    try:
        await _show(state, asked["probe"], Route(name, experiment.control, experiment, rehearsal=True))
        there = await _ask(state, asked)
        report["workers"] = len(there)
        if {each["version"] for each in there} != {experiment.treatment}:
            report["faults"].append(f"there: {_word(there)} answered, not {experiment.treatment}")
        began = time.monotonic()
        await _show(state, asked["probe"], Route(name, experiment.control, rehearsal=True))
        report["seconds"] = await _wait_back(state, asked, experiment.control, began, report)
    finally:
        await _show(state, asked["probe"], None)
    try:
        began = time.monotonic()
        await asyncio.to_thread(try_alias, state.registry, name, experiment)
        report["alias_s"] = round(time.monotonic() - began, 4)
    except FlytewheelError as error:
        report["faults"].append(f"alias: {error}")
    if _is_needed(state, name, experiment):
        report["faults"].append(f"unload: {experiment.treatment} is needed by more than its experiment")
    return report


async def _wait_back(
    state: KeeperState, asked: dict[str, str], control: str, began: float, report: dict[str, Any]
) -> float:
    """Seconds until the last answer of another version than the control."""
    last_s = time.monotonic() - began
    while True:
        back = await _ask(state, asked)
        if {each["version"] for each in back} == {control} and not any(each["fallback"] for each in back):
            return round(last_s, 4)
        last_s = time.monotonic() - began
        if last_s > WAIT_S:
            report["faults"].append(f"back: {_word(back)} answered after {WAIT_S:g} s, not {control}")
            return round(last_s, 4)
        await asyncio.sleep(_PAUSE_S)


async def _show(state: KeeperState, probe: str, route: Route | None) -> None:
    others = {name: one for name, one in state.probes.items() if name != probe}
    state.probes = others if route is None else {**others, probe: route}
    await state.publish()


async def _ask(state: KeeperState, asked: dict[str, str]) -> list[dict[str, Any]]:
    """What every serving worker answers; one that does not, as an answer of nobody."""
    workers = state.workers
    if workers is None:
        return []
    expected = len(workers.serving)
    found = [each for each in await workers.ask_all("rehearse", asked, timeout_s=_ANSWER_S) if each is not None]
    nobody = {"status": 0, "version": "", "arm": "", "fallback": False}
    return found + [nobody] * (expected - len(found))


def _find_user(state: KeeperState, experiment: Experiment) -> str:
    """Somebody whom the experiment gives its treatment."""
    for number in range(1_000_000):
        user = f"flytewheel-drill-{number}"
        arm = choose_arm(state.assignment_key, experiment.experiment_id, user, experiment.share).arm
        if arm == "treatment" and experiment.layer.admits(state.assignment_key, user):
            return user
    raise ExperimentError(
        f"{experiment.experiment_id} has a share of {experiment.share}: nobody would meet its treatment"
    )


def _is_needed(state: KeeperState, name: str, experiment: Experiment) -> bool:
    """Whether the treatment would stay loaded for somebody else's sake."""
    route = state.routes.get(name)
    held = route.holdback.control if route is not None and route.holdback is not None else None
    return experiment.treatment in (experiment.control, route.champion if route else None, held)


def _word(answers: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({each["version"] or f"nobody ({each['status']})" for each in answers})) or "nobody"
