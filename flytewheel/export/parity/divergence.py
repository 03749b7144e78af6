"""How far a file's distributions are from the trained weights', and what it may be.

At each position of a held-out text three distributions over the vocabulary are at hand: of the trained weights (T), of
the same weights rounded as the file says, in transformers (R, see `rounding`), and of the file in llama.cpp (F).
KL(T ‖ R) is the kind's own noise, known without llama.cpp. Three bounds, for every kind:

1. *Execution.* Mean KL(R ‖ F) ≤ `EXECUTION` × mean KL(T ‖ R): llama.cpp computes what these numbers say. Rounding has
   no part in it, so a wrong rotation, order, option or name shows bare. In a single text it may be `TEXT` times more.
2. *Noise.* The file loses no more than the base does by the same rounding on the same texts: the geometric mean over
   the texts of KL(T ‖ F) / KL(base ‖ base rounded) is at most `export.parity_noise_factor`. A converter that is wrong
   for the base as well cannot widen it, since the base is rounded in transformers. This is what a candidate fails whose
   training drove weights apart so that its blocks hold a few huge numbers beside lost ones. A loss below `NEGLIGIBLE`
   passes: of almost nothing, many times as much is still almost nothing.
3. *Floats are absolute.* Mean KL(T ‖ F) of F32, F16 and BF16 is at most `ABSOLUTE`, whatever the base's noise is.

The best token may differ at as many positions as rounding alone makes differ, and three standard deviations of such a
count more (Poisson). A divergence below `FLOOR` is arithmetic, summed in another order. NaN fails every bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.parity.reference import Head, Pass

# Two programs that round the same inputs at the same places drift apart by up to twice what the rounding costs (two
# independent errors of that size), more the deeper the model; half of that again is left for what a kernel looks up in
# f16 (GELU). Measured: 0.10 (F16), 0.12 (Q8_0), below 0.01 (K-quants) on the bundled model, 0.62 for an adapter trained
# on it, 0.41 on tiny models of Gemma; a fault that is planted costs 10^4 times as much.
EXECUTION = 3.0
TEXT = 4.0
FLOOR = 1e-8  # nats a token
NEGLIGIBLE = 1e-4  # nats a token: no loss that anybody sees, whatever the base's is
ABSOLUTE = {"F32": 1e-6, "F16": 1e-4, "BF16": 1e-3}
LEAST_POSITIONS = 32
TIES = 3.0  # times the largest change that rounding makes to the lead of the best token
_POSITIONS = 32  # compared at once


@dataclass(frozen=True, slots=True)
class Gap:
    """Two sets of distributions over one text: nats and both best tokens at each position, the largest difference of
    two logits, and the largest change to the lead of the best token over the second.
    """

    nats: Any
    best: Any
    other_best: Any
    logits: float
    lead: float

    @property
    def differs(self) -> Any:
        """At which positions the best token is another."""
        return self.best != self.other_best


@dataclass(frozen=True, slots=True)
class Noise:
    """What a kind's rounding alone does, for each text."""

    gaps: tuple[Gap, ...]

    @property
    def mean_nats(self) -> float:
        return mean_nats(self.gaps)

    @property
    def lead(self) -> float:
        """The largest change to the lead of a best token, in logits."""
        return max(gap.lead for gap in self.gaps)


def compare(one: Any, other: Any) -> Gap:
    """Compares logits `(positions, vocabulary)`: KL(one ‖ other) in nats, summed in fp64, and the best tokens."""
    import torch

    nats, best_ids, other_ids, logits, lead = [], [], [], 0.0, 0.0
    for start in range(0, one.shape[0], _POSITIONS):
        mine, theirs = one[start : start + _POSITIONS], other[start : start + _POSITIONS]
        best, at = mine.topk(2, dim=-1)
        there = theirs.gather(-1, at)
        lead = _larger(lead, ((best[:, 0] - best[:, 1]) - (there[:, 0] - there[:, 1])).abs().max())
        logits = _larger(logits, (mine - theirs).abs().max())
        best_ids.append(at[:, 0])
        other_ids.append(theirs.argmax(dim=-1))
        left, right = torch.log_softmax(mine.double(), dim=-1), torch.log_softmax(theirs.double(), dim=-1)
        nats.append((left.exp() * (left - right)).sum(dim=-1))
    return Gap(torch.cat(nats).numpy(), torch.cat(best_ids).numpy(), torch.cat(other_ids).numpy(), logits, lead)


def compare_passes(one: Pass, one_head: Head, other: Pass, other_head: Head) -> tuple[Gap, ...]:
    """Compares two passes over the same texts."""
    return tuple(
        _join(
            [
                compare(
                    one_head.logits(left[start : start + _POSITIONS]),
                    other_head.logits(right[start : start + _POSITIONS]),
                )
                for start in range(0, left.shape[0], _POSITIONS)
            ]
        )
        for left, right in zip(one, other, strict=True)
    )


def compare_logits(hidden: Any, head: Head, logits: Any) -> Gap:
    """Compares one text of a pass with logits that a file gave, a numpy array `(positions, vocabulary)`."""
    import torch

    return _join(
        [
            compare(
                head.logits(hidden[start : start + _POSITIONS]), torch.from_numpy(logits[start : start + _POSITIONS])
            )
            for start in range(0, hidden.shape[0], _POSITIONS)
        ]
    )


