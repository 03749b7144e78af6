"""What a training would take, part by part and in total: records, as the command prints them and as JSON has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flytewheel.recipe import BudgetSpec


@dataclass(frozen=True, slots=True)
class Part:
    """SFT, the reward model, or alignment.

    Attributes:
        name: `sft`, `reward` or `align`.
        method: `sft`, `reward`, `dpo`, `orpo`, `kto`, `grpo` or `skipped`.
        reason: for the method, in words.
        rows: that are trained on.
        too_long: rows of more than `base.max_length` tokens: SFT cuts their end, alignment drops them.
        tokens: of all rows, one epoch.
        loss_tokens: those of them that carry loss.
        padded_tokens: computed in one epoch, padding included.
        useful_share: `tokens` of `padded_tokens`, in [0, 1].
        longest: tokens of the longest sequence.
        micro_batch: how often before a step, and rows at once, as `4 x 8`; of each process.
        pace: what packing changed of the recipe, in words.
        fitted: what was changed so that memory suffices, in words.
        steps: of the whole training.
        seconds: at least and at most.
        memory: bytes at the peak, of each process.
        memory_parts: the estimate's, in bytes.
        memory_measured: whether `memory` was measured by the probe.
        disk: bytes of checkpoints and adapter.
        sure: where `seconds` and `memory` come from, in words.
        budget: how it stands with the recipe's budget, in words; empty without one.
        not_predicted: what of it is not known, in words; then time and memory are 0.
    """

    name: str
    method: str
    reason: str
    rows: int = 0
    too_long: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    padded_tokens: int = 0
    useful_share: float = 0.0
    longest: int = 0
    micro_batch: str = ""
    pace: str = ""
    fitted: tuple[str, ...] = ()
    steps: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)
    memory: int = 0
    memory_parts: Mapping[str, int] | None = None
    memory_measured: bool = False
    disk: int = 0
    sure: str = ""
    budget: str = ""
    not_predicted: str = ""

    @property
    def likely_s(self) -> float:
        """Seconds, in the middle of what is possible."""
        return sum(self.seconds) / 2


@dataclass(frozen=True, slots=True)
class Price:
    """Of an hour of this machine."""

    per_hour: float
    currency: str = ""

    def describe(self, seconds: tuple[float, float]) -> str:
        """What so many seconds cost."""
        least, most = (value / 3600 * self.per_hour for value in seconds)
        return f"{least:,.2f} to {most:,.2f} {self.currency}".rstrip()


@dataclass(frozen=True, slots=True)
class Forecast:
    """The training of one turn. `turn_disk` is what all of a first turn may write, models included; `None`: unknown."""

    recipe: str
    base: str
    parameters: int | None
    device: str
    dataset: str
    parts: tuple[Part, ...]
    turn_disk: int | None = None
    price: Price | None = None

    @property
    def seconds(self) -> tuple[float, float]:
        """Of all parts that can be predicted, at least and at most."""
        return sum(part.seconds[0] for part in self.parts), sum(part.seconds[1] for part in self.parts)

    @property
    def memory(self) -> int:
        """Bytes at the peak: the parts run one after the other."""
        return max((part.memory for part in self.parts), default=0)

    @property
    def disk(self) -> int:
        """Bytes of checkpoints and adapters."""
        return sum(part.disk for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Everything, totals included."""
        least, most = self.seconds
        total: dict[str, Any] = {
            "steps": sum(part.steps for part in self.parts),
            "hours": [least / 3600, most / 3600],
            "memory": self.memory,
            "disk": self.disk,
            "not_predicted": [part.name for part in self.parts if part.not_predicted],
        }
        if self.price is not None:
            total["cost"] = [value / 3600 * self.price.per_hour for value in self.seconds]
            total["currency"] = self.price.currency
        return {**asdict(self), "total": total}


def judge_hours(budget: BudgetSpec, before_s: float, part: Part) -> str:
    """How a part stands with `budget.hours`, of which `before_s` seconds are likely gone when it begins."""
    if budget.hours is None or part.method == "skipped" or part.not_predicted:
        return ""
    left = budget.hours * 3600 - before_s
    if left <= 0:
        return f"budget.hours {budget.hours:g}: would not begin"
    if part.seconds[1] <= left:
        return f"budget.hours {budget.hours:g}: fits"
    if part.seconds[0] <= left:
        return f"budget.hours {budget.hours:g}: may not suffice"
    step = max(1, int(part.steps * left / part.likely_s))
    return f"budget.hours {budget.hours:g}: would stop at about step {step:,} of {part.steps:,}"


def judge_memory(budget: BudgetSpec, part: Part) -> str:
    """How a part, fitted as well as could be, stands with `budget.memory_gb`."""
    if budget.memory_gb is None or part.method == "skipped" or part.not_predicted:
        return ""
    if part.memory <= budget.memory_gb * 1e9:
        return f"budget.memory_gb {budget.memory_gb:g}: fits"
    return f"budget.memory_gb {budget.memory_gb:g}: {part.memory / 1e9:.3g} GB were measured; give more, or less to do"
