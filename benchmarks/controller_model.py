"""What a rollout may be, told a second time and as simply as possible, and random sequences that hold both against
each other: Hypothesis draws what happens next, the real code does it, and after every step the stores must say what the
model says.

Invariants, after every step: a share rises only by a stored verdict or a person's word; a rollout moves the champion
once; whoever was aborted serves nobody once a router has looked; fencing tokens only grow; one experiment runs, and one
holdback; only verified versions are routed to; every stored decision derives again from its evidence.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from benchmarks.controller_place import RULES, VERDICTS, Memory, Names, Place
from flytewheel.database import connect
from flytewheel.errors import ExperimentError, RegistryError
from flytewheel.experiment import hands
from flytewheel.experiment.decision import WAITS, rederive
from flytewheel.experiment.experiments import name_experiment
from flytewheel.experiment.holdback import end_holdback
from flytewheel.experiment.ledger import find_rollout, read_log
from flytewheel.experiment.rollout import Tick, approve
from flytewheel.recipe import AutomationSpec

STAGES = RULES.rollout_stages
OF_STEP = ("advance", "force")


class Controller(RuleBasedStateMachine):
    """One model's releases. The model: state, share, stage, approval, the champions in their order, the holdback."""

    database_url = ""
    counts: dict[str, int] = {}  # noqa: RUF012  # of all machines

    def __init__(self) -> None:
        super().__init__()
        self.place = Place(self.database_url, Names(Memory()), f"m{uuid.uuid4().hex[:12]}")
        self.place.begin()
        self.champions = ["v1"]
        self.state, self.share, self.stage = "none", 0.0, 0
        self.approved = self.waits = False
        self.treatment = ""
        self.held: str | None = None  # the treatment whose holdback runs
        self.verdict: Tick | None = None  # the last one that promotes
        self.fence = -1
        self.number = 1
        self.derived: set[datetime] = set()
        self._count("sequences")

    # ------------------------------------------------------------------------------------------------ what happens

    @precondition(lambda self: self.state in ("none", "promoted", "rolled_back") or self.number < 4)
    @rule(share=st.sampled_from((0.5, 0.1)))
    def launch(self, share: float) -> None:
        self.number += 1
        self.treatment = f"v{self.number}"
        self.place.launch(self.treatment, share=share)
        self.state, self.share, self.stage, self.approved, self.waits = "active", share, 0, False, False
        self.verdict, self.fence, self.serving = None, -1, True

    @precondition(lambda self: self.state != "none")
    @rule(verdict=st.sampled_from(("cleared",) * 6 + VERDICTS), auto=st.sampled_from((True, True, False)))
    def tick(self, verdict: str, auto: bool) -> None:
        self._look(verdict, auto)

    def _look(self, verdict: str, auto: bool) -> None:
        self.place.automation = AutomationSpec(auto_rollout=auto)
        ticked = self.place.tick(verdict)
        expected = self._expect(verdict, auto)
        assert ticked.decision == expected, (ticked.decision, expected, ticked.reasons)
        self._count(expected)
        if expected == "advance":
            self.stage = next(i for i, share in enumerate(STAGES) if i > self.stage and share > self.share)
            self.share = STAGES[self.stage]
            self._changed()
        elif expected == "promote":
            self.verdict = ticked
        elif expected in ("roll_back", "reject_at_max_duration"):
            self.state, self.serving = "rolled_back", False
            self._changed()
        elif expected == "stop_for_srm":
            self.state, self.serving = "paused", False
            self._changed()
        self.waits = expected == "hold" and WAITS in ticked.reasons

    @precondition(lambda self: self.state == "active")
    @rule(carry=st.booleans())
    def step(self, carry: bool) -> None:
        """What a controller does most of the time."""
        self._look(verdict="cleared", auto=True)
        if carry and self.verdict is not None:
            self._promote(dies="no")

    def _expect(self, verdict: str, auto: bool) -> str:
        if self.state not in ("active", "paused") or not self.serving:
            return "none"
        fixed = {"srm": "stop_for_srm", "harm": "roll_back", "expired": "reject_at_max_duration"}
        if verdict in fixed:
            return fixed[verdict]
        if verdict != "cleared" or self.state == "paused" or not (auto or self.approved):
            return "hold"
        later = [share for share in STAGES[self.stage + 1 :] if share > self.share]
        return "promote" if not later or later[0] >= 1 else "advance"

    @precondition(lambda self: self.verdict is not None)
    @rule(dies=st.sampled_from(("no", "no", "after the alias")))
    def carry_out(self, dies: str) -> None:
        self._promote(dies)

    def _promote(self, dies: str) -> None:
        """The last verdict that promotes, which may be old; perhaps by somebody who dies in between."""
        assert self.verdict is not None
        mine = self.verdict.treatment == self.treatment
        holds = mine and self.state == "active" and self.verdict.fence == self.fence_now()
        control_is_champion = self.champions[-1] != self.treatment

        def die(moment: str) -> None:
            if moment == "after promote":
                raise InterruptedError

        self.place.names.cut = die if dies != "no" else lambda moment: None
        done = mine and self.state == "promoted"
        try:
            self.place.promote(self.verdict.experiment_id, self.verdict.fence)
        except InterruptedError:
            assert holds
            assert control_is_champion
            self.champions.append(self.treatment)
            return
        except ExperimentError:
            assert not holds
            assert not done
            return
        finally:
            self.place.names.cut = lambda moment: None
        assert holds or (mine and self.state == "promoted") or not mine
        if holds:
            self._count("promoted")
            if control_is_champion:
                self.champions.append(self.treatment)
            self.state, self.held, self.share = "promoted", self.treatment, 1 - RULES.holdback_share
            self.serving = False

    @precondition(lambda self: self.state in ("active", "paused", "promoted", "rolled_back"))
    @rule(sure=st.sampled_from((False, False, True)))
    def abort(self, sure: bool) -> None:
        if not sure:  # an abort ends a story: it is told less often
            return
        before = self.state
        self._count("abort")
        self._do(hands.abort, refused=False, reason="no")
        if before != "rolled_back":
            self.state, self.serving = "rolled_back", False
            if self.held == self.treatment:
                self.held = None
        # Whoever looks next puts the champion right; then nobody meets the treatment.
        route = self.place.look()
        if self.champions[-1] == self.treatment:
            self.champions.pop()
        assert self.treatment not in route.versions

    @precondition(lambda self: self.state != "none")
    @rule()
    def pause(self) -> None:
        self._do(hands.pause, refused=self.state not in ("active", "paused"), reason="wait")
        if self.state == "active":
            self.state = "paused"
            self._changed()

    @precondition(lambda self: self.state != "none")
    @rule()
    def resume(self) -> None:
        refused = self.state not in ("active", "paused") or not self.serving
        self._do(hands.resume, refused=refused, reason="go on")
        if not refused and self.state == "paused":
            self.state = "active"
            self._changed()

    @precondition(lambda self: self.state != "none")
    @rule(share=st.sampled_from((0.05, 0.3, 0.5, 0.7)), sure=st.booleans())
    def force(self, share: float, sure: bool) -> None:
        if not sure:
            return
        refused = self.state != "active"
        self._do(hands.force, share, RULES, refused=refused, reason="I know")
        if not refused and share != self.share:
            self.share = share
            self.stage = max((i for i, each in enumerate(STAGES) if each <= share), default=0)
            self._changed()

    @precondition(lambda self: self.state != "none")
    @rule()
    def approve(self) -> None:
        possible = self.state == "active" and self.waits
        try:
            approve(self.database_url, self.rollout_id, "ada")
        except ExperimentError:
            assert not possible or self.approved
        else:
            self.approved = True

    @precondition(lambda self: self.held is not None)
    @rule()
    def end_holdback(self) -> None:
        end_holdback(self.database_url, self.place.name, reason="seen enough", actor="ada")
        self.held = None

    # ------------------------------------------------------------------------------------------------ what must hold

    @invariant()
    def the_stores_say_what_the_model_says(self) -> None:
        if self.state == "none":
            return
        self._count("steps")
        with connect(self.database_url) as connection:
            rollout = find_rollout(connection, rollout_id=self.rollout_id)
            assert rollout is not None
            log = read_log(connection, self.rollout_id)
        assert (rollout.state, rollout.serving) == (self.state, self.serving)
        if self.state in ("active", "paused"):
            assert (rollout.share, rollout.stage) == (self.share, self.stage)
        assert rollout.fence >= self.fence
        self.fence = rollout.fence
        assert self.place.champion == self.champions[-1]
        share = 0.0
        for entry in reversed(log):
            raised = entry.detail.get("to", share) > share
            assert not raised or entry.action in OF_STEP, entry
            share = entry.detail.get("to", entry.detail.get("share", share))
            if "evidence" in entry.detail and entry.at not in self.derived:
                assert rederive(entry.detail).decision == entry.action
                self.derived.add(entry.at)
        mover = f"rollout {self.rollout_id}"
        self.counts["double promotions"] = self.counts.get("double promotions", 0) + (
            self.place.names.count_promotions(self.place.name, mover) > 1 and self.state == "promoted"
        )

    @invariant()
    def routers_serve_verified_versions(self) -> None:
        route = self.place.route()
        held = route.holdback.treatment if route.holdback is not None else None
        assert held == (self.held if self.held == self.champions[-1] else None)
        assert route.versions <= self.place.names.verified
        if self.state == "rolled_back":
            assert route.experiment is None

    # ------------------------------------------------------------------------------------------------ words

    @property
    def rollout_id(self) -> str:
        name = self.place.name
        return name_experiment(name, f"{name}-{self.treatment}").replace("exp-", "roll-", 1)

    def fence_now(self) -> int:
        with connect(self.database_url) as connection:
            found = find_rollout(connection, rollout_id=self.rollout_id)
        assert found is not None
        return found.fence

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _changed(self) -> None:
        self.approved = self.waits = False

    def _do(self, change: Callable[..., Any], *given: Any, refused: bool, reason: str) -> None:
        with suppress(RegistryError):
            try:
                change(self.database_url, self.rollout_id, *given, reason=reason, actor="ada")
            except ExperimentError:
                assert refused
            else:
                assert not refused
