"""The process of a probe: `python -m flytewheel.planning.probe_child FOLDER`, which holds `request.json`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flytewheel.errors import FlytewheelError
from flytewheel.planning.peak import read_peak
from flytewheel.planning.probe import Probe, Request, say_step, shorten
from flytewheel.recipe import BudgetSpec, Recipe
from flytewheel.training.align import align
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace


class Meter:
    """Counts the tokens that go through the model, and takes the time of each step and of the reference."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.tokens: list[int] = []
        self.times: list[float] = []
        self.reference_s = 0.0
        self.reference_tokens = 0
        self._count = 0
        self._reference_count = 0
        self._reference_at: float | None = None

    def look(self, module: Any, inputs: Any) -> None:
        """A hook before every module: an embedding sees the ids; passes without gradients (a reference, an evaluation)
        are not the trained model's.
        """
        import torch

        if isinstance(module, torch.nn.Embedding):
            if torch.is_grad_enabled():
                self._count += int(inputs[0].numel()) if module.training else 0
            else:
                self._reference_count += int(inputs[0].numel())

    def step(self, what: str, done: int, total: int | None) -> None:
        """Called at the beginning and after every step."""
        if total is None:
            return
        if what == "reference":
            self._take_reference()
            return
        self._reference_at = None
        if done == 0:  # also when memory ran out and it begins anew
            self.tokens, self.times = [], []
        else:
            self.tokens.append(self._count)
        self._count = 0
        self.times.append(time.monotonic())
        say_step(done, total)

    @property
    def reference_token_s(self) -> float:
        """Seconds of the reference, a token; 0 where none was asked."""
        return self.reference_s / self.reference_tokens if self.reference_tokens else 0.0

    def _take_reference(self) -> None:
        # The time of the first answers is not known: only their end is told.
        now = time.monotonic()
        if self._reference_at is not None:
            self.reference_s += now - self._reference_at
            self.reference_tokens += self._reference_count
        self._reference_count = 0
        self._reference_at = now


def main(folder: Path) -> None:
    """Trains as `request.json` says, and writes `probe.json` beside it."""
    import torch

    request = Request(**json.loads((folder / "request.json").read_text(encoding="utf-8")))
    recipe = shorten(Recipe.model_validate_json(json.dumps(request.recipe)), request.method, request.max_steps)
    meter = Meter()
    torch.nn.modules.module.register_module_forward_pre_hook(meter.look)
    # Thrown away with the folder; the reference's values are not kept, and so are computed and timed.
    at = Workplace(folder / "checkpoints", progress=meter.step, reference=None)
    dataset, out = Path(request.dataset), folder / "out"
    budget = BudgetSpec(memory_gb=recipe.budget.memory_gb)  # of hours a probe takes what it needs
    if request.method == "sft":
        report = train_sft(
            dataset, out, base=recipe.base, training=recipe.training, seed=recipe.seed, at=at, budget=budget
        )
    else:
        start = Path(request.adapter) if request.adapter is not None else None
        report = align(
            dataset, start, out, base=recipe.base, training=recipe.training, rlhf=recipe.rlhf, seed=recipe.seed, at=at,
            budget=budget,
        )  # fmt: skip
    seconds = [after - before for before, after in zip(meter.times, meter.times[1:], strict=False)]
    probe = Probe(
        steps=report.steps,
        tokens=tuple(meter.tokens),
        seconds=tuple(seconds),
        start_s=meter.times[0] - meter.started - meter.reference_s,
        reference_s=meter.reference_token_s,
        memory=read_peak(report.device.partition(" ")[0]),
        adapter=str(out),
        fitted=report.fitted,
    )
    (folder / "probe.json").write_text(json.dumps(asdict(probe)), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FlytewheelError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