def mean_nats(gaps: Sequence[Gap]) -> float:
    """Mean over all positions."""
    return float(sum(gap.nats.sum() for gap in gaps) / sum(len(gap.nats) for gap in gaps))


def count_differing(gaps: Sequence[Gap]) -> int:
    """Positions whose best token is another."""
    return int(sum(gap.differs.sum() for gap in gaps))


def geometric_ratio(gaps: Sequence[Gap], base: Sequence[Gap]) -> float:
    """Geometric mean over the texts of how many times more nats one has than the other, both at least `FLOOR`."""
    logs = [
        math.log(_floored(float(gap.nats.mean())) / _floored(float(other.nats.mean())))
        for gap, other in zip(gaps, base, strict=True)
    ]
    return math.exp(sum(logs) / len(logs))


def judge(
    where: str,
    kind: str,
    found: Sequence[Gap],
    executed: Sequence[Gap],
    noise: Noise,
    base: Noise,
    *,
    factor: float,
    tell: Callable[[int], str],
) -> None:
    """Holds a file's figures against the bounds of the module.

    Args:
        where: The file's name.
        kind: Its kind.
        found: Trained weights against file, by text.
        executed: Rounded weights against file, by text.
        noise: Trained weights against rounded ones.
        base: The same of the base.
        factor: How much more than the base's noise the file may lose.
        tell: Shows a token by its id.

    Raises:
        ExportError: a figure is out of bounds, not finite, or there are too few positions; the text and the position
            where the best token first differs are named.
    """
    positions = sum(len(gap.nats) for gap in found)
    if positions < LEAST_POSITIONS:
        raise ExportError(
            f"{where}: {positions} positions are too few to tell (at least {LEAST_POSITIONS}); give more held-out "
            "prompts or raise export.parity_positions"
        )
    for number, gap in enumerate(found):
        if not all(math.isfinite(figure) for figure in (*gap.nats.tolist(), gap.logits)):
            raise ExportError(f"{where}: text {number + 1}: logits that are not finite; the weights are broken")
    own, run = noise.mean_nats, mean_nats(executed)
    first = _tell_first(found, tell) or _tell_first(executed, tell)
    if not run <= max(FLOOR, EXECUTION * own):
        raise ExportError(
            f"{where}: llama.cpp computes something else than these numbers say, {run:.2g} nats a token (at most "
            f"{max(FLOOR, EXECUTION * own):.2g}, {EXECUTION:g} times what rounding costs){first}: a tensor's place or "
            "order, the rotary base, or an option is wrong"
        )
    for number, (gap, rounded) in enumerate(zip(executed, noise.gaps, strict=True)):
        bound = max(FLOOR, TEXT * EXECUTION * max(own, float(rounded.nats.mean())))
        if not gap.nats.mean() <= bound:
            raise ExportError(
                f"{where}: text {number + 1}: llama.cpp computes something else than these numbers say, "
                f"{gap.nats.mean():.2g} nats a token (at most {bound:.2g}){first}: a part of the model that only some "
                "texts use is wrong"
            )
    ratio = geometric_ratio(found, base.gaps)
    if kind not in ABSOLUTE and mean_nats(found) > NEGLIGIBLE and not ratio <= factor:
        raise ExportError(
            f"{where}: loses {ratio:.3g} times what {kind} costs the base on the same texts (at most {factor:g}; "
            f"{mean_nats(found):.2g} and {base.mean_nats:.2g} nats a token): the trained weights do not bear {kind}; "
            "serve a larger kind, or train with a lower rate"
        )
    if not mean_nats(found) <= ABSOLUTE.get(kind, math.inf):
        raise ExportError(
            f"{where}: its distributions differ from the trained weights by {mean_nats(found):.2g} nats a token (at "
            f"most {ABSOLUTE[kind]:g} for {kind}){first}"
        )
    expected, differing = count_differing(noise.gaps), count_differing(found)
    allowed = expected + 3 * math.sqrt(expected + 1)
    if differing > allowed:
        raise ExportError(
            f"{where}: the best token is another at {differing} of {positions} positions (at most "
            f"{math.floor(allowed)}; rounding alone makes {expected}){first}"
        )


def _tell_first(gaps: Sequence[Gap], tell: Callable[[int], str]) -> str:
    """The first place where the best token differs, in words; nothing where there is none."""
    import numpy as np

    for number, gap in enumerate(gaps):
        at = np.flatnonzero(gap.differs)
        if len(at):
            own, other = (tell(int(ids[at[0]])) for ids in (gap.best, gap.other_best))
            return (
                f", first at text {number + 1}, token {int(at[0]) + 1}: {own} for the trained weights, {other} for "
                "llama.cpp"
            )
    return ""


def _join(gaps: Sequence[Gap]) -> Gap:
    import numpy as np

    return Gap(
        np.concatenate([gap.nats for gap in gaps]),
        np.concatenate([gap.best for gap in gaps]),
        np.concatenate([gap.other_best for gap in gaps]),
        max((gap.logits for gap in gaps), key=_nan_first),
        max((gap.lead for gap in gaps), key=_nan_first),
    )


def _nan_first(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _larger(value: float, other: Any) -> float:
    return max(value, float(other), key=_nan_first)


def _floored(nats: float) -> float:
    return max(nats, FLOOR)
