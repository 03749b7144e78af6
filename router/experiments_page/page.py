"""One experiment, from top to bottom: verdict, guardrails, intervals over time, split, traffic, every look."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flytewheel.evaluation_page.style import section, words
from flytewheel.experiment.analysis.srm import SRM_LIMIT
from flytewheel.experiment.reading.findings import Finding
from flytewheel.experiment.reading.gain_words import HEADS, row_gain
from flytewheel.experiment.reading.history import History, Look
from flytewheel.experiment.reading.sentence import (
    NAMES,
    VERDICTS,
    describe_interval,
    describe_margin,
    name_verdict,
    tell,
)
from router.experiments_page.intervals import draw_intervals
from router.experiments_page.lanes import draw_lanes
from router.experiments_page.style import LOOKS, SIGNS, VERDICT_LOOKS, draw_chip, draw_document, draw_region
from router.experiments_page.traffic import draw_traffic

_PARTS = {
    "brought": "What the promotion brought",
    "guardrails": "Guardrails",
    "intervals": "Intervals over time",
    "split": "Split",
    "traffic": "Traffic and exposure",
    "looks": "Looks",
}
_MOST_LOOKS = 200


def draw_page(history: History) -> str:
    """The whole page as a document of its own."""
    experiment, verdict = history.experiment, VERDICTS[name_verdict(history)]
    parts = [
        section("brought", _PARTS["brought"], _draw_gains(history)),
        section("guardrails", _PARTS["guardrails"], draw_lanes(history), _draw_findings(history)),
        section("intervals", _PARTS["intervals"], _draw_charts(history)),
        section("split", _PARTS["split"], _draw_split(history)),
        section("traffic", _PARTS["traffic"], draw_traffic(history)),
        section("looks", _PARTS["looks"], _draw_looks(history)),
    ]
    links = "".join(
        f'<a href="#{name}">{title}</a>' for (name, title), part in zip(_PARTS.items(), parts, strict=True) if part
    )
    title = f"{experiment.treatment} against {experiment.control}"
    head = (
        f'<p class="soft"><a href="/ui/experiments">Experiments</a> · {words(experiment.name)} ·'
        f" <code>{words(experiment.experiment_id)}</code></p><h1>{words(title)}</h1>"
    )
    nav = f'<nav aria-label="Parts of this page">{links}</nav>' if links else ""
    return draw_document(f"{verdict}: {experiment.name}, {title}", head, _draw_verdict(history), nav, *parts)


def _draw_verdict(history: History) -> str:
    experiment, verdict = history.experiment, name_verdict(history)
    look, sign = VERDICT_LOOKS.get(verdict, ("plain", "·"))
    stamp = VERDICTS[verdict]
    facts = [("state", experiment.state), ("share", f"{experiment.share:.0%} of the users")]
    if history.rollout is not None:
        facts.append(("stage", f"{history.rollout.stage}, for {history.rollout.stage_hours:.1f} h"))
    if experiment.created_at is not None:
        facts.append(("opened", f"{experiment.created_at:%Y-%m-%d %H:%M} UTC"))
    if experiment.stopped_at is not None:
        facts.append(("ended", f"{experiment.stopped_at:%Y-%m-%d %H:%M} UTC"))
    if history.as_of is not None and experiment.running:
        facts.append(("as of", f"{history.as_of:%Y-%m-%d %H:%M} UTC; reload to look again"))
    told = "".join(f"<li>{words(name)}<b>{words(value)}</b></li>" for name, value in facts)
    return (
        f'<section aria-labelledby="verdict"><div class="card verdict {look}"><h2 class="stamp" id="verdict">'
        f'<span aria-hidden="true">{sign}</span> {words(stamp[0].upper() + stamp[1:])}</h2>'
        f'<p class="why">{words(tell(history))}</p></div><ul class="facts">{told}</ul></section>'
    )


def _draw_findings(history: History) -> str:
    last = history.last
    if last is None or not last.findings:
        return "<p>No look has found anything yet.</p>"
    heads = ("Metric", "Outcome", "Control", "Treatment", "Difference, at any look", "Allowed", "Why")
    rows = "".join(_draw_finding(found, heads) for found in last.findings)
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="card">{draw_region("What the newest look found", table)}</div>'


def _draw_finding(found: Finding, heads: Sequence[str]) -> str:
    cells = (
        draw_chip(LOOKS[found.outcome], SIGNS[found.outcome], found.outcome),
        _show(found.control),
        _show(found.treatment),
        "" if found.difference is None else words(describe_interval(found).removesuffix(" than")),
        words(describe_margin(found)),
        words(found.reason),
    )
    told = "".join(f'<td data-head="{head}">{cell}</td>' for head, cell in zip(heads[1:], cells, strict=True))
    name = NAMES.get(found.metric, found.metric.replace("_", " "))
    part = "" if found.role == "guardrail" else f"<small>{words(found.role)}</small>"
    return f'<tr><th scope="row">{words(name)}{part}</th>{told}</tr>'


def _draw_gains(history: History) -> str:
    if not history.gains:
        return ""
    rows = ""
    for gain in history.gains:
        name, *cells = row_gain(gain)
        told = "".join(
            f'<td data-head="{head}">{words(cell)}</td>' for head, cell in zip(HEADS[1:], cells, strict=True)
        )
        rows += f'<tr><th scope="row">{words(name)}</th>{told}</tr>'
    head = "".join(f'<th scope="col">{text[0].upper()}{text[1:]}</th>' for text in HEADS)
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="card">{draw_region(_PARTS["brought"], table)}</div>'


def _draw_charts(history: History) -> str:
    found = list(dict.fromkeys((one.metric, one.role) for look in history.looks for one in look.findings))
    cards = "".join(
        f'<div class="card"><h3>{words(NAMES.get(name, name.replace("_", " ")))}'
        f"{'' if role == 'guardrail' else f' ({words(role)})'}</h3>{drawn}</div>"
        for name, role in found
        if (drawn := draw_intervals(history, name, role))
    )
    return f'<div class="charts">{cards}</div>' if cards else ""


def _draw_split(history: History) -> str:
    last = history.last
    if last is None:
        return ""
    if last.log_e_srm is None:
        chip, odds = draw_chip("unsure", "…", "cannot tell"), ""
    else:
        chip = draw_chip("bad", "✖", "broken") if last.mismatch else draw_chip("good", "✔", "as it should be")
        odds = (
            f" The evidence against the split is e = {_power(last.log_e_srm)}; it is called broken from"
            f" {SRM_LIMIT:,.0f}, which chance reaches at most once in {SRM_LIMIT:,.0f} experiments."
        )
    seen = ", ".join(f"{arm} {count:,}" for arm, count in last.users.items())
    share = "" if last.share is None else f"; the treatment's share is {last.share:.0%}"
    return f'<div class="card"><p>{chip}</p><p>Users: {words(seen)}{share}.{odds}</p></div>'


def _power(log_e: float) -> str:
    return f"{math.exp(log_e):.3g}" if log_e < 50 else "more than 10²¹"


def _draw_looks(history: History) -> str:
    if not history.looks:
        return ""
    shown = list(reversed(history.looks))[:_MOST_LOOKS]
    heads = ("At (UTC)", "Stage", "Users", "Decision", "Why", "By", "Evidence")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    rows = "".join(_draw_look(look, heads) for look in shown)
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    more = len(history.looks) - len(shown)
    left = f"<p>and {more:,} older ones</p>" if more else ""
    told = f"{len(history.looks):,} look{'' if len(history.looks) == 1 else 's'}"
    return f'<details class="card"><summary>{told}</summary>{draw_region("Looks", table)}{left}</details>'


def _draw_look(look: Look, heads: Sequence[str]) -> str:
    cells = (
        f"{look.stage}" + ("" if look.share is None else f" at {look.share:.0%}"),
        f"{sum(look.users.values()):,}",
        words(VERDICTS[look.decision]),
        words("; ".join(look.reasons)),
        words(look.actor),
        f"<code>{words(look.digest[:12])}</code>",
    )
    told = "".join(f'<td data-head="{head}">{cell}</td>' for head, cell in zip(heads[1:], cells, strict=True))
    return f'<tr><th scope="row">{look.at:%Y-%m-%d %H:%M}</th>{told}</tr>'


def _show(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g} %" if abs(value) <= 1 else f"{value:,.4g}"
