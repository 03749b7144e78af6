"""Group-sequential boundaries: published tables, and the promise itself by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from flytewheel.experiment.analysis.sequential import FARTHEST, find_boundaries, spend


def split(looks: int) -> list[float]:
    return [(look + 1) / looks for look in range(looks)]


@pytest.mark.parametrize(
    ("looks", "published"),
    [  # R's ldbounds, O'Brien–Fleming spending, two-sided 5 %: Reboussin, DeMets, Kim and Lan 2000
        (1, (1.9600,)),
        (2, (2.9626, 1.9686)),
        (3, (3.7103, 2.5114, 1.9930)),
        (5, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
    ],
)
def test_published_boundaries(looks: int, published: tuple[float, ...]) -> None:
    assert find_boundaries(split(looks), split(looks), alpha=0.05) == pytest.approx(published, abs=2e-4)
    one_sided = find_boundaries(split(looks), split(looks), alpha=0.025, two_sided=False)
    assert one_sided == pytest.approx(published, abs=2e-3)  # the other side takes hardly any of it


def test_spending_by_hand() -> None:
    # 2·(1 − Φ(1.959964/√0.5)) = 2·(1 − Φ(2.771808)) = 0.005575; all of it at the end, nothing before the start
    assert spend(0.5, 0.05) == pytest.approx(0.005575, abs=1e-6)
    assert (spend(1.0, 0.05), spend(1.7, 0.05), spend(0.0, 0.05)) == (pytest.approx(0.05), pytest.approx(0.05), 0.0)


@pytest.mark.parametrize("two_sided", [True, False])
def test_the_chance_of_ever_crossing_is_alpha(two_sided: bool) -> None:
    information = np.array([1.0, 1.3, 4.0, 4.1, 9.0, 20.0])  # two looks that brought little
    bounds = np.array(find_boundaries(information, split(6), alpha=0.05, two_sided=two_sided))
    steps = np.random.default_rng(3).standard_normal((400_000, 6)) * np.sqrt(np.diff(information, prepend=0.0))
    z = steps.cumsum(axis=1) / np.sqrt(information)
    crossed = ((np.abs(z) if two_sided else z) >= bounds).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 400_000))


def test_a_look_that_brought_nothing_new_asks_for_the_farthest_and_spends_nothing() -> None:
    bounds = find_boundaries([1.0, 2.0, 2.0, 1.5, 4.0], [0.25, 0.5, 0.6, 0.7, 1.0], alpha=0.05)
    plain = find_boundaries([1.0, 2.0, 4.0], [0.25, 0.5, 1.0], alpha=0.05)
    assert bounds[2:4] == (FARTHEST, FARTHEST)
    assert (bounds[0], bounds[1], bounds[4]) == pytest.approx(plain)


def test_no_boundary_lies_below_a_single_looks() -> None:
    for information in ([0.01, 0.5, 1.0], [0.9, 0.99, 1.0], [1e-9, 1e-3, 1e3]):
        bounds = find_boundaries(information, split(3), alpha=0.05)
        assert min(bounds) >= 1.9599
        assert find_boundaries([*information, float("nan")], split(4), alpha=0.05)[3] == FARTHEST
