"""Keeps the language model's head to the positions that a preference loss looks at: those of the answers.

TRL's fused head (`trl.trainer.utils.add_fused_lm_head`) does so where Triton runs. Elsewhere it scores every position,
prompts and padding included, for devices that compile anew for each shape. A CPU does not: on `pocket` with prompts of
65 and answers of 68 tokens the head took 20 % of a DPO step, more than half of it for nothing; the share grows with
the vocabulary. Values and gradients are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def head_at_answers() -> Iterator[None]:
    """Within the block TRL's fused head scores only labelled positions on a CPU, as it does on a CUDA card."""
    from trl.trainer import utils

    fused: Any = utils
    chosen_by_trl = fused._use_triton  # what the head asks; the kernel itself asks a name of its own
    fused._use_triton = lambda device: device.type == "cpu" or chosen_by_trl(device)
    try:
        yield
    finally:
        fused._use_triton = chosen_by_trl
