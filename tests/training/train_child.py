"""Trains SFT in a process of its own, to be killed: `python train_child.py <model> <dataset> <root> <threads>`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, training_spec


def main(model: str, dataset: str, root: str, threads: str) -> None:
    import torch

    torch.set_num_threads(int(threads))
    train_sft(
        Path(dataset), Path(root) / "out", base=base_spec(Path(model)), training=training_spec(epochs=8.0), seed=5,
        at=Workplace(Path(root) / "checkpoints"),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
