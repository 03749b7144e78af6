"""Where the rollout's state machine is tried: its real code over a real PostgreSQL, and the registry's real aliases
over a real S3 server or a dict; what a look finds is written by whoever tries it.

`Place` is one controller: it ticks, carries out, lets a router look, and may be cut off from either store, or told the
wrong time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple
from unittest import mock

import psycopg

from flytewheel.database import Connection
from flytewheel.errors import RegistryError, StoreError
from flytewheel.experiment import rollout as machine
from flytewheel.experiment.decision import list_rules
from flytewheel.experiment.evidence import find_next_stage, gather_evidence
from flytewheel.experiment.experiments import Experiment, list_experiments, open_experiment
from flytewheel.experiment.ledger import Rollout, is_approved
from flytewheel.experiment.promotion import check_promotion
from flytewheel.recipe import AbTestingSpec, AutomationSpec
from flytewheel.records import to_jsonable
from registry.aliases import CHAMPION, Aliases, Move
from router.blocked import Served
from router.keeper.promoting import move_champion, undo_lost
from router.keeper.routing import Contact, Routing, read_running
from router.table import Route

RULES = AbTestingSpec(stage_duration_hours=24.0)
VERDICTS = ("cleared", "harm", "srm", "expired", "nothing", "early")


class Stored(NamedTuple):
    """An object of a store."""

    data: bytes
    etag: str


class Memory:
    """A store with compare-and-set, as far as aliases ask for one."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def read(self, key: str) -> Stored | None:
        data = self.objects.get(key)
        return None if data is None else Stored(data, hashlib.md5(data, usedforsecurity=False).hexdigest())

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        return None if key in self.objects else self._put(key, data)

    def put_if_match(self, key: str, data: bytes, etag: str) -> str | None:
        found = self.read(key)
        return self._put(key, data) if found is not None and found.etag == etag else None

    def put_bytes(self, key: str, data: bytes, **options: Any) -> None:
        self._put(key, data)

    def list(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))

    def get_bytes(self, key: str) -> bytes:
        return self.objects[key]

    def _put(self, key: str, data: bytes) -> str:
        self.objects[key] = data
        return Stored(data, hashlib.md5(data, usedforsecurity=False).hexdigest()).etag


@dataclass
class Names:
    """The registry as far as a rollout moves anything of it: the champion's alias of versions that were verified.

    `cut`, where given, is called before and after each write, and may raise or kill.
    """

    store: Any
    reopen: Callable[[], Any] | None = None  # a client of its own, for a forked child
    verified: set[str] = field(default_factory=set)
    skew: timedelta = timedelta(0)
    cut: Callable[[str], None] = lambda moment: None

    @property
    def aliases(self) -> Aliases:
        return Aliases(self.store, lambda: datetime.now(UTC) + self.skew)

    def get_alias(self, name: str, alias: str) -> str | None:
        return self.aliases.get(name, alias)

    def last_move(self, name: str, alias: str) -> Move | None:
        return self.aliases.last(name, alias)

    def promote(self, name: str, version: str, expect: str | None = None, *, by: str = "", reason: str = "") -> None:
        if version not in self.verified:
            raise RegistryError(f"{version} is not verified")
        self.cut("before promote")
        self.aliases.move(name, CHAMPION, version, expect, kind="promote", by=by, reason=reason)
        self.cut("after promote")

    def roll_back(self, name: str, expect: str | None = None, *, by: str = "", reason: str = "") -> None:
        self.cut("before undo")
        self.aliases.roll_back(name, expect, by=by, reason=reason)
        self.cut("after undo")

    def count_promotions(self, name: str, mover: str) -> int:
        """How often somebody made a version the champion."""
        moves = self.aliases.history(name, CHAMPION)
        return sum(move.by == mover and move.kind == "promote" for move in moves)


@dataclass
class Place:
    """A controller of one model with what it can reach."""

    database_url: str
    names: Names
    name: str
    automation: AutomationSpec = field(default_factory=lambda: AutomationSpec(auto_rollout=True))

    def begin(self, version: str = "v1") -> None:
        """Makes a first champion."""
        self.names.verified.add(version)
        self.names.aliases.move(self.name, CHAMPION, version, None, kind="set", by="begin", reason="")

    @property
    def champion(self) -> str:
        found = self.names.get_alias(self.name, CHAMPION)
        assert found is not None
        return found

    def launch(self, treatment: str, *, share: float = 0.1) -> Experiment:
        """A verified candidate against the champion."""
        self.names.verified.add(treatment)
        return open_experiment(
            self.database_url,
            name=self.name,
            control=self.champion,
            treatment=treatment,
            share=share,
            launch_key=f"{self.name}-{treatment}",
            body={},
        ).experiment

    def tick(self, verdict: str, *, actor: str = "controller") -> machine.Tick:
        """One look that finds `verdict`."""
        with scripted(verdict):
            return machine.tick(self.database_url, RULES, self.automation, name=self.name, actor=actor)

    def promote(self, experiment_id: str, fence: int) -> None:
        """What the router does when a promotion is carried out, once the version is loaded."""
        promotion = check_promotion(self.database_url, experiment_id, fence)
        if not promotion.done:
            move_champion(self.names, self.database_url, promotion)  # type: ignore[arg-type]

    def step(self, verdict: str, *, actor: str = "controller") -> machine.Tick:
        """A look, and what follows from it."""
        ticked = self.tick(verdict, actor=actor)
        if ticked.decision == "promote":
            self.promote(ticked.experiment_id, ticked.fence)
        return ticked

    def look(self) -> Route:
        """What a router makes of both stores, once it has put right what was lost."""
        undo_lost(self.names, self.database_url, {self.name: self.champion})  # type: ignore[arg-type]
        return self.route()

    def route(self) -> Route:
        """What a router serves by both stores as they stand."""
        rows = read_running(self.database_url, self.name)
        contact = Contact(600.0)
        contact.made()
        routing = Routing(contact, {self.name: Served(self.champion)}, rows.running, rows.holdbacks)
        return routing.find_wanted()[self.name]

    def experiments(self) -> list[Experiment]:
        return list_experiments(self.database_url, name=self.name)


