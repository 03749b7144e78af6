"""Who met the experiment: users and requests of each arm over time, and its part of the model's traffic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flytewheel.evaluation_page.style import words
from flytewheel.experiment.reading.history import Bin, History
from router.experiments_page.style import draw_region

WIDTH, HEIGHT = 460, 190
LEFT, RIGHT, TOP, BOTTOM = 60, 10, 24, 34


def draw_traffic(history: History) -> str:
    """Tables and the picture; a sentence where nobody came."""
    if not history.arms and not history.traffic:
        return "<p>Nobody has met it yet.</p>"
    heads = ("Arm", "Version", "Share", "Users in this stage", "Requests", "p95 latency")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    rows = ""
    for arm in history.arms:
        latency = "–" if arm.p95_ms is None else f"{arm.p95_ms:,.0f} ms"
        cells = (words(arm.version), f"{arm.share:.0%}", f"{arm.users:,}", f"{arm.requests:,}", latency)
        told = "".join(f'<td data-head="{name}">{cell}</td>' for name, cell in zip(heads[1:], cells, strict=True))
        rows += f'<tr><th scope="row">{words(arm.arm)}</th>{told}</tr>'
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    exposed = "" if history.exposed is None else (
        f"<p>{history.exposed:.0%} of the model's requests since it was opened belong to this experiment.</p>"
    )  # fmt: skip
    return f'<div class="card">{draw_region("Arms", table)}{exposed}{_draw_columns(history)}</div>'


def _draw_columns(history: History) -> str:
    """Users of each arm in each stretch of time, one column an arm beside the other."""
    times = sorted({one.at for one in history.traffic})
    if not times:
        return ""
    arms = sorted({one.arm for one in history.traffic})
    largest = max(one.users for one in history.traffic)
    since = history.experiment.created_at or times[0]
    last = _days(since, times[-1]) + history.bin_hours / 24
    room = WIDTH - LEFT - RIGHT
    step = room * (history.bin_hours / 24) / last
    parts = [
        f'<path class="grid" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
        f'<text class="end" x="{LEFT - 6}" y="{TOP + 6}">{largest:,}</text>',
        f'<text class="end" x="{LEFT - 6}" y="{HEIGHT - BOTTOM + 4}">0</text>',
        f'<text class="end" x="{LEFT - 6}" y="{TOP - 10}">users</text>',
    ]
    for one in history.traffic:
        high = one.users / largest * (HEIGHT - TOP - BOTTOM)
        wide = step * 0.8 / len(arms)
        left = LEFT + room * _days(since, one.at) / last + arms.index(one.arm) * wide
        parts.append(
            f'<rect class="c{arms.index(one.arm) % 2}" x="{left:.1f}" y="{HEIGHT - BOTTOM - high:.1f}"'
            f' width="{max(wide, 0.8):.1f}" height="{high:.1f}"/>'
        )
    for number, arm in enumerate(arms):
        left = LEFT + 20 + 110 * number
        parts.append(f'<rect class="c{number % 2}" x="{left}" y="{TOP - 20}" width="11" height="11"/>')
        parts.append(f'<text x="{left + 16}" y="{TOP - 10}">{words(arm)}</text>')
    for share in (0.0, 0.5, 1.0):
        side = ("", "mid", "end")[round(share * 2)]
        parts.append(
            f'<text class="{side}" x="{LEFT + room * share:.1f}" y="{HEIGHT - BOTTOM + 16}">{last * share:.2g}</text>'
        )
    parts.append(f'<text class="mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 3}">days</text>')
    return (
        f'<svg class="time" role="img" aria-label="{words(_tell(history.traffic, arms))}"'
        f' viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
    )


def _tell(traffic: Sequence[Bin], arms: Sequence[str]) -> str:
    told = (
        f"{arm}: {sum(one.requests for one in traffic if one.arm == arm):,} requests,"
        f" at most {max(one.users for one in traffic if one.arm == arm):,} users at a time"
        for arm in arms
    )
    return f"Users over time. {'; '.join(told)}"


def _days(since: datetime, at: datetime) -> float:
    return max((at - since).total_seconds() / 86_400, 0.0)
