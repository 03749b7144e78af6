"""Decisions: each out of its evidence, and the same ones again out of what was stored."""

from __future__ import annotations

from typing import Any

import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment.decision import WAITS, decide, rederive
from flytewheel.records import digest

RULES = {
    "confidence_level": 0.95,
    "stage_duration_hours": 24.0,
    "max_duration_days": 28.0,
    "stale_after_hours": 24.0,
    "rollback_on_regression": True,
    "auto_rollout": True,
    "next_share": 0.25,
}


def finding(outcome: str = "cleared", **changes: Any) -> dict[str, Any]:
    figures = {"harm": (9.0, -9.0), "cleared": (-9.0, 9.0)}.get(outcome, (0.1, 0.2))
    told = {"metric": "thumbs_up_rate", "arm": "treatment", "outcome": outcome, "reason": f"it is {outcome}"}
    return told | {"control": 0.7, "treatment": 0.7, "log_e_harm": figures[0], "log_e_cleared": figures[1]} | changes


def ratio(control: int = 900, treatment: int = 100, *, mismatch: bool = False, router: str | None = None) -> Any:
    users, shares = {"control": control, "treatment": treatment}, {"control": 0.9, "treatment": 0.1}
    return {"stage": 0, "users": users, "shares": shares, "log_e": 0.0, "mismatch": mismatch, "router": router}


def gather(**changes: Any) -> dict[str, Any]:
    rules = RULES | changes.pop("rules", {})
    evidence = {
        "users": {"control": 900, "treatment": 100},
        "sample_ratios": [ratio()],
        "guardrails": [finding()],
        "primaries": [],
        "stage_hours": 30.0,
        "age_hours": 30.0,
        "newest_hours": 0.1,
        "approved": False,
    }
    return evidence | {"rules": rules} | changes


def worse(**changes: Any) -> dict[str, Any]:
    return finding("worse", log_e_harm=9.0, **changes)


@pytest.mark.parametrize(
    ("evidence", "decision", "reason"),
    [
        (gather(), "advance", "all guardrails cleared"),
        (gather(rules={"next_share": 1.0}), "promote", "all guardrails cleared"),
        (gather(rules={"auto_rollout": False}), "hold", WAITS),
        (gather(rules={"auto_rollout": False}, approved=True), "advance", "all guardrails cleared"),
        (gather(stage_hours=23.9), "hold", "the stage lasts 24 hours"),
        (gather(guardrails=[]), "hold", "no guardrail is set"),
        (gather(guardrails=[finding("hold")]), "hold", "thumbs_up_rate: it is hold"),
        (gather(guardrails=[finding("hold")], age_hours=673.0), "reject_at_max_duration", "not cleared within 28 days"),
        (gather(age_hours=9999.0), "advance", "all guardrails cleared"),  # who is cleared is not rejected
        (gather(guardrails=[finding("harm")]), "roll_back", "thumbs_up_rate: harm"),
        (gather(guardrails=[finding("harm")], newest_hours=99.0), "roll_back", "harm"),  # credible stays credible
        (gather(guardrails=[finding("harm")], rules={"rollback_on_regression": False}), "hold", "by hand"),
        (gather(guardrails=[finding("hold")], primaries=[worse()]), "roll_back", "it is worse"),
        (gather(primaries=[worse()]), "advance", "all guardrails cleared"),  # a loss inside the margin is tolerated
        (gather(primaries=[worse(metric="satisfaction")]), "roll_back", "satisfaction: harm"),
        (gather(sample_ratios=[ratio(mismatch=True)], guardrails=[finding("harm")]), "stop_for_srm", "mismatch"),
        (gather(sample_ratios=[ratio(), ratio(mismatch=True, router="r2")]), "stop_for_srm", "at router r2"),
        (gather(guardrails=[finding("hold", treatment=None)], age_hours=9999.0), "hold", "it is hold"),
        (gather(newest_hours=24.1), "hold", "stale"),
        (gather(guardrails=[finding(log_e_harm=float("nan"))]), "hold", "a figure is not finite"),
    ],
)
def test_decisions(evidence: dict[str, Any], decision: str, reason: str) -> None:
    verdict = decide(evidence)
    assert verdict.decision == decision
    assert reason in "; ".join(verdict.reasons)


def test_a_stored_decision_is_derived_again_from_its_evidence() -> None:
    for evidence in (gather(), gather(guardrails=[finding("harm")]), gather(guardrails=[finding("hold")])):
        assert rederive({"evidence": evidence, "digest": digest(evidence)}) == decide(evidence)


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (gather(guardrails=[finding("cleared", log_e_cleared=2.9)]), "cleared was stored, its figures say hold"),
        (gather(guardrails=[finding("hold", log_e_harm=3.1)]), "hold was stored, its figures say harm"),
        (gather(sample_ratios=[ratio(600, 400)]), "False was stored, the users say True"),
    ],
)
def test_an_outcome_that_does_not_follow_from_its_figures_is_refused(evidence: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        rederive({"evidence": evidence, "digest": digest(evidence)})


def test_evidence_that_was_changed_afterwards_is_refused() -> None:
    detail = {"evidence": gather(guardrails=[finding("hold")]), "digest": digest(gather())}
    with pytest.raises(ExperimentError, match="its digest is another's"):
        rederive(detail)
