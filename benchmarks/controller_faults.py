"""What can happen to a controller: killed between any two effects, raced by another, a wrong clock, a store or database
that goes away before or after an effect, a task that runs twice. `benchmarks.controller` does it at full scale, a test
at a small one.

After each fault another controller comes, and then must hold: the rollout moved the champion once at most, an aborted
one serves nobody, and one that was to go on went on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from threading import Barrier
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psycopg

from benchmarks import Goal
from benchmarks.controller_place import RULES, Names, Place, forget_connections, lose_store, scripted
from flytewheel.errors import ExperimentError, FlytewheelError, RouterError
from flytewheel.experiment import driving, hands, launch, promotion
from flytewheel.experiment import rollout as machine
from flytewheel.experiment.experiments import Experiment, get_experiment
from registry.store import ObjectStore
from tests.services import TestServices

Kill = Callable[[], None]
_STORES: dict[str, ObjectStore] = {}


def make_place(services: TestServices) -> Place:
    """A controller of a model of its own."""

    def open_store() -> ObjectStore:
        return ObjectStore(services.s3_url, services.s3_access_key, services.s3_secret_key, "flytewheel")

    store = _STORES.setdefault(services.s3_url, open_store())
    place = Place(services.database_url, Names(store, open_store), f"m{uuid.uuid4().hex[:12]}")
    place.begin()
    return place


class Faults:
    """What was seen of what may not be."""

    def __init__(self) -> None:
        self.double = self.lost = self.stuck = self.unverified = 0
        self.told: list[str] = []

    def check(self, place: Place, experiment: Experiment, state: str, what: str) -> None:
        """The rollout is in `state`, and everything fits it, once a router has looked."""
        rollout_id = experiment.experiment_id.replace("exp-", "roll-", 1)
        route = place.look()
        found = read_state(place, experiment)
        moved = place.names.count_promotions(place.name, f"rollout {rollout_id}")
        champion = experiment.treatment if state == "promoted" else experiment.control
        meets = experiment.treatment in route.versions
        seen = {
            "double": moved > 1,
            "lost": state == "rolled_back" and (meets or found != "rolled_back"),
            "stuck": found != state or place.champion != champion,
            "unverified": not route.versions <= place.names.verified,
        }
        for name in (name for name, wrong in seen.items() if wrong):
            setattr(self, name, getattr(self, name) + 1)
            self.told.append(f"{what}: {name}: {found}, champion {place.champion}, {moved} promotions")

    def goals(self, what: str) -> list[Goal]:
        """None of it may be there."""
        for line in self.told[:5]:
            print(f"  {line}")
        return [
            Goal(f"double promotions, {what}", self.double, 0),
            Goal(f"aborts and rollbacks that lost, {what}", self.lost, 0),
            Goal(f"rollouts that did not come to their end, {what}", self.stuck, 0),
            Goal(f"routes to unverified versions, {what}", self.unverified, 0),
        ]


def read_state(place: Place, experiment: Experiment) -> str:
    """The state of an experiment's rollout."""
    with psycopg.connect(place.database_url) as connection:
        row = connection.execute(
            "SELECT state FROM rollouts WHERE experiment_id = %s", (experiment.experiment_id,)
        ).fetchone()
    assert row is not None
    return str(row[0])


def abort(place: Place, experiment: Experiment) -> None:
    """By hand, as often as it takes."""
    hands.abort(place.database_url, experiment.experiment_id.replace("exp-", "roll-", 1), reason="no", actor="ada")


# -------------------------------------------------------------------------------------------------------------- kills


def _after(target: Any, name: str) -> Callable[[ExitStack, Kill], None]:
    """Dies right behind a call, before its transaction is committed."""

    def put(stack: ExitStack, kill: Kill) -> None:
        called = getattr(target, name)

        def die(*given: Any, **more: Any) -> Any:
            called(*given, **more)
            kill()

        stack.enter_context(mock.patch.object(target, name, die))

    return put


def _at(moment: str) -> Callable[[Place, Kill], None]:
    def put(place: Place, kill: Kill) -> None:
        place.names.cut = lambda now: kill() if now == moment else None

    return put


MOMENTS: dict[str, tuple[str, Callable[[ExitStack, Kill], None] | Callable[[Place, Kill], None] | None]] = {
    "advance: found": ("advance", _after(machine, "decide")),
    "advance: written": ("advance", _after(machine, "move_share")),
    "advance: committed": ("advance", None),
    "promote: found": ("promote", _after(machine, "decide")),
    "promote: alias not moved": ("promote", _at("before promote")),
    "promote: alias moved": ("promote", _at("after promote")),
    "promote: written": ("promote", _after(promotion, "begin_holdback")),
    "promote: committed": ("promote", None),
    "roll back: written": ("harm", _after(machine, "close_experiment")),
    "roll back: committed": ("harm", None),
    "abort: written": ("abort", _after(hands, "close_experiment")),
    "abort: committed": ("abort", None),
    "regret: committed": ("regret", None),
    "regret: alias not moved": ("regret", _at("before undo")),
    "regret: alias moved": ("regret", _at("after undo")),
}


