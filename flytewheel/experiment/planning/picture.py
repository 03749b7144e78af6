"""Power curves of a design, one line a stage: cleared by which day, and how likely harm of which size is found.

Drawn by `flytewheel.curves` as SVG; `flytewheel.curves_png` makes a PNG of the same sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from flytewheel.curves import Chart, Point, draw_sheet
from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.sequential import find_boundaries
from flytewheel.experiment.planning.guarding import follow
from flytewheel.experiment.planning.plan import Plan, list_looks, read_rules, state_harm
from flytewheel.experiment.planning.primary import find_power, inform
from flytewheel.recipe import AbTestingSpec, Guardrail

_SIZES, _LOOKS = 9, 14


def draw_plan(ab_testing: AbTestingSpec, plan: Plan, *, name: str, harms: Mapping[str, float] | None = None) -> str:
    """The sheet as SVG: a column for each guardrail, and one for the primary metric."""
    columns = [_draw_guardrail(guardrail, ab_testing, plan, harms or {}) for guardrail in ab_testing.guarded]
    if plan.primary:
        columns.append([_draw_primary(ab_testing, plan)])
    names = [
        f"stage {stage.stage}: {stage.share:.0%} of {plan.traffic.users_per_day:,.0f} users a day"
        for stage in plan.stages
    ]
    return draw_sheet(f"What the canary of {name} can tell", columns, names)


def write_picture(svg: str, path: Path) -> None:
    """Writes the sheet as the file's name says: `.svg` or `.png`.

    Raises:
        ExperimentError: it says neither.
    """
    kind = path.suffix.lower()
    if kind not in (".svg", ".png"):
        raise ExperimentError(f"--picture {path}: expected a name that ends in .svg or .png")
    if kind == ".png":
        from flytewheel.curves_png import draw_png

        path.write_bytes(draw_png(svg))
    else:
        path.write_text(svg, encoding="utf-8")


def _draw_guardrail(
    guardrail: Guardrail, ab_testing: AbTestingSpec, plan: Plan, harms: Mapping[str, float]
) -> list[Chart]:
    rules, looks = read_rules(ab_testing), list_looks(plan.max_days, _LOOKS)
    clearing: list[tuple[Point, ...]] = []
    finding: list[tuple[Point, ...]] = []
    largest = 2 * state_harm(guardrail, harms)
    for stage in plan.stages:
        healthy = follow(guardrail, plan.traffic, rules, share=stage.share, looks=looks)
        clearing.append(((0.0, 0.0), *zip(looks, (float(100 * at) for at in healthy.cleared), strict=True)))
        sizes = [float(size) for size in np.linspace(0, largest, _SIZES)]
        found = [
            follow(guardrail, plan.traffic, rules, share=stage.share, looks=looks, harm=size).harm[-1] for size in sizes
        ]
        finding.append(tuple((100 * size, float(100 * at)) for size, at in zip(sizes, found, strict=True)))
    unit = "percent" if guardrail.relative_margin is not None else "points"
    return [
        Chart(f"{guardrail.metric}: as good as the champion, cleared, %", "days in the stage", tuple(clearing)),
        Chart(f"{guardrail.metric}: worse, taken back in {plan.max_days:g} days, %", f"{unit} worse", tuple(finding)),
    ]


def _draw_primary(ab_testing: AbTestingSpec, plan: Plan) -> Chart:
    metric, traffic = plan.primary_metric, plan.traffic
    stages = [(stage.share, stage.days or plan.max_days) for stage in plan.stages]
    information = inform(metric, traffic, stages)
    alpha = 1 - ab_testing.confidence_level
    bounds = find_boundaries(information, [each / information[-1] for each in information], alpha=alpha)
    errors = plan.primary[0].standard_error, plan.primary[-1].standard_error
    largest = min(3 * errors[0], 8 * errors[1])
    lines = [
        tuple(
            (100 * size, 100 * find_power(metric, traffic, stages[: number + 1], bounds[: number + 1], size))
            for size in (float(each) for each in np.linspace(0, largest, _SIZES))
        )
        for number in range(len(stages))
    ]
    return Chart(f"{metric}: better, found by the stage's end, %", "points better", tuple(lines))
