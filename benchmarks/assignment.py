"""The split of users among arms at full scale: shares, independence of experiments, monotone growth, and its price.

A million user ids of three kinds (counted, random, e-mail addresses) in eight experiments. The price is that of
`choose_arm` beside one keyed HMAC-SHA256 of the same message by the standard library, alternating, medians of rounds.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import Goal, report
from flytewheel.experiment.assign import choose_arm, draw_unit
from flytewheel.experiment.layers import Layer, digest_user

KEY = b"the assignment key of this benchmark"
SHARES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# Three experiments that share no user, and a holdout of 5 %: their slots were taken and given back in some order.
LAYERS = tuple(
    Layer("answers", slots, 0.05, frozenset((digest_user("user-0"),)))
    for slots in (((0, 200), (700, 800)), ((250, 700),), ((200, 250), (800, 1000)))
)
SHARE_PP, CORRELATION, PRICE = 0.2, 0.005, 1.5


def measure(quick: bool) -> list[Goal]:
    """Shares and correlations of a million users; at `quick` of a hundred thousand, with √10 times the bounds."""
    count = 100_000 if quick else 1_000_000
    wider = (1_000_000 / count) ** 0.5
    users = make_users(count)
    drawn = np.empty((8, count))
    for number, row in enumerate(drawn):
        experiment = f"exp-{hashlib.sha256(bytes([number])).hexdigest()[:16]}"
        row[:] = [draw_unit(KEY, experiment, user) for user in users]
    worst_pp = reversals = 0.0
    before = np.zeros(drawn.shape, dtype=bool)
    for share in SHARES:
        treated = drawn < share
        worst_pp = max(worst_pp, 100 * float(np.abs(treated.mean(axis=1) - share).max()))
        reversals += int((before & ~treated).sum())
        before = treated
    arms = np.corrcoef(drawn < 0.5) - np.eye(len(drawn))
    places = np.corrcoef(drawn) - np.eye(len(drawn))
    grouped = np.array([[layer.admits(KEY, user) for user in users] for layer in LAYERS])
    expected = np.array([0.95 * size for size in (0.3, 0.45, 0.25)])
    worst_group = 100 * float(np.abs(grouped.mean(axis=1) - expected).max())
    mixed = max(abs(float(np.corrcoef(group, row < 0.5)[0, 1])) for group in grouped for row in drawn[:3])
    print(f"{count} users, {len(drawn)} experiments, {len(SHARES)} shares")
    return [
        Goal("arm shares off by, percentage points", worst_pp, SHARE_PP * wider),
        Goal("|correlation| of two experiments' arms", float(np.abs(arms).max()), CORRELATION * wider),
        Goal("|correlation| of two experiments' places", float(np.abs(places).max()), CORRELATION * wider),
        Goal("users who left the treatment as its share grew", reversals, 0.0),
        Goal("shares of an exclusion group's users off by, percentage points", worst_group, SHARE_PP * wider),
        Goal("users in two experiments of a group", float((grouped.sum(axis=0) > 1).sum()), 0.0),
        Goal("|correlation| of a group's place and an experiment's arm", mixed, CORRELATION * wider),
        Goal("price of an assignment in keyed HMACs", measure_price(users[:20_000], 5 if quick else 25), PRICE),
    ]


def make_users(count: int) -> list[str]:
    """Ids as teams have them, all different."""
    chance = random.Random(1)
    kinds: tuple[Callable[[int], str], ...] = (
        lambda number: f"user-{number}",
        lambda number: f"{chance.getrandbits(128):032x}",
        lambda number: f"{chance.choice(('ada', 'grace', 'zoë'))}.{number}@example.org",
    )
    return [kinds[number % len(kinds)](number) for number in range(count)]


def measure_price(users: Sequence[str], rounds: int) -> float:
    """CPU time of `choose_arm` over that of one HMAC."""

    def choose() -> None:
        for user in users:
            choose_arm(KEY, "exp-0123456789abcdef", user, 0.3)

    def sign() -> None:
        for user in users:
            hmac.new(KEY, f"exp-0123456789abcdef\0{user}".encode(), hashlib.sha256).digest()

    spent: dict[str, list[float]] = {"choose": [], "sign": []}
    for _ in range(rounds):
        for name, work in (("choose", choose), ("sign", sign)):
            begun = time.process_time()
            work()
            spent[name].append((time.process_time() - begun) / len(users) * 1e6)
    ours, theirs = statistics.median(spent["choose"]), statistics.median(spent["sign"])
    print(f"choose_arm {ours:.2f} µs, hmac.new(…).digest() {theirs:.2f} µs")
    return statistics.median(one / other for one, other in zip(spent["choose"], spent["sign"], strict=True))


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
