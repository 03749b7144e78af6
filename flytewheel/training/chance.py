"""Validation leaves the random state of training as it was.

A data loader draws a number from the process's random state whenever it begins. A checkpoint that falls on the last
step of an epoch is written before the epoch's validation: who goes on from it does not validate again, and every later
dropout differed from those of a training that was not killed (two of the first nine random kills of SFT).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def validate_aside(trainer: Any) -> None:
    """Makes `trainer.evaluate` put the random states back that it found."""
    evaluate = trainer.evaluate

    def evaluate_aside(*args: Any, **options: Any) -> Any:
        with kept_states():
            return evaluate(*args, **options)

    trainer.evaluate = evaluate_aside


@contextmanager
def kept_states() -> Iterator[None]:
    """Puts the random states of Python, NumPy and torch (every device's) back at the end of the block."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
