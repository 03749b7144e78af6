from __future__ import annotations

import hashlib
import hmac
import random

import numpy as np
import polars as pl
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.errors import ExperimentError
from flytewheel.experiment.assign import choose_arm, draw_column, draw_unit

SHARES = st.floats(0, 1)
IDS = st.text(min_size=1, max_size=12)
KEYS = st.binary(max_size=130)  # empty, shorter than SHA-256's block of 64 bytes, as long, longer


@pytest.mark.parametrize(
    ("experiment", "user", "digest", "u"),
    [
        ("exp-1", "ada", "dc288823cb0e2358bbd7ebcc22b3c1c8", 0.8599934661279396),
        ("exp-2", "grace", "a81279a6375b79bf9583d95df83d3dbe", 0.6565319090653768),
    ],
)
def test_golden_vectors(experiment: str, user: str, digest: str, u: float) -> None:
    """From `printf 'exp-1\\0ada' | openssl dgst -sha256 -hmac key`; u = the digest's leading 53 bits over 2**53."""
    assert hmac.new(b"key", f"{experiment}\0{user}".encode(), hashlib.sha256).hexdigest().startswith(digest)
    assert draw_unit(b"key", experiment, user) == u
    assert draw_unit(b"key", experiment, user) == pytest.approx(int(digest, 16) / 16 ** len(digest), abs=1e-9)


@given(KEYS, IDS, IDS)
def test_it_is_the_hmac_of_the_standard_library(key: bytes, experiment: str, user: str) -> None:
    code = hmac.new(key, f"{experiment}\0{user}".encode(), hashlib.sha256).digest()
    assert draw_unit(key, experiment, user) == (int.from_bytes(code) >> 203) / 2**53


def test_analysis_draws_the_same(database_url: str) -> None:
    """In PostgreSQL and in Polars, for every user: odd characters, empty ids, keys around the block's length."""
    chance = random.Random(5)
    odd = ["", " ", "ada", "Zoë", "名前", "e\u0301", "\N{PILE OF POO}", "a'b\"c\\", "x\x1fy", "\uffff", "u" * 200]
    users = odd + ["".join(chr(chance.choice([*range(1, 0xD800), 0x10FFFF])) for _ in range(8)) for _ in range(200)]
    with psycopg.connect(database_url) as connection:
        for key in (b"", b"key", bytes(range(64)), bytes(range(65)), b"\xff" * 131):
            for experiment in ("exp-1", "", "Äpfel"):
                expected = [draw_unit(key, experiment, user) for user in users]
                rows = connection.execute(
                    "SELECT draw_unit(%s, %s, u) FROM unnest(%s::text[]) WITH ORDINALITY AS t (u, n) ORDER BY n",
                    (key, experiment, users),
                ).fetchall()
                assert [row[0] for row in rows] == expected
                frame = pl.DataFrame({"user": users}).select(
                    draw_column(pl.col("user"), key=key, experiment_id=experiment)
                )
                assert frame["user"].to_list() == expected
        assert connection.execute("SELECT draw_unit('k', 'e', NULL)").fetchone() == (None,)
    assert pl.DataFrame({"user": [None, "a"]}, schema={"user": pl.String}).select(
        draw_column(pl.col("user"), key=b"k", experiment_id="e")
    )["user"].to_list() == [None, draw_unit(b"k", "e", "a")]


def test_many_users_fall_evenly_independently_and_never_back() -> None:
    """50,000 users: a share is met within 4·sqrt(0.25 / 50,000) = 0.9 pp, two experiments correlate below
    4 / sqrt(50,000) = 0.018; `benchmarks.assignment` asks a million for 0.2 pp and 0.005.
    """
    drawn = np.array([[draw_unit(b"key", name, f"user-{n}") for n in range(50_000)] for name in ("exp-1", "exp-2")])
    before = np.zeros(drawn.shape, dtype=bool)
    for share in (0.01, 0.1, 0.25, 0.5, 0.9, 1.0):
        treated = drawn < share
        assert np.abs(treated.mean(axis=1) - share).max() < 0.009
        assert not (before & ~treated).any()
        before = treated
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.018


@given(IDS, IDS, SHARES, SHARES)
def test_a_growing_share_only_adds_users(experiment: str, user: str, one: float, two: float) -> None:
    low, high = sorted((one, two))
    if choose_arm(b"key", experiment, user, low).arm == "treatment":
        assert choose_arm(b"key", experiment, user, high).arm == "treatment"


@given(IDS, IDS, SHARES)
def test_it_is_sticky_and_logs_the_probability(experiment: str, user: str, share: float) -> None:
    chosen = choose_arm(b"key", experiment, user, share)
    assert chosen == choose_arm(b"key", experiment, user, share)
    assert 0 <= chosen.u < 1
    assert chosen.arm == ("treatment" if chosen.u < share else "control")
    assert chosen.propensity == (share if chosen.arm == "treatment" else 1 - share)
    assert 0 < chosen.propensity <= 1
    assert choose_arm(b"key", experiment, user, 0.0).arm == "control"
    assert choose_arm(b"key", experiment, user, 1.0).arm == "treatment"


def test_users_are_spread_evenly_and_anew_in_each_experiment() -> None:
    """20,000 users in 20 cells: χ² has 19 degrees of freedom and stays below 43.8 in 999 of 1,000 draws.

    Two experiments at a half share agree on a user as often as two coins: 0.5 ± 4·sqrt(0.25 / 20,000) = 0.5 ± 0.0142.
    """
    units = {name: [draw_unit(b"key", name, f"user-{n}") for n in range(20_000)] for name in ("exp-1", "exp-2")}
    for drawn in units.values():
        cells = [0] * 20
        for u in drawn:
            cells[int(u * 20)] += 1
        assert sum((cell - 1000) ** 2 / 1000 for cell in cells) < 43.8
    agree = sum((a < 0.5) == (b < 0.5) for a, b in zip(units["exp-1"], units["exp-2"], strict=True)) / 20_000
    assert abs(agree - 0.5) < 0.0142


def test_names_do_not_run_into_each_other() -> None:
    assert draw_unit(b"key", "a", "bc") != draw_unit(b"key", "ab", "c")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ExperimentError, match="share"):
        choose_arm(b"key", "exp-1", "ada", share)