def try_kills(services: TestServices, count: int) -> list[Goal]:
    """A controller that dies at each moment, `count` times, and another one after it."""
    faults, killed, began = Faults(), 0, time.monotonic()
    for moment in MOMENTS:
        for _ in range(count):
            killed += kill_once(make_place(services), moment, faults)
    total = count * len(MOMENTS)
    print(f"kills: {len(MOMENTS)} moments x {count}, {killed} died there ({time.monotonic() - began:.0f} s)")
    return [Goal("controllers that died", killed, total, at_most=False), *faults.goals("kills")]


def kill_once(place: Place, moment: str, faults: Faults) -> bool:
    """Whether the controller died at the moment; another one takes over."""
    what, where = MOMENTS[moment]
    share = 0.1 if what in ("advance", "harm", "abort") else 0.5
    experiment = place.launch("v2", share=share)
    if what == "regret":
        place.step("cleared")
    died = _fork(lambda: _live(place, what, where, experiment, moment))
    if what == "advance":
        for _ in range(3):
            place.step("cleared")
        actions = _actions(place, experiment)
        faults.double += len([each for each in actions if each == "advance"]) > 2  # 10 → 25 → 50 % are two
        faults.check(place, experiment, "promoted", moment)
    elif what == "promote":
        place.step("cleared")
        faults.check(place, experiment, "promoted", moment)
    elif what == "harm":
        place.step("harm")
        faults.check(place, experiment, "rolled_back", moment)
    else:
        abort(place, experiment)
        faults.check(place, experiment, "rolled_back", moment)
    return died


def _live(place: Place, what: str, where: Any, experiment: Experiment, moment: str) -> None:
    """A controller's life until the moment."""
    forget_connections()
    assert place.names.reopen is not None
    place.names.store = place.names.reopen()
    with ExitStack() as stack:
        if where is not None:
            (where(place, _die) if moment.endswith("moved") else where(stack, _die))
        if what in ("abort", "regret"):
            abort(place, experiment)
            if where is not None:
                place.look()
        else:
            place.step("harm" if what == "harm" else "cleared")
    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fork(work: Callable[[], None]) -> bool:
    """Runs `work` in a child; whether that was killed."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _actions(place: Place, experiment: Experiment) -> list[str]:
    with psycopg.connect(place.database_url) as connection:
        rows = connection.execute(
            "SELECT action FROM rollout_log JOIN rollouts USING (rollout_id) WHERE experiment_id = %s ORDER BY entry",
            (experiment.experiment_id,),
        ).fetchall()
    return [row[0] for row in rows]


# -------------------------------------------------------------------------------------------------------------- races


def try_races(services: TestServices, count: int) -> list[Goal]:
    """Two controllers at the same step, in two of three rounds with somebody who aborts, or a look that finds harm."""
    faults, began, promoted = Faults(), time.monotonic(), 0
    with ThreadPoolExecutor(3) as threads:
        for number in range(count):
            place = make_place(services)
            experiment = place.launch("v2", share=0.1 if number % 2 else 0.5)
            barrier = Barrier(3)
            third = ("cleared", "abort", "harm")[number % 3]
            works = ["cleared", "cleared", third]
            for done in [threads.submit(_race, place, experiment, barrier, work) for work in works]:
                done.result()
            if third == "abort":
                faults.check(place, experiment, "rolled_back", f"race {number}")
            else:  # whoever was first decides; then another controller goes on to the end
                for _ in range(3):
                    with suppress(ExperimentError):
                        place.step("cleared")
                found = read_state(place, experiment)
                promoted += found == "promoted"
                faults.check(place, experiment, "promoted" if found == "promoted" else "rolled_back", f"race {number}")
                faults.double += _actions(place, experiment).count("advance") > 2
    print(f"races: {count} of two controllers, {promoted} promoted ({time.monotonic() - began:.0f} s)")
    return faults.goals("races")


def _race(place: Place, experiment: Experiment, barrier: Barrier, work: str) -> None:
    barrier.wait()
    with suppress(FlytewheelError):  # the one who loses hears that something changed
        if work == "abort":
            abort(place, experiment)
        else:
            place.step(work, actor=work)


# ------------------------------------------------------------------------------------------------------------- clocks


def try_clocks(services: TestServices, count: int) -> list[Goal]:
    """Controllers whose clocks are an hour ahead or behind, in turns: dwell and holdback are the database's time."""
    faults, early, began = Faults(), 0, time.monotonic()
    for number in range(count):
        place = make_place(services)
        skews = [timedelta(hours=1 if (number + turn) % 2 else -1) for turn in range(4)]
        experiment = place.launch("v2", share=0.5)
        for skew in skews:
            place.names.skew = skew
            with _skewed(skew):
                early += place.step("early").decision != "hold"
        with psycopg.connect(services.database_url) as connection:
            connection.execute(
                "UPDATE rollouts SET stage_since = stage_since - interval '24 hours' WHERE name = %s", (place.name,)
            )
        with _skewed(timedelta(hours=-1)):
            place.step("early")
        faults.check(place, experiment, "promoted", f"clock {number}")
        early += get_experiment(place.database_url, experiment.experiment_id).state != "holdback"
    print(f"clocks: {count} x 4 turns an hour ahead and behind ({time.monotonic() - began:.0f} s)")
    return [Goal("steps before their time, clocks", early, 0), *faults.goals("clocks")]


