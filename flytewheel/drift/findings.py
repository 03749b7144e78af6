"""What two windows differ in: prompt lengths, topics, languages, wording, people's votes and their readiness to vote.

Each is an effect with a threshold from the recipe, and a chance (`differences`); it fires where the effect reaches the
threshold *and* chance does not explain it. So size alone fires nothing, nor do few rows. "Cannot tell" fires nothing
either, and says what is lacking.

The level α that a window may spend is split evenly over the six figures, over a figure's columns (Bonferroni), and
over the sampling levels that a growing window passes (½, ¼, …); looks cost nothing more (`differences`), but for the
wording, whose classifier is another at each: 1/(k(k + 1)) of α at the k-th six hours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import vstack

from flytewheel.drift.differences import Difference, Floats, Pairing, compare, pair_windows
from flytewheel.drift.samples import Sample
from flytewheel.drift.wording import rank_rows
from flytewheel.recipe import DriftSpec

LENGTH_BINS = 10
MOST_CELLS = 20  # topics or languages; what is rarer stands together
PSI_FLOOR = 0.001  # a share below this counts as this, or a single row of a new kind would be endless
TAUGHT_ROWS = 1500  # of each window, that the classifier reads
OWN_DAYS = 7  # of a new champion, that its later votes are held against
REST, UNKNOWN = "(other)", "(cannot tell)"

Mask = NDArray[np.bool_]
Judge = Callable[[Sample, Sample, DriftSpec, float], "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure. `value` is its effect, `beyond` how many times more than chance explains; `None`: cannot tell.

    `users` with rows, before and after. `changes` are the largest of its parts: name, share before, share after.
    """

    name: str
    statistic: str
    threshold: float
    said: str
    value: float | None = None
    beyond: float | None = None
    fired: bool = False
    users: tuple[int, int] = (0, 0)
    changes: tuple[tuple[str, float, float], ...] = ()


def find_differences(
    before: Sample, after: Sample, spec: DriftSpec, *, alpha: float, only: str | None = None
) -> tuple[Finding, ...]:
    """All figures of a newer window against an older one.

    Args:
        before: what the last full turn learnt from.
        after: what came in since.
        spec: thresholds.
        alpha: that any figure ever fires over this window's looks, where nothing changes.
        only: the figure that is asked for; all of them otherwise.
    """
    judges: dict[str, Judge] = {
        "prompt_length": _judge_lengths,
        "topics": partial(_judge_shares, "topics", spec.topic_psi),
        "languages": partial(_judge_shares, "languages", spec.language_psi),
        "wording": _judge_wording,
        "quality": _judge_quality,
        "feedback_rate": _judge_reactions,
    }
    each = alpha / len(judges) / 2 ** (after.level + 1)
    return tuple(judge(before, after, spec, each) for name, judge in judges.items() if only in (None, name))


def _judge_lengths(before: Sample, after: Sample, spec: DriftSpec, alpha: float) -> Finding:
    finding = Finding("prompt_length", "D", spec.ks_statistic, "")
    kept = ~np.isnan(before.lengths), ~np.isnan(after.lengths)
    paired = _pair(before, after, *kept, finding, spec)
    if isinstance(paired, Finding):
        return paired
    old, new = before.lengths[kept[0]], after.lengths[kept[1]]
    edges = np.unique(np.quantile(np.concatenate([old, new]), np.arange(1, LENGTH_BINS) / LENGTH_BINS))
    found = compare(paired, _below(old, edges), _below(new, edges), alpha=alpha)
    value = measure_distance(old, paired.before, new, paired.after)
    middle = float(_median(old, paired.before)), float(_median(new, paired.after))
    told = (
        f"prompt lengths differ by D = {value:.3f}: half were below {middle[0]:,.0f} characters, now {middle[1]:,.0f}"
    )
    return _close(finding, paired, value, float(found.beyond.max(initial=0.0)), told)


