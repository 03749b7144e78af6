"""What is looked after on a schedule: the stored data, the statistics themselves, and the age of what is kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flytewheel.strict import AtLeastOne, Number, Positive, Section, Share


class QualitySpec(Section):
    """When the last day's data call for a person. Each alarm needs `min_rows`, so that a quiet night is none."""

    window_hours: Positive = 24.0
    baseline_days: Positive = Field(default=28.0, description="before the window, that it is held against")
    min_rows: AtLeastOne = Field(default=100, description="interactions, or imported lines, that a share needs")
    max_age_hours: Positive = Field(default=24.0, description="of the newest interaction")
    max_quarantined: Share = Field(default=0.05, description="of the lines that were imported")
    max_schema_faults: Share = Field(default=0.01, description="of them, that are no interaction or event at all")
    max_feedback_drop: Share = Field(
        default=0.5, description="of the capture rate and of the feedback rate against the baseline's; relative"
    )
    max_reward_shift: Share = Field(
        default=0.2, description="Kolmogorov–Smirnov's D between users' newest rewards, now and in the baseline"
    )
    confidence_level: Annotated[Number, Field(gt=0.5, lt=1)] = Field(
        default=0.999, description="that a drop or shift is no chance: a look a day, and one false alarm in years"
    )


class CalibrationSpec(Section):
    """The nightly self-check of the statistics: experiments between two identical arms."""

    runs: AtLeastOne = Field(default=200, description="simulated experiments")
    users: AtLeastOne = 400
    days: AtLeastOne = 7
    max_false_positives: Share = 0.05


class RetentionSpec(Section):
    """How long things are kept; `null`: for ever."""

    interactions_days: Positive | None = Field(
        default=None, description="and what was said of them; null: as FLYTEWHEEL_RETENTION_DAYS says, else for ever"
    )
    runs_days: Positive | None = Field(
        default=None,
        description="pages, decks and checkpoints of runs that ended; what champion and challenger came from stays",
    )
    collect_garbage: bool = Field(
        default=False, description="also one pass of `flytewheel models gc --apply` over the registry"
    )


class UpkeepSpec(Section):
    """What the scheduled looks ask and do (workflows/upkeep.py)."""

    quality: QualitySpec = QualitySpec()
    calibration: CalibrationSpec = CalibrationSpec()
    retention: RetentionSpec = RetentionSpec()