def _skewed(by: timedelta) -> Any:
    """This process's clock is wrong for a while."""
    true = time.time
    return mock.patch("time.time", side_effect=lambda: true() + by.total_seconds())


# --------------------------------------------------------------------------------------------------------------- cuts


def try_cuts(services: TestServices, count: int) -> list[Goal]:
    """The registry, the database or the serving side goes away before or after an effect; half are then aborted."""
    faults, began, cuts = Faults(), time.monotonic(), 0
    for kind, cut in (("registry", _cut_registry), ("database", _cut_database), ("backend", _cut_backend)):
        for number in range(count):
            place = make_place(services)
            experiment = place.launch("v2", share=0.5)
            try:
                cut(place, number)
            except (FlytewheelError, psycopg.Error):
                cuts += 1
            if number % 4 < 2:
                place.step("cleared")
                faults.check(place, experiment, "promoted", f"{kind} cut {number}")
            else:
                abort(place, experiment)
                faults.check(place, experiment, "rolled_back", f"{kind} cut {number}")
    print(f"cuts: {count} each of registry, database and backend, {cuts} felt ({time.monotonic() - began:.0f} s)")
    return [Goal("cuts that were felt", cuts, 3 * count, at_most=False), *faults.goals("cuts")]


def _cut_registry(place: Place, number: int) -> None:
    moment = ("before promote", "after promote")[number % 2]
    place.names.cut = lambda now: lose_store(now) if now == moment else None
    try:
        place.step("cleared")
    finally:
        place.names.cut = lambda now: None


def _cut_database(place: Place, number: int) -> None:
    """The server ends the controller's connection within the transaction that stores a verdict, or the promotion."""
    target, name = ((machine, "log_rollout"), (promotion, "begin_holdback"))[number % 2]
    called = getattr(target, name)

    def end(connection: Any, *given: Any, **more: Any) -> Any:
        called(connection, *given, **more)
        with psycopg.connect(place.database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        connection.execute("SELECT 1")

    with mock.patch.object(target, name, end):
        place.step("cleared")


def _cut_backend(place: Place, number: int) -> None:
    """The version cannot be served, or whoever was told so never hears that it is."""
    ticked = place.tick("cleared")
    if number % 2:
        place.promote(ticked.experiment_id, ticked.fence)
    raise RouterError("the model's server does not answer")


# -------------------------------------------------------------------------------------------------------------- tasks


def try_tasks(services: TestServices, count: int) -> list[Goal]:
    """The bodies of the rollout's tasks, each run twice with the first answer lost, to everyone or back."""
    from tasks import rollout as shells

    faults, began = Faults(), time.monotonic()
    for number in range(count):
        place = make_place(services)
        experiment = place.launch("v2", share=0.5)
        verdict = ("cleared", "harm")[number % 2]
        with ExitStack() as stack:
            _serve_within(stack, place, shells)
            recipe: Any = SimpleNamespace(
                name=place.name,
                ab_testing=RULES,
                automation=place.automation,
                feedback=SimpleNamespace(rewards=None),
            )
            stack.enter_context(scripted(verdict))
            for _ in range(2):  # the first answer is lost
                found = shells.tick_rollout.task_function(recipe)
            body = (shells.roll_back if found.decision == "none" else shells.advance).task_function
            for _ in range(2):
                body(found.decision, found.experiment_id, found.fence, found.message)
            shells.tick_rollout.task_function(recipe)
            shells.take_approval.task_function("roll-none", 0, "")
        faults.check(place, experiment, "promoted" if verdict == "cleared" else "rolled_back", f"task {number}")
        done = "promoted" if verdict == "cleared" else "roll_back"
        faults.double += _actions(place, experiment).count(done) != 1
    print(f"tasks: each of the rollout's run twice, {count} times ({time.monotonic() - began:.0f} s)")
    return faults.goals("tasks run twice")


def _serve_within(stack: ExitStack, place: Place, shells: Any) -> None:
    """What the router does, without one."""
    services = SimpleNamespace(database_url=place.database_url, router_url="", admin_key="")
    stack.enter_context(mock.patch.object(shells, "connect", return_value=services))
    stack.enter_context(mock.patch.object(driving.launch, "launch_shadowed", return_value=None))
    stack.enter_context(
        mock.patch.object(
            launch, "promote", lambda *given, experiment_id, fence, **more: place.promote(experiment_id, fence)
        )
    )
    stack.enter_context(mock.patch.object(launch, "follow_experiment", side_effect=lambda *given, **more: place.look()))


def try_way_back(services: TestServices, count: int) -> list[Goal]:
    """Seconds from a stored verdict to the canary's last answer, and what answered, of a router under traffic."""
    from benchmarks.controller_router import measure_way_back

    return measure_way_back(services, count)