_SCRIPT = threading.local()
_LOCK = threading.Lock()
_INSTALLED: list[str] = []


@contextmanager
def scripted(verdict: str) -> Iterator[None]:
    """Lets every look of this thread find this; shares, fence, stages, approval and time are read as they are."""
    with _LOCK:
        _INSTALLED.append(verdict)
        machine.gather_evidence = _gather
    _SCRIPT.verdict = verdict
    try:
        yield
    finally:
        with _LOCK:
            _INSTALLED.pop()
            if not _INSTALLED:
                machine.gather_evidence = gather_evidence


def _gather(
    connection: Connection, rollout: Rollout, ab_testing: AbTestingSpec, automation: AutomationSpec, rewards: Any = None
) -> dict[str, Any]:
    return write_evidence(connection, rollout, ab_testing, automation, _SCRIPT.verdict)


def write_evidence(
    connection: Connection, rollout: Rollout, ab_testing: AbTestingSpec, automation: AutomationSpec, verdict: str
) -> dict[str, Any]:
    """Evidence as it is stored, whose figures say `verdict`."""
    stage, share = find_next_stage(rollout, ab_testing)
    harm, cleared = {"harm": (9.0, -9.0), "nothing": (0.1, 0.1), "expired": (0.1, 0.1)}.get(verdict, (-9.0, 9.0))
    outcome = "harm" if harm > 3 else "cleared" if cleared > 3 else "hold"
    users = {"control": 100, "treatment": 5000} if verdict == "srm" else {"control": 1000, "treatment": 1000}
    shares = {"control": 0.5, "treatment": 0.5}
    guardrail = {
        "metric": "thumbs_up_rate",
        "arm": "treatment",
        "role": "guardrail",
        "outcome": outcome,
        "reason": outcome,
        "control": 0.7,
        "treatment": 0.7,
        "log_e_harm": harm,
        "log_e_cleared": cleared,
        "difference": None,
    }
    evidence = {
        "share": rollout.share,
        "stage_hours": rollout.stage_hours if verdict == "early" else 25.0,
        "age_hours": 1e4 if verdict == "expired" else 1.0,
        "newest_hours": 0.1,
        "users": users,
        "look": 0,
        "sample_ratios": [{"stage": 0, "users": users, "shares": shares, "mismatch": verdict == "srm", "router": None}],
        "guardrails": [guardrail],
        "primaries": [],
        "paused": rollout.state == "paused",
        "drill": {"entry": 1, "seconds": 0.1, "passed": True, "faults": []},
        "approved": is_approved(connection, rollout),
        "rules": list_rules(ab_testing, automation, next_share=share)
        | {"rollback_drill_s": 10.0, "checks": ["final_validation"] if share >= 1 else []},
        "next_stage": stage,
    }
    found: dict[str, Any] = to_jsonable(evidence)
    return found


def lose_store(moment: str) -> None:
    """The store's answer is lost."""
    raise StoreError(f"cut off {moment}")


class _Kept(psycopg.Connection[Any]):
    """A connection that is not closed but given back: a new one for every transaction is half of a sequence's time."""

    free: ClassVar[dict[str, list[_Kept]]] = {}
    kind: str = ""

    def close(self) -> None:
        if self.broken or self.closed or self.kind not in self.free:
            super().close()
        else:
            self.free[self.kind].append(self)


_HIDDEN: list[Any] = []


def forget_connections() -> None:
    """In a forked child: connections of the parent are neither used nor closed."""
    _HIDDEN.append(dict(_Kept.free))
    for kind in _Kept.free:
        _Kept.free[kind] = []


@contextmanager
def keeping_connections() -> Iterator[None]:
    """Lets transactions share connections, one after the other."""
    connect = psycopg.connect

    def take(url: str, **options: Any) -> psycopg.Connection[Any]:
        if options.get("autocommit"):
            return connect(url, **options)
        free = _Kept.free.setdefault(url, [])
        try:
            return free.pop()
        except IndexError:
            made = _Kept.connect(url, **options)
            made.kind = url
            return made

    try:
        with mock.patch("psycopg.connect", take):
            yield
    finally:
        for free in _Kept.free.values():
            for one in free:
                psycopg.Connection.close(one)
        _Kept.free.clear()
