"""Watches a trainer at work: marks checkpoints, shows progress, measures, passes curves on.

What it measures itself (`meter`, `footprint`) joins the trainer's own figures in `state.log_history`: thus it lies in
the checkpoints too, and the curve of a training that was resumed holds every point once. The figures have the same
names whatever the method.
"""

from __future__ import annotations

from typing import Any

from flytewheel.training.checkpoints import Checkpoints
from flytewheel.training.footprint import GIB, Footprint
from flytewheel.training.meter import Meter, describe
from flytewheel.training.report import Method
from flytewheel.training.workplace import Workplace

_NOT_CURVES = (
    "total_flos", "train_", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_num_tokens",
)  # fmt: skip
_PLACES = {"step", "epoch"}  # where a point lies, not what was measured
_ALIASES = {"accuracy": "rewards/accuracies", "margin": "rewards/margins"}  # TRL's RewardTrainer against its others


def measured(entry: dict[str, Any]) -> dict[str, float]:
    """The numbers of a log entry that belong on curves, under the same names for every method."""
    return {
        _name(key): value
        for key, value in entry.items()
        if isinstance(value, int | float) and value == value and not key.startswith(_NOT_CURVES)
    }


def read_curve(history: list[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    """The points of a trainer's log that hold more than their place."""
    curve = [measured(entry) for entry in history]
    return tuple(point for point in curve if set(point) - _PLACES)


def watch(method: Method, keep: int, checkpoints: Checkpoints, at: Workplace, device: str = "cpu") -> Any:
    """A callback for a trainer of `method` on a `device`, of whose checkpoints the `keep` newest stay.

    It has to be given the trainer (`attach`), and tells the `totals` of the whole training.
    """
    from transformers import TrainerCallback
    from transformers.trainer_callback import ExportableState

    class Watcher(TrainerCallback, ExportableState):  # type: ignore[misc,unused-ignore]
        """Marks checkpoints, shows progress, measures, passes curves on."""

        def __init__(self) -> None:
            self._meter = Meter()
            self._footprint = Footprint(device)

        def attach(self, trainer: Any) -> None:
            """Measures the batches of `trainer`."""
            self._meter.attach(trainer)

        def restore(self, state: Any) -> None:
            """Goes on counting from a checkpoint's `TrainerState`."""
            kept = (state.stateful_callbacks or {}).get("Watcher") or {}
            totals: list[float] = kept.get("attributes", {}).get("totals") or []
            if len(totals) == len(self._meter.totals):
                self._meter.restore(totals)

        def state(self) -> dict[str, Any]:
            """What transformers keeps in a checkpoint's `trainer_state.json`."""
            return {"args": {}, "attributes": {"totals": self._meter.settle()}}

        def totals(self) -> dict[str, Any]:
            """The fields of the report: tokens over all attempts, memory of this one."""
            self._meter.take()
            figures = describe(self._meter.totals[0], *self._meter.totals)
            named = {f"mean_{name}": value for name, value in figures.items() if name != "num_tokens"}
            tokens = {"tokens": figures["num_tokens"]} if figures else {}
            return {**tokens, **named, "peak_memory_gib": self._footprint.read() / GIB}

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoints.mark(state.global_step, keep)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.restore(state)
            self._footprint.begin()
            self._tell(state)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._meter.end_step()
            self._tell(state)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            entry = state.log_history[-1]  # `logs` itself is already stored, without what is added here
            if "loss" in entry:
                entry |= {**self._meter.take(), "memory_gib": self._footprint.read() / GIB}
                self._describe(entry)
            point = measured(entry)
            if at.tracker is not None and set(point) - _PLACES and state.is_world_process_zero:
                at.tracker.log({key: value for key, value in point.items() if key != "step"}, step=state.global_step)

        def _describe(self, entry: dict[str, Any]) -> None:
            if at.describe is not None:
                rate = entry.get("useful_tokens_per_s")
                speed = f", {rate:,.0f} tokens/s" if rate is not None else ""
                at.describe(method, f"loss {entry['loss']:.4g}{speed}")

        def _tell(self, state: Any) -> None:
            if at.progress is not None:
                at.progress(method, state.global_step, state.max_steps)

    return Watcher()


def _name(key: str) -> str:
    part = "eval_" if key.startswith("eval_") else ""
    return part + _ALIASES.get(key.removeprefix(part), key.removeprefix(part))