def _judge_shares(name: str, threshold: float, before: Sample, after: Sample, spec: DriftSpec, alpha: float) -> Finding:
    finding = Finding(name, "PSI", threshold, "")
    values = (before.topics, after.topics) if name == "topics" else (before.languages, after.languages)
    kept = tuple(np.array([value is not None for value in side], dtype=bool) for side in values)
    paired = _pair(before, after, kept[0], kept[1], finding, spec)
    if isinstance(paired, Finding):
        return paired
    names, old, new = _tabulate(values[0][kept[0]], values[1][kept[1]], paired)
    found = compare(paired, old, new, alpha=alpha)
    value = measure_psi(found.before, found.after)
    changes = _name_changes(names, found)
    most = max(changes, key=lambda change: abs(change[2] - change[1]))
    told = f"{name} differ by PSI = {value:.3f}: {most[0]} had {most[1]:.1%}, now {most[2]:.1%}"
    return replace(_close(finding, paired, value, float(found.beyond.max(initial=0.0)), told), changes=changes)


def _judge_wording(before: Sample, after: Sample, spec: DriftSpec, alpha: float) -> Finding:
    finding = Finding("wording", "AUC", spec.wording_auc, "")
    kept = _first(before.texts, TAUGHT_ROWS), _first(after.texts, TAUGHT_ROWS)
    paired = _pair(before, after, *kept, finding, spec)
    if isinstance(paired, Finding):
        return paired
    old, new = np.flatnonzero(kept[0]), np.flatnonzero(kept[1])
    ranks = rank_rows(
        vstack([before.features[old], after.features[new]], format="csr"),
        np.arange(len(old) + len(new)) >= len(old),
        np.concatenate([paired.before_users, paired.after_users]),
        np.concatenate([paired.before, paired.after]),
    )[:, None]
    # Each look teaches a model of its own: their looks are no single sequence, and α is spent over them one by one.
    looks = 1 + int(after.blocks[kept[1]].max() - after.blocks[kept[1]].min())
    spent = alpha / (looks * (looks + 1))
    found = compare(paired, ranks[: len(old)], ranks[len(old) :], alpha=spent, shares=False)
    value = float(0.5 + found.after[0] - found.before[0])
    told = f"new prompts are told from old ones by their wording, AUC = {value:.3f}"
    return _close(finding, paired, value, float(found.beyond[0]), told)


def _judge_quality(before: Sample, after: Sample, spec: DriftSpec, alpha: float) -> Finding:
    finding = Finding("quality", "relative drop", spec.quality_drop, "")
    champion = find_champion(after)
    if champion is None:
        return replace(finding, said=f"{UNKNOWN}: no answer of a champion came in since")
    kept = [~np.isnan(side.thumbs) & ~side.treated & (side.versions == champion) for side in (before, after)]
    if len(np.unique(before.users[kept[0]])) < spec.min_users and kept[1].any():
        # It became champion within this window: its first days are what its later ones are held against.
        own = after.times_s <= after.times_s[(after.versions == champion) & ~after.treated].min() + 86400 * OWN_DAYS
        before, kept = after, [kept[1] & own, kept[1] & ~own]
    return _judge_drop(finding, before, after, kept[0], kept[1], spec, alpha, (before.thumbs, after.thumbs), champion)


def _judge_reactions(before: Sample, after: Sample, spec: DriftSpec, alpha: float) -> Finding:
    finding = Finding("feedback_rate", "relative drop", spec.feedback_drop, "")
    kept = ~np.isnan(before.reacted), ~np.isnan(after.reacted)
    return _judge_drop(finding, before, after, *kept, spec, alpha, (before.reacted, after.reacted), "")


def _judge_drop(
    finding: Finding,
    before: Sample,
    after: Sample,
    old: Mask,
    new: Mask,
    spec: DriftSpec,
    alpha: float,
    values: tuple[Floats, Floats],
    champion: str,
) -> Finding:
    """A share of ones that fell, relative to what it was."""
    paired = _pair(before, after, old, new, finding, spec)
    if isinstance(paired, Finding):
        return paired
    found = compare(paired, values[0][old][:, None], values[1][new][:, None], alpha=alpha)
    was, now = float(found.before[0]), float(found.after[0])
    if not was:
        return replace(finding, said=f"{UNKNOWN}: it was nought before")
    value = (was - now) / was
    what = f"thumbs-up rate of {champion or 'the base'}" if finding.name == "quality" else "share of answers reacted to"
    told = f"{what} {'fell' if value > 0 else 'went'} from {was:.1%} to {now:.1%}"
    return _close(finding, paired, value, float(found.beyond[0]) if value > 0 else 0.0, told)


