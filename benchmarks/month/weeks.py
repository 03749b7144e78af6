"""The recipes of the month's four turns: the demo's, with the clock of the month and what each week is to show.

| week | turn | what comes of it |
|---|---|---|
| 1 | from the base, on imported logs of what people said of it | better: reaches everybody |
| 2 | the same, and its version is served broken | harmful, though the gate saw nothing: rolled back at 10 % |
| 3 | a small one from the champion's adapter | neutral: never better beyond doubt, expires |
| 4 | the drift trigger's, with a learning rate that wrecks it | fails its gate |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.soak.place import ROOT
from flytewheel.recipe import Recipe, load_recipe

WRECKING_RATE = 0.5
EXPIRES_DAYS = 8.0
LENIENT: Mapping[str, Any] = {  # a turn that is not to be better, only not worse in what the gate can see
    "perplexity": {"max_worsening": 0.3},
    "preference_accuracy": None,
    "regression_pass_rate": {"max_worsening_absolute": 0.2},
    "win_rate": None,
    "regressions": None,
    "rouge_l": {"max_worsening": 0.2},
}


def make_recipe(*, steps: int, day_s: float, **sections: Mapping[str, Any]) -> Recipe:
    """The demo's recipe on a clock whose days last `day_s` seconds: every duration is that much shorter.

    Args:
        steps: of SFT.
        day_s: seconds of the database's clock in a simulated day.
        sections: fields that replace those of the section.
    """
    fast = day_s / 86_400
    plain = load_recipe(ROOT / "recipes" / "demo.yaml").model_dump(mode="json")
    changes: dict[str, Mapping[str, Any]] = {
        "curation": {"abuse": {"burst_events": 0, "brigade_users": 0, "daily_events": 0}, "min_interactions": 500},
        "training": {"max_steps": steps},
        "ab_testing": {
            "stage_duration_hours": 24 * fast,
            "max_duration_days": EXPIRES_DAYS * fast,
            "stale_after_hours": 48 * fast,
            "burn_in_users": 50,
            "stage_checks": [["significant_improvement"]],
            "holdback_days": 14 * fast,
            "guardrails": [
                {"metric": "thumbs_up_rate", "absolute_margin": 0.15},
                {"metric": "error_rate", "absolute_margin": 0.05},
            ],
        },
        "automation": {"auto_rollout": True, "retrain_after_hours": 10_000.0, "retrain_after_interactions": 1_000_000},
    }
    for section, fields in (*changes.items(), *sections.items()):
        plain[section] = (plain[section] or {}) | dict(fields)
    return Recipe.model_validate(plain)


def plan_weeks(*, steps: int, day_s: float) -> dict[str, Recipe]:
    """The recipe of each week, by what it is to show."""
    live = {"files": None}
    return {
        "good": make_recipe(steps=steps, day_s=day_s),
        "harmful": make_recipe(steps=steps, day_s=day_s, feedback=live, gate=LENIENT),
        "neutral": make_recipe(steps=steps, day_s=day_s, feedback=live, gate=LENIENT).in_mode("incremental"),
        "wrecked": make_recipe(
            steps=steps, day_s=day_s, feedback=live, training={"max_steps": steps, "learning_rate": WRECKING_RATE}
        ),
    }
