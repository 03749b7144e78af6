"""A lane for each guardrail: what it said over time, as harm, hold or cleared; by sign, word and colour."""

from __future__ import annotations

from collections.abc import Sequence

from flytewheel.curves import find_ticks
from flytewheel.evaluation_page.style import words
from flytewheel.experiment.reading.history import History, Look
from flytewheel.experiment.reading.sentence import NAMES
from router.experiments_page.style import SIGNS

WIDTH, LEFT, RIGHT = 460, 10, 10
LANE, NAME, BAR, FOOT = 46, 16, 20, 36
_LAST = 0.06  # of the time so far
_NARROW = 16  # pixels below which a stretch has no room for its sign


def draw_lanes(history: History) -> str:
    """The picture; empty without looks."""
    names = list(
        dict.fromkeys(found.metric for look in history.looks for found in look.findings if found.role == "guardrail")
    )
    if not names:
        return ""
    last = history.looks[-1]
    end = last.days
    if history.experiment.running and history.as_of is not None:
        end += (history.as_of - last.at).total_seconds() / 86_400
    end = max(end, last.days + _LAST * max(last.days, 0.05))  # the newest look must be seen as well
    ticks = find_ticks(0.0, max(end, 0.05), most=7)
    height = LANE * len(names) + FOOT
    parts = []
    for number, name in enumerate(names):
        top = number * LANE
        shown = NAMES.get(name, name.replace("_", " "))
        parts.append(f'<text class="strong" x="{LEFT}" y="{top + NAME - 3}">{words(shown)}</text>')
        for start, stop, outcome in list_stretches(history.looks, name, end):
            left, right = (LEFT + at / ticks[-1] * (WIDTH - LEFT - RIGHT) for at in (start, stop))
            wide = max(right - left, 2.0)
            parts.append(
                f'<rect class="{outcome}" x="{left:.1f}" y="{top + NAME}" width="{wide:.1f}" height="{BAR}" rx="2"/>'
            )
            if wide >= _NARROW:
                parts.append(
                    f'<text class="sign mid" x="{left + wide / 2:.1f}" y="{top + NAME + 15}">{SIGNS[outcome]}</text>'
                )
    for tick in ticks:
        left = LEFT + tick / ticks[-1] * (WIDTH - LEFT - RIGHT)
        side = "mid" if 0 < tick < ticks[-1] else "end" if tick else ""
        parts.append(f'<text class="{side}" x="{left:.1f}" y="{height - 20}">{tick:g}</text>')
    parts.append(f'<text class="mid" x="{WIDTH / 2}" y="{height - 4}">days</text>')
    told = "; ".join(_tell(history.looks, name, end) for name in names)
    legend = " · ".join(f"{SIGNS[outcome]} {outcome}" for outcome in ("harm", "hold", "cleared"))
    return (
        f'<div class="card"><svg class="time" role="img" aria-label="{words(told)}" viewBox="0 0 {WIDTH} {height}">'
        f'{"".join(parts)}</svg><p class="soft">{legend}; a stretch lasts until the next stored look</p></div>'
    )


def list_stretches(looks: Sequence[Look], metric: str, end: float) -> list[tuple[float, float, str]]:
    """From and until which day a metric said what; neighbours that say the same in one stage are one stretch."""
    found = [(look, one) for look in looks for one in look.findings if (one.metric, one.role) == (metric, "guardrail")]
    said = [(look.days, look.stage, one.outcome) for look, one in found]
    stretches: list[tuple[float, float, str]] = []
    stage_before: int | None = None
    for number, (start, stage, outcome) in enumerate(said):
        stop = said[number + 1][0] if number + 1 < len(said) else max(end, start)
        if stretches and stage == stage_before and stretches[-1][2] == outcome:
            stretches[-1] = (stretches[-1][0], stop, outcome)
        else:
            stretches.append((start, stop, outcome))
        stage_before = stage
    return stretches


def _tell(looks: Sequence[Look], metric: str, end: float) -> str:
    said = ", ".join(f"{outcome} from day {start:.1f}" for start, _, outcome in list_stretches(looks, metric, end))
    return f"{NAMES.get(metric, metric.replace('_', ' '))}: {said}"
