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
    """Counts the tokens that go through the trained model, and takes the time of each step."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.tokens: list[int] = []
        self.times: list[float] = []
        self._count = 0

    def look(self, module: Any, inputs: Any) -> None:
        """A hook before every module: an embedding sees the ids; passes without gradients (a reference, an evaluation)
        are not the trained model's.
        """
        import torch

        if isinstance(module, torch.nn.Embedding) and module.training and torch.is_grad_enabled():
            self._count += int(inputs[0].numel())

    def step(self, what: str, done: int, total: int | None) -> None:
        """Called at the beginning and after every step."""
        if total is None:
            return
        if done == 0:  # also when memory ran out and it begins anew
            self.tokens, self.times = [], []
        else:
            self.tokens.append(self._count)
        self._count = 0
        self.times.append(time.monotonic())
        say_step(done, total)


def main(folder: Path) -> None:
    """Trains as `request.json` says, and writes `probe.json` beside it."""
    import torch

    request = Request(**json.loads((folder / "request.json").read_text(encoding="utf-8")))
    recipe = shorten(Recipe.model_validate_json(json.dumps(request.recipe)), request.method)
    meter = Meter()
    torch.nn.modules.module.register_module_forward_pre_hook(meter.look)
    at = Workplace(folder / "checkpoints", progress=meter.step)
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
        start_s=meter.times[0] - meter.started,
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
