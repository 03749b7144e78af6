"""Trains SFT in a process whose address space hardly grows: `python cramped_child.py <model> <dataset> <root>`."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from flytewheel.training import sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, training_spec

_ROOM_BYTES = 140 << 20


def _limit(make: Any) -> Any:
    def make_trainer(*arguments: Any, **options: Any) -> Any:
        trainer = make(*arguments, **options)
        taken = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
        if taken is None:
            raise RuntimeError("the system does not say how much address space is taken")
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (int(taken.group(1)) * 1024 + _ROOM_BYTES, hard))
        return trainer

    return make_trainer


def main(model: str, dataset: str, root: str) -> None:
    import torch

    torch.set_num_threads(1)
    sft.make_sft_trainer = _limit(sft.make_sft_trainer)
    sft.train_sft(
        Path(dataset), Path(root) / "out", base=base_spec(Path(model)),
        training=training_spec(batch_size=48, gradient_accumulation=1, epochs=2.0), seed=5,
        at=Workplace(Path(root) / "checkpoints"),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
