"""How many rows go through the model at once, so that memory suffices, and how many of these make one step.

Only the first may change during a training: the rows of a step stay the same rows, so that the same is learnt. The loss
of SFT is a mean over the tokens of all micro-batches of a step (transformers divides by their number), that of DPO and
KTO a mean over rows, of micro-batches that are equally large; only in the last step of an epoch, where rows are left
over, a smaller micro-batch counts as much as a whole one. KTO's KL term is estimated over the rows of a micro-batch, of
which it needs two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from flytewheel.recipe import RewardSpec, RlhfSpec, TrainingSpec

_Spec = TypeVar("_Spec", TrainingSpec, RlhfSpec, RewardSpec)
# What the allocators of Metal and of the CPU write; CUDA's error has a class of its own.
_EXHAUSTED = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """`rows` at once (a pair is one), `accumulation` times before each step."""

    rows: int
    accumulation: int

    @property
    def step_rows(self) -> int:
        """Rows of a step: the effective batch."""
        return self.rows * self.accumulation

    def halve(self, least: int = 1) -> MicroBatch | None:
        """The next smaller one with as many rows a step: half, or the next divisor where that leaves a remainder.

        Args:
            least: Rows that a micro-batch needs.

        Returns:
            6 x 1 becomes 3 x 2 and 1 x 6; `None` where there is none.
        """
        return self.limit(self.rows // 2, least) or self.limit(self.rows - 1, least)

    def limit(self, rows: int, least: int = 1) -> MicroBatch | None:
        """The largest one of at most `rows` rows with as many rows a step."""
        for size in range(min(rows, self.rows), least - 1, -1):
            if self.step_rows % size == 0:
                return MicroBatch(size, self.step_rows // size)
        return None

    def apply(self, spec: _Spec) -> _Spec:
        """The section of a recipe with these numbers in it."""
        copied: Any = spec.model_copy(update={"batch_size": self.rows, "gradient_accumulation": self.accumulation})
        changed: _Spec = copied
        return changed

    def __str__(self) -> str:
        return f"{self.accumulation} x {self.rows}"


def of_spec(spec: TrainingSpec | RlhfSpec | RewardSpec, least: int = 1) -> MicroBatch:
    """The micro-batch that a recipe asks for."""
    return MicroBatch(max(spec.batch_size, least), spec.gradient_accumulation)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left for what was asked."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _EXHAUSTED)


def free_memory() -> None:
    """Gives back what a trainer held that nobody refers to any more."""
    import gc

    import torch

    gc.collect()  # a trainer and its callbacks refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
