"""Aligns in a process of its own, to be killed while it computes the reference.

`python reference_child.py <model> <dataset> <sft adapter> <root> <threads>`: says on standard output how many answers
it has computed, and keeps them four at a time.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from flytewheel.training import reference
from flytewheel.training.align import align
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec


def main(model: str, dataset: str, adapter: str, root: str, threads: str) -> None:
    import torch

    torch.set_num_threads(int(threads))
    reference._KEEP_EVERY = 4
    align(
        Path(dataset), Path(adapter), Path(root) / "out", base=base_spec(Path(model)), training=training_spec(),
        rlhf=rlhf_spec(), seed=3,
        at=Workplace(
            Path(root) / "checkpoints", reference=Path(root) / "reference",
            progress=lambda what, done, total: print(what, done, flush=True),
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
