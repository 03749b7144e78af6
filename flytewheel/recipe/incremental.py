"""The small turn between two full ones: when it is due, and what it changes of a recipe."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

from flytewheel.recipe.training import RlhfSpec, TrainingSpec
from flytewheel.strict import AtLeastOne, Number, Positive, Section, Share

_Learning = TypeVar("_Learning", TrainingSpec, RlhfSpec)


class IncrementalSpec(Section):
    """The small turn: it goes on from the champion's adapter, on the rows that came in since, for a few steps."""

    enable: bool = Field(default=False, description="the hourly look at the triggers launches small turns as well")
    after_interactions: AtLeastOne = Field(default=1000, description="new interactions that make one due")
    after_hours: Positive | None = Field(
        default=24.0, description="so long after the last turn fewer of them make one due, too; null: they never do"
    )
    min_interactions: AtLeastOne = Field(
        default=200, description="the fewest that a small turn learns from; never more than `after_interactions`"
    )
    least_hours_between_turns: Positive = Field(
        default=1.0, description="a trigger launches no small turn sooner after the last launch"
    )
    batch_size: AtLeastOne = Field(default=32, description="rows of an optimizer step, accumulated where need be")
    max_steps: AtLeastOne = Field(
        default=10,
        description="steps of SFT and of alignment each: once or twice through the rows of 1,000 interactions",
    )
    learning_rate_factor: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=0.5,
        description="learning rates against those of a full turn: what was learnt is to be moved, not redone",
    )
    keep_checkpoints: AtLeastOne = Field(
        default=10,
        description="checkpoints written and kept; the best of them on the validation rows is taken",
    )
    tolerance: Share = Field(
        default=0.0,
        description="validation loss may be above that of the start by this share of it, else the turn is taken back",
    )

    @property
    def fewest(self) -> int:
        """Interactions that a small turn needs."""
        return min(self.min_interactions, self.after_interactions)


def shrink(spec: _Learning, small: IncrementalSpec) -> _Learning:
    """What a small turn makes of `training` or `rlhf`: few large batches, gentle, with a checkpoint at each tenth."""
    rows = min(spec.batch_size, small.batch_size)
    steps = min(spec.max_steps or small.max_steps, small.max_steps)
    return spec.model_copy(
        update={
            "learning_rate": spec.learning_rate * small.learning_rate_factor,
            "max_steps": steps,
            "batch_size": rows,
            "gradient_accumulation": max(1, round(small.batch_size / rows)),
            "checkpoint_every": -(-steps // small.keep_checkpoints),
            "keep_checkpoints": small.keep_checkpoints,
        }
    )
