"""Takes a training back when it made things worse: of its start and its checkpoints, the best on the validation rows.

A full turn publishes its last step; overfitting shows at the gate, and the champion stays. A small turn starts at the
champion, so the champion's own loss on the same validation rows is the bar: the checkpoint with the least loss is
published when it is not above that by more than the tolerance, else the start is handed on, byte for byte. Without
validation rows nothing can be told, and the start stays.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """What a training has to hold: the adapter that it starts from, and the tolerated share of that one's loss."""

    adapter: Path
    tolerance: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The step that is published (0: the start itself), the losses in nats, where known, and the reason in words."""

    step: int
    start_loss: float | None
    loss: float | None
    reason: str


def choose_step(history: Sequence[Mapping[str, Any]], kept: Collection[int], tolerance: float) -> Taken:
    """Chooses what to publish.

    Args:
        history: a trainer's log; the entry of step 0 holds the start's validation loss.
        kept: steps whose weights are still there.
        tolerance: share of the start's loss.
    """
    losses = {int(entry["step"]): float(entry["eval_loss"]) for entry in history if "eval_loss" in entry}
    start = losses.pop(0, math.nan)
    if not math.isfinite(start):
        return Taken(0, None, None, "taken back: no validation rows to compare on")
    held = {step: loss for step, loss in losses.items() if step in kept and math.isfinite(loss)}
    if not held:
        return Taken(0, start, start, f"taken back: validation loss {start:.4f} → not a number")
    step = min(held, key=lambda step: (held[step], step))
    change = f"validation loss {start:.4f} → {held[step]:.4f}"
    if held[step] > start * (1 + tolerance):
        return Taken(0, start, start, f"taken back: {change} at best, {tolerance:.1%} is tolerated")
    return Taken(step, start, held[step], f"{change} at step {step}")


def compare_from_start(trainer: Any, *, resumed: bool) -> None:
    """Has a trainer measure its start, unless it was measured before it was resumed, and each checkpoint."""
    if trainer.eval_dataset is None:
        return
    from transformers import TrainerCallback

    class Measurer(TrainerCallback):  # type: ignore[misc,unused-ignore]
        """Runs after the trainer's own callback, which decides where a checkpoint is written; measured before that."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_evaluate = control.should_evaluate or control.should_save

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_evaluate = control.should_evaluate or control.should_save

    # One at an epoch's end, after the checkpoint there, would draw random numbers that resuming does not draw.
    trainer.args.eval_strategy = "no"
    trainer.args.eval_on_start = not resumed
    trainer.add_callback(Measurer)
