"""The time that a training may take (`budget.hours`), and who keeps it.

The clock runs from the loading of the model on, over all attempts of a training, and SFT's time counts for the
alignment that follows. At the limit training stops after the step under way, with a complete checkpoint; the adapter is
published as it is. A later run with more hours goes on from that checkpoint as if it had never stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.training.checkpoints import Checkpoints
from flytewheel.training.journal import Journal, write_journal
from flytewheel.training.processes import find_processes
from flytewheel.training.report import TrainingReport

_WRITE_EVERY_S = 10.0  # so much of a killed attempt's time is forgotten at most


@dataclass(frozen=True, slots=True)
class Allowance:
    """`hours` for the training of a turn (`None`: no limit), `before_s` of which were taken by an earlier part."""

    hours: float | None = None
    before_s: float = 0.0

    def is_spent(self, seconds: float) -> bool:
        """Whether nothing is left after `seconds` of this training."""
        return self.hours is not None and self.before_s + seconds >= self.hours * 3600

    def settled(self, checkpoints: Checkpoints) -> TrainingReport | None:
        """The report of an earlier attempt that came as far as it may now; `None`: there is something to train."""
        report = checkpoints.finished()
        if report is not None and report.stopped and not self.is_spent(report.total_seconds):
            return None
        return report

    def describe(self, step: int, steps: int) -> str:
        """Why a training was stopped at `step` of `steps`."""
        before = f" ({self.before_s / 3600:.2g} of them taken by SFT)" if self.before_s else ""
        return f"budget.hours {self.hours:g}{before} reached at step {step} of {steps}"


class Clock:
    """Adds up the time of all attempts of a training, and writes it into its journal."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.journal = journal
        self._folder = folder
        self._earlier_s = journal.seconds
        self._started = self._written = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of all attempts."""
        return self._earlier_s + time.monotonic() - self._started

    def write(self, *folders: Path) -> None:
        """Writes the journal as it is now into the checkpoint directory, and into `folders`."""
        if not find_processes().first:
            return
        now = Journal(round(self.seconds, 3), self.journal.rows, self.journal.said)
        for folder in (self._folder, *folders):
            write_journal(folder, now)
        self._written = time.monotonic()

    def write_now_and_then(self) -> None:
        """Writes it where the last time is some seconds ago."""
        if time.monotonic() - self._written >= _WRITE_EVERY_S:
            self.write()


def keep_time(clock: Clock, allowance: Allowance) -> Any:
    """A callback for a trainer: stops it when its time is over, and puts the journal into its checkpoints.

    It has to come before what seals the checkpoints. `stopped` says in words where it stopped.
    """
    from transformers import TrainerCallback

    class TimeKeeper(TrainerCallback):  # type: ignore[misc,unused-ignore]
        """Stops a trainer after the step in which its time ends."""

        def __init__(self) -> None:
            self.step = 0
            self.stopped = ""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.step = state.global_step

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.step = state.global_step
            clock.write_now_and_then()
            if state.global_step < state.max_steps and self._is_over():
                self.stopped = allowance.describe(state.global_step, state.max_steps)
                control.should_training_stop = True
                # Leaving the loop runs what belongs to the end of an epoch. Where it is one, it evaluates before it
                # saves, as it would have; in the midst of one it must do neither: a second writing of the checkpoint
                # would break its seal for a moment, and an evaluation draws random numbers.
                control.should_save = not _is_epoch_end(state)

        def _is_over(self) -> bool:
            # One clock counts for all processes, or some would wait for others that have stopped.
            return allowance.hours is not None and find_processes().tell(allowance.is_spent(clock.seconds))

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.stopped:
                control.should_save = _is_epoch_end(state)
                control.should_evaluate = control.should_evaluate and _is_epoch_end(state)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.write(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return TimeKeeper()


def _is_epoch_end(state: Any) -> bool:
    return float(state.epoch).is_integer()