def find_champion(sample: Sample, newest: int = 500) -> str | None:
    """The version that gave most of the newest answers outside of a canary; empty where the base serves."""
    served = np.flatnonzero(~sample.treated)
    if not len(served):
        return None
    last = served[np.argsort(sample.times_s[served], kind="stable")[-newest:]]
    names, counts = np.unique(sample.versions[last].astype(str), return_counts=True)
    return str(names[counts.argmax()])


def measure_psi(before: Floats, after: Floats) -> float:
    """Σ (a − b)·ln(a/b) of shares `(cells,)`; from 0.1 on it is usually called a change, from 0.25 on a large one."""
    old, new = np.maximum(before, PSI_FLOOR), np.maximum(after, PSI_FLOOR)
    return float(((new - old) * np.log(new / old)).sum())


def measure_distance(before: Floats, before_weights: Floats, after: Floats, after_weights: Floats) -> float:
    """Kolmogorov-Smirnov D: the largest gap of two weighted distribution functions, in [0, 1]."""
    values = np.concatenate([before, after])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate([-before_weights, after_weights])[order]
    ends = np.append(np.diff(values[order]) > 0, True)
    return min(1.0, float(np.abs(np.cumsum(steps)[ends]).max()))


def _pair(before: Sample, after: Sample, old: Mask, new: Mask, finding: Finding, spec: DriftSpec) -> Pairing | Finding:
    if not (old.any() and new.any()):
        return replace(finding, said=f"{UNKNOWN}: {old.sum():,} rows before, {new.sum():,} after")
    _, users = np.unique(np.concatenate([before.users[old], after.users[new]]), return_inverse=True)
    count = int(old.sum())
    paired = pair_windows((users[:count], before.blocks[old]), (users[count:], after.blocks[new]))
    if paired is None or paired.covered < 0.5:
        return replace(finding, said=f"{UNKNOWN}: the older rows hardly know the newer ones' times of the week")
    if min(paired.counts) < spec.min_users:
        few = " and ".join(f"{count:,}" for count in paired.counts)
        return replace(
            finding, said=f"{UNKNOWN}: {few} of {spec.min_users} users before and after", users=paired.counts
        )
    return paired


def _close(finding: Finding, paired: Pairing, value: float, beyond: float, told: str) -> Finding:
    large = value >= finding.threshold
    fired = large and beyond > 1
    why = (
        f"above {finding.threshold:g} and beyond chance"
        if fired
        else f"below {finding.threshold:g}"
        if not large
        else f"{beyond:.2f} of what chance explains"
    )
    return replace(finding, value=value, beyond=beyond, fired=fired, said=f"{told} ({why})", users=paired.counts)


def _below(values: Floats, edges: Floats) -> Floats:
    return (values[:, None] <= edges).astype(float)


def _median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    place = int(np.searchsorted(np.cumsum(weights[order]), 0.5))
    return float(values[order][min(place, len(values) - 1)])


def _first(mask: Mask, most: int) -> Mask:
    return mask & (np.cumsum(mask) <= most)


def _tabulate(before: NDArray, after: NDArray, paired: Pairing) -> tuple[list[str], Floats, Floats]:  # type: ignore[type-arg]
    """Indicators of the commonest kinds of both windows, `(rows, kinds)` each."""
    known, codes = np.unique(np.concatenate([before, after]).astype(str), return_inverse=True)
    mass = np.bincount(codes, np.concatenate([paired.before, paired.after]), minlength=len(known))
    order = np.argsort(-mass, kind="stable")
    place = np.full(len(known), min(len(known), MOST_CELLS + 1) - 1)
    place[order[:MOST_CELLS]] = np.arange(min(len(known), MOST_CELLS))
    names = [str(known[index]) or UNKNOWN for index in order[:MOST_CELLS]] + [REST] * (len(known) > MOST_CELLS)
    cells = np.eye(len(names))[place[codes]]
    return names, cells[: len(before)], cells[len(before) :]


def _name_changes(names: list[str], found: Difference) -> tuple[tuple[str, float, float], ...]:
    order = np.argsort(-np.abs(found.after - found.before), kind="stable")[:5]
    return tuple((names[place], float(found.before[place]), float(found.after[place])) for place in order)
