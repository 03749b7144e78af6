"""Decides whether a candidate may be tried on people: promote_to_canary, hold or reject, with every reason.

The recipe has a rule a figure (`recipe.GateRule`; what each finds is in `rules`). A figure that must improve does so
when the interval of its difference is clear of zero in the good direction; clear of zero in the bad one it rejects;
anything else holds. A margin passes when even the interval's bad end lies within it (a share of the champion's figure,
or absolute, for rare errors), rejects when even the good end lies beyond it, and holds where the interval straddles it.
A bound of the candidate's own interval passes, rejects and holds likewise; `min` and `max` look at the figure alone. A
figure that is missing, not finite or contradictory holds: no answer is no pass. One rejection rejects, else one hold
holds. So nothing that gets worse can turn another verdict into a promotion, and no further rule can make it kinder.

A candidate that is the champion itself, as after a small turn that was taken back, holds whatever is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flytewheel.evaluation.report import Evaluation, tellable
from flytewheel.evaluation.rules import Finding, judge
from flytewheel.recipe import GateSpec
from flytewheel.records import Decision, Verdict

_SEVERITY = {Decision.PROMOTE_TO_CANARY: 0, Decision.HOLD: 1, Decision.REJECT: 2}
_NAMED = 5  # cases or topics that a reason names


def decide(evaluation: Evaluation, gate: GateSpec) -> Verdict:
    """Weighs an evaluation.

    Args:
        evaluation: Candidate against champion.
        gate: What each figure must show.

    Returns:
        The decision, a reason for each thing asked (for and against), and the figures that were looked at: `name`,
        `name.champion` and `name.difference`.
    """
    findings: list[Finding] = [
        finding for name, rule in gate.rules.items() for finding in judge(name, rule, evaluation)
    ]
    if evaluation.unchanged:
        findings = [(Decision.HOLD, "nothing learnt: the candidate is the champion, weight for weight; it stays")]
    elif not findings:
        findings = [(Decision.HOLD, "cannot tell: the gate asks for nothing; name a figure under gate")]
    reasons = [text for _, text in findings]
    reasons += [*_list_changed_cases(evaluation), *_list_changed_topics(evaluation), *evaluation.notes]
    figures: dict[str, float | None] = {}
    for name, found in evaluation.metrics.items():
        figures[name] = tellable(found.candidate.estimate)
        figures[f"{name}.champion"] = tellable(found.champion.estimate)
        figures[f"{name}.difference"] = tellable(found.difference.estimate)
    figures |= {name: tellable(count) for name, count in evaluation.counts.items()}
    return Verdict(max((decision for decision, _ in findings), key=_SEVERITY.__getitem__), tuple(reasons), figures)


def _list_changed_cases(evaluation: Evaluation) -> list[str]:
    """Says which regression cases changed sides; the pass rate decides, the names tell a person where to look."""
    suite, lines = evaluation.details.get("suite", {}), []
    if failing := suite.get("newly_failing"):
        lines.append(f"against: regression cases that passed before and fail now: {_name(failing)}")
    if passing := suite.get("newly_passing"):
        lines.append(f"for: regression cases that failed before and pass now: {_name(passing)}")
    return lines


def _list_changed_topics(evaluation: Evaluation) -> Iterator[str]:
    """Says on which topics the candidate is clearly worse or better; their number decides (`worse_topics`)."""
    found = evaluation.details.get("topics", {})
    rows: Sequence[Mapping[str, Any]] = found.get("rows", ())
    for verdict, side in (("worse", "against"), ("better", "for")):
        said = [row for row in rows if row["verdict"] == verdict]
        for row in said[:_NAMED]:
            span = row["difference"]
            yield (
                f"{side}: {verdict} on topic {row['topic']}: {row['figure']} {row['candidate']:.4g}, champion "
                f"{row['champion']:.4g}, difference {span['estimate']:+.4g} [{span['low']:+.4g}, {span['high']:+.4g}] "
                f"at {100 * span['level']:.4g}% over {row['rows']:,} rows of {row['users']:,} users"
            )
        if len(said) > _NAMED:
            yield f"{side}: {verdict} on {len(said) - _NAMED} more figures of topics"
    if small := found.get("too_few", ()):
        yield (
            f"cannot tell by topic: {_name(small)} have too few held-out users, "
            f"it takes {found['least_users']}: collect more"
        )


def _name(cases: Sequence[str]) -> str:
    more = len(cases) - _NAMED
    return ", ".join(cases[:_NAMED]) + (f" and {more} more" if more > 0 else "")
