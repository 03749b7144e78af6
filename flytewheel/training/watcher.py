"""Watches a trainer at work: marks checkpoints, shows progress, passes curves on."""

from __future__ import annotations

from typing import Any

from flytewheel.training.checkpoints import Checkpoints
from flytewheel.training.report import Method
from flytewheel.training.workplace import Workplace

_NOT_CURVES = ("total_flos", "train_", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")


def measured(entry: dict[str, Any]) -> dict[str, float]:
    """The numbers of a log entry that belong on curves."""
    return {
        key: value
        for key, value in entry.items()
        if isinstance(value, int | float) and value == value and not key.startswith(_NOT_CURVES)
    }


def watch(method: Method, keep: int, checkpoints: Checkpoints, at: Workplace) -> Any:
    """A callback for a trainer of `method`, of whose checkpoints the `keep` newest stay."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc,unused-ignore]
        """Marks checkpoints, shows progress, passes curves on."""

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoints.mark(state.global_step, keep)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._tell(state)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._tell(state)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            point = measured(logs or {})
            if at.tracker is not None and point:
                at.tracker.log(point, step=state.global_step)

        def _tell(self, state: Any) -> None:
            if at.progress is not None:
                at.progress(method, state.global_step, state.max_steps)

    return Watcher()
