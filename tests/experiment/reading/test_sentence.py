"""Every sentence about an experiment, word by word, from figures that are given; nothing here needs a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.ledger import Entry, Rollout
from flytewheel.experiment.reading.findings import Finding, read_findings
from flytewheel.experiment.reading.history import ArmTotals, History, Look, read_looks
from flytewheel.experiment.reading.sentence import describe_outcomes, name_verdict, tell, tell_finding, tell_span
from flytewheel.experiment.reading.summary import _word
from flytewheel.experiment.reading.words import say_number

OPENED = datetime(2026, 11, 21, 12, tzinfo=UTC)
EXPERIMENT = Experiment("exp-1", "demo", "running", "v1", "v2", 0.25, created_at=OPENED)
ROLLOUT = Rollout("roll-1", "demo", "exp-1", "active", 1, 0, OPENED, 5.0, "v1", "v2", 0.25, 30.0)
UPS = Finding(
    "thumbs_up_rate", "hold", "cannot tell yet", 0.8, 0.72, -0.08, -0.112, -0.048, -0.04, 0.05, "lower"
)  # 6 to 14 % of 0.8
ERRORS = Finding("error_rate", "cleared", "", 0.008, 0.009, 0.001, -0.002, 0.004, 0.01, None, "higher")
SLOW = Finding("latency_p95", "harm", "", 0.05, 0.3, 0.25, 0.2, 0.3, 0.0, 0.05, "higher", quantile=True)
TOKENS = Finding("tokens_per_answer", "watch", "", 250.0, 300.0, 50.0, 20.0, 80.0, None, None, "higher", role="watch")


def look(*findings: Finding, decision: str = "hold", **changes: Any) -> Look:
    given: dict[str, Any] = {"reasons": ("a reason",), "users": {"control": 1500, "treatment": 500}, "share": 0.25}
    given |= {"mismatch": False, "log_e_srm": -0.4, "stage_hours": 5.0, "digest": "abc", "actor": "ada"} | changes
    return Look(at=OPENED + timedelta(days=3), days=3.0, stage=1, decision=decision, findings=findings, **given)


def read(last: Look | None, **changes: Any) -> History:
    looks = (last,) if last is not None else ()
    log = tuple(Entry(one.at, 0, "ada", one.decision, {}) for one in looks)
    return replace(History(EXPERIMENT, ROLLOUT, looks, log, as_of=OPENED + timedelta(days=3)), **changes)


def ended(state: str, *, reason: str | None = None, rollout: str = "rolled_back") -> dict[str, Any]:
    stopped = replace(EXPERIMENT, state=state, reason=reason, stopped_at=OPENED + timedelta(days=2))
    return {"experiment": stopped, "rollout": replace(ROLLOUT, state=rollout)}


@pytest.mark.parametrize(
    ("history", "verdict", "told"),
    [
        (read(None, **ended("draft")), "draft", "A draft: nobody meets v2 before it is started."),
        (
            read(None),
            "none",
            "After 3 days and 0 users nobody has looked yet; a tick does (`flytewheel rollout tick demo`).",
        ),
        (
            read(look(UPS, ERRORS)),
            "hold",
            "After 3 days and 2,000 users it cannot be told yet: its share of thumbs up is 6 % to 14 % lower than"
            " v1's 80 %, where 5 % lower is allowed. 1 other metric is cleared.",
        ),
        (
            read(look(UPS, ERRORS, replace(ERRORS, metric="correction_rate"), TOKENS)),
            "hold",
            "After 3 days and 2,000 users it cannot be told yet: its share of thumbs up is 6 % to 14 % lower than"
            " v1's 80 %, where 5 % lower is allowed. 2 other metrics are cleared.",
        ),
        (
            read(look(replace(UPS, low=None, high=None))),
            "hold",
            "After 3 days and 2,000 users it cannot be told yet: share of thumbs up: cannot tell yet.",
        ),
        (
            read(look(ERRORS, reasons=("cleared; waits for approval", "a day"))),
            "hold",
            "After 3 days and 2,000 users nothing is worse than allowed; it holds: cleared; waits for approval; a day.",
        ),
        (
            read(look(replace(UPS, outcome="harm"), ERRORS)),
            "hold",
            "After 3 days and 2,000 users the canary's share of thumbs up is 6 % to 14 % lower than v1's 80 %, more"
            " than the 5 % allowed: it waits for a person.",
        ),
        (
            read(look(ERRORS, decision="advance")),
            "advance",
            "After 3 days and 2,000 users nothing is worse than allowed: 25 % of the users meet the canary now.",
        ),
        (
            read(look(ERRORS, decision="promote")),
            "promote",
            "After 3 days and 2,000 users nothing is worse than allowed: v2 is to be the champion.",
        ),
        (
            read(look(ERRORS, decision="promote"), **ended("holdback", rollout="promoted")),
            "promote",
            "After 2 days and 2,000 users nothing was worse than allowed: v2 is the champion.",
        ),
        (
            read(look(replace(UPS, outcome="harm"), decision="roll_back"), **ended("stopped")),
            "roll_back",
            "After 2 days and 2,000 users the canary's share of thumbs up is 6 % to 14 % lower than v1's 80 %, more"
            " than the 5 % allowed: it was taken back.",
        ),
        (
            read(look(ERRORS, replace(UPS, outcome="worse", role="primary"), decision="roll_back"), **ended("stopped")),
            "roll_back",
            "After 2 days and 2,000 users the canary's share of thumbs up is 6 % to 14 % lower than v1's 80 %,"
            " credibly worse: it was taken back.",
        ),
        (
            read(look(decision="roll_back", reasons=("by a person", "now")), **ended("stopped")),
            "roll_back",
            "After 2 days and 2,000 users by a person; now: it was taken back.",
        ),
        (
            read(look(decision="stop_for_srm", mismatch=True), **ended("stopped", rollout="paused")),
            "stop_for_srm",
            "After 2 days and 2,000 users the split contradicts itself: 1,500 in control and 500 in treatment where"
            " 25 % were meant to meet the treatment: it was stopped, and nothing can be concluded from its figures.",
        ),
        (
            read(look(UPS, decision="reject_at_max_duration"), **ended("stopped")),
            "reject_at_max_duration",
            "After 2 days and 2,000 users its time is over and it could not be told that nothing is worse than allowed:"
            " not released.",
        ),
        (
            read(look(UPS), **ended("stopped", reason="a holiday")),
            "stopped",
            "After 2 days and 2,000 users it ended without a verdict: a holiday.",
        ),
        (
            read(None, **ended("stopped")),
            "stopped",
            "After 2 days and 0 users it ended without a verdict: no reason was given.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_has_come_of_it(history: History, verdict: str, told: str) -> None:
    assert name_verdict(history) == verdict
    assert tell(history) == told


P95 = (ArmTotals("control", "v1", 0.75, 10, 20, 200.0), ArmTotals("treatment", "v2", 0.25, 10, 20, 250.0))


@pytest.mark.parametrize(
    ("found", "arms", "told"),
    [
        (
            replace(UPS, low=-0.04, high=0.016),
            (),
            "its share of thumbs up is between 5 % lower and 2 % higher than v1's 80 %, where 5 % lower is allowed",
        ),
        (
            replace(UPS, low=0.008, high=0.08, outcome="cleared"),
            (),
            "its share of thumbs up is 1 % to 10 % higher than v1's 80 %, within the 5 % allowed",
        ),
        (
            replace(UPS, low=0.0, high=0.0),
            (),
            "its share of thumbs up is level with v1's 80 %, where 5 % lower is allowed",
        ),
        (
            replace(UPS, low=None, high=None),
            (),
            "its share of thumbs up is 10 % lower than v1's 80 %, where 5 % lower is allowed",
        ),
        (
            ERRORS,
            (),
            "its error rate is between 0.20 points lower and 0.40 points higher than v1's 0.80 %, within the 1 points"
            " allowed",
        ),
        (
            replace(ERRORS, low=0.011, high=0.031, outcome="harm"),
            (),
            "its error rate is 1.1 to 3.1 points higher than v1's 0.80 %, more than the 1 points allowed",
        ),
        (TOKENS, (), "its tokens per answer is 20 to 80 higher than v1's 250"),
        (replace(UPS, difference=None), (), "its share of thumbs up cannot be told (cannot tell yet)"),
        (
            SLOW,
            P95,
            "its p95 latency is 250 ms against v1's 200 ms (25 % slower; 5 % slower is allowed), and 30 % of its"
            " answers take longer than that (25 % to 35 %), credibly more than the 5 % due",
        ),
        (
            replace(SLOW, outcome="cleared", low=None, high=None),
            (replace(P95[0], p95_ms=500.0), P95[1]),
            "its p95 latency is 250 ms against v1's 500 ms (50 % faster; 5 % slower is allowed), and 30 % of its"
            " answers take longer than that, credibly no more than the 5 % due",
        ),
        (
            replace(SLOW, outcome="hold", low=-0.06, high=0.01),
            (),
            "its p95 latency may be 5 % slower than v1's, and 30 % of its answers take longer than that (0 % to 6 %),"
            " against the 5 % due",
        ),
    ],
    ids=[
        "zero-inside",
        "higher",
        "level",
        "no-interval",
        "points",
        "points-harm",
        "tokens",
        "untold",
        "slow",
        "faster",
        "open",
    ],
)
def test_a_metric_in_words(found: Finding, arms: tuple[ArmTotals, ...], told: str) -> None:
    assert tell_finding(found, read(None, arms=arms)) == told
    assert tell_finding(found, read(None, arms=arms), canary=True) == told.replace("its", "the canary's", 1)


def test_spans_and_numbers_as_people_say_them() -> None:
    spans = [3.0, 1.5, 1.49, 0.07, 1.4 / 24, 1 / 1440, 0.0]
    assert [tell_span(days) for days in spans] == [
        "3 days", "2 days", "36 hours", "2 hours", "84 minutes", "1 minute", "1 minute",
    ]  # fmt: skip
    assert [say_number(value) for value in (1234.5, 20.4, 3.14159, 2.0, 0.456, -0.5, 0.0)] == [
        "1,234", "20", "3.1", "2", "0.46", "-0.50", "0",
    ]  # fmt: skip
    assert describe_outcomes([UPS, ERRORS, ERRORS, SLOW, TOKENS]) == {"harm": 1, "hold": 1, "cleared": 2}


STORED: dict[str, Any] = {
    "metric": "thumbs_up_rate", "outcome": "cleared", "reason": "r", "control": 0.8, "treatment": 0.79,
    "difference": -0.01, "standard_error": 0.01, "margin": -0.04, "interval": [-0.03, 0.01], "role": "guardrail",
}  # fmt: skip


def test_findings_are_what_was_stored() -> None:
    body = {"guardrails": [{"metric": "thumbs_up_rate", "relative_margin": 0.05}], "metrics": [{"name": "own"}]}
    other = STORED | {"metric": "own", "role": "primary", "outcome": "strange", "margin": 0.1, "interval": None}
    first, second = read_findings({"guardrails": [STORED], "primaries": [other, "no finding"]}, body)
    assert first == Finding(
        "thumbs_up_rate", "cleared", "r", 0.8, 0.79, -0.01, -0.03, 0.01, -0.04, 0.05, "lower", role="guardrail"
    )
    assert first.harm_side == -1
    assert (second.outcome, second.role, second.worse, second.relative) == ("hold", "primary", "higher", None)
    assert second.harm_side == 1
    # ± SE·√((1 + 1/s)(ln(1 + s) + 2 ln 20)), s = (1.6·0.1/0.01)²
    assert second.low == pytest.approx(-0.01 - 0.0341, abs=3e-4)
    assert second.high == pytest.approx(-0.01 + 0.0341, abs=3e-4)
    nothing = STORED | {"interval": None, "standard_error": None, "control": float("nan"), "difference": True}
    [third] = read_findings({"guardrails": [nothing]}, {})
    assert (third.low, third.high, third.control, third.difference, third.relative) == (None, None, None, None, None)
    [named] = read_findings({"guardrails": [STORED | {"interval": {"low": -0.5, "high": 0.5}}]}, {})
    assert (named.low, named.high) == (-0.5, 0.5)
    [slow] = read_findings({"guardrails": [STORED | {"metric": "latency_p95"}]}, {})
    assert (slow.quantile, slow.worse) == (True, "higher")


def test_looks_are_lines_that_decided() -> None:
    evidence = {
        "share": 0.25, "users": {"control": 3, "treatment": 1}, "stage_hours": 7.5, "guardrails": [STORED],
        "sample_ratios": [
            {"router": "a", "log_e": 9.0, "mismatch": True}, {"router": None, "log_e": -0.5, "mismatch": False},
        ],
    }  # fmt: skip
    detail = {"evidence": evidence, "stage": 2, "reasons": ["x", "y"], "digest": "d"}
    at = OPENED + timedelta(hours=36)
    log = [Entry(at, 1, "ada", "hold", detail), Entry(at, 1, "ada", "approved", detail), Entry(at, 1, "a", "hold", {})]
    [found] = read_looks(EXPERIMENT, log)
    assert (found.days, found.stage, found.share, found.decision, found.reasons) == (1.5, 2, 0.25, "hold", ("x", "y"))
    assert (found.users, found.mismatch, found.log_e_srm) == ({"control": 3, "treatment": 1}, True, -0.5)
    assert (found.stage_hours, found.digest, found.actor, found.at) == (7.5, "d", "ada", at)
    assert [one.metric for one in found.findings] == ["thumbs_up_rate"]
    assert History(EXPERIMENT, ROLLOUT, (found,), ()).users == 4
    assert History(EXPERIMENT, ROLLOUT, (found,), (), met=9).users == 9


@pytest.mark.parametrize(
    ("state", "rollout", "action", "told"),
    [
        ("draft", None, None, "draft"),
        ("running", "active", None, "not looked at yet"),
        ("running", "active", "hold", "cannot tell yet"),
        ("running", "active", "advance", "goes on"),
        ("stopped", "promoted", "hold", "promoted"),
        ("holdback", "promoted", "promote", "promoted"),
        ("stopped", "rolled_back", "roll_back", "taken back"),
        ("stopped", "paused", "stop_for_srm", "stopped: broken split"),
        ("stopped", "rolled_back", "reject_at_max_duration", "not released: time is over"),
        ("stopped", "rolled_back", "promote", "stopped"),
        ("stopped", "rolled_back", "hold", "stopped"),
    ],
)
def test_a_verdict_in_a_list(state: str, rollout: str | None, action: str | None, told: str) -> None:
    assert _word(state, rollout, action) == told
