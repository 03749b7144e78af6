"""A look at the triggers as a person reads it: the sentence, each figure against its threshold, and why the rest is
quiet. From the JSON that looks are kept as, so that the deck, a page and the command line show the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flytewheel import figures

HEAD = ("figure", "effect", "fires from", "of what chance explains", "users before", "after", "")


def describe_look(report: Mapping[str, Any]) -> str:
    """The deck of a look.

    Args:
        report: JSON of a `TriggerReport` with `said`; of an earlier version what is not there is not shown.
    """
    found = report.get("figures") or ()
    told = [each for each in found if each.get("value") is not None]
    bars = [(each["name"], max(0, round(100 * _share(each)))) for each in told]
    changes = [
        (each["name"], name, f"{before:.1%}", f"{after:.1%}")
        for each in told
        for name, before, after in each.get("changes") or ()
    ]
    sampled = report.get("sampled") or (0, 0)
    return figures.page(
        "triggers",
        figures.paragraph(str(report.get("said", ""))),
        figures.section("Due because of", _list(report.get("reasons") or ["nothing"])),
        figures.section("Quiet", _list(report.get("quiet") or ["nothing"])),
        figures.section(
            "Figures",
            figures.table(HEAD, tabulate(report)),
            figures.bar_chart("Effect, in % of the threshold", bars),
            figures.paragraph(
                f"{sampled[0]:,} rows before and {sampled[1]:,} after were compared. A figure fires where its effect "
                "reaches the threshold and is more than chance explains, over all looks at this window."
            ),
        ),
        *([figures.section("Shares", figures.table(("of", "kind", "before", "after"), changes))] if changes else ()),
    )


def tabulate(report: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Rows under HEAD, one a figure."""
    rows: list[tuple[Any, ...]] = []
    for each in report.get("figures") or ():
        known = each.get("value") is not None
        effect = f"{each['statistic']} {each['value']:.3f}" if known else "cannot tell"
        beyond = f"{each['beyond']:.2f}" if known else ""
        state = "fires" if each.get("fired") else "" if known else str(each.get("said", "")).partition(": ")[2]
        rows.append((each["name"], effect, f"{each['threshold']:g}", beyond, *(each.get("users") or (0, 0)), state))
    return rows


def _share(figure: Mapping[str, Any]) -> float:
    value, threshold = float(figure["value"]), float(figure["threshold"])
    if figure["statistic"] == "AUC":  # a half is no effect
        value, threshold = value - 0.5, threshold - 0.5
    return value / threshold


def _list(lines: Sequence[str]) -> str:
    return "".join(figures.paragraph(line) for line in lines)
