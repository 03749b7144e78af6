"""Who is in an experiment at all: groups that share nobody, a holdout, and the same in PostgreSQL and Polars."""

from __future__ import annotations

import hashlib
import hmac
import random
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.errors import ExperimentError
from flytewheel.experiment.assign import choose_arm, draw_unit
from flytewheel.experiment.experiments import get_experiment, set_share, stop_experiment
from flytewheel.experiment.layers import (
    OPEN,
    SLOTS,
    Layer,
    change_holdout,
    choose_slots,
    digest_user,
    draw_slot,
    meets_column,
    read_layer,
)
from flytewheel.records import canonical_json
from tests.experiment.canary import open_canary

KEY = b"key"
RANGES = st.lists(st.integers(0, SLOTS), min_size=2, max_size=12).map(
    lambda ends: [(low, high) for low, high in zip(*[iter(sorted(ends))] * 2, strict=False) if low < high]
)


def test_golden_vectors() -> None:
    """`printf 'group:answers\\0ada' | openssl dgst -sha256 -hmac key`, its leading 53 bits over 2**53, times 1,000."""
    for user in ("ada", "grace", "Zoë"):
        code = hmac.new(KEY, f"group:answers\0{user}".encode(), hashlib.sha256).digest()
        assert draw_slot(KEY, "answers", user) == int((int.from_bytes(code) >> 203) / 2**53 * 1000)
    assert [draw_slot(KEY, "answers", user) for user in ("ada", "grace")] == [GOLDEN["ada"], GOLDEN["grace"]]
    held = Layer(holdout_share=0.5)
    for user in ("ada", "grace"):
        assert held.admits(KEY, user) == (draw_unit(KEY, "holdout", user) >= 0.5)
    assert OPEN.admits(KEY, "ada")


GOLDEN = {"ada": 103, "grace": 604}


def test_analysis_says_the_same(database_url: str) -> None:
    chance = random.Random(5)
    odd = ["", " ", "ada", "Zoë", "名前", "e\u0301", "\N{PILE OF POO}", "a'b\"c\\", "x\x1fy", "\uffff", "u" * 200]
    users = odd + [f"user-{number}" for number in range(300)]
    layers = [
        OPEN,
        Layer("answers", ((0, 300), (500, 700))),
        Layer(holdout_share=0.3),
        Layer(held_out=frozenset(digest_user(user) for user in ("ada", "Zoë", "", "user-7"))),
        Layer("Äpfel 'and' \"pears\"", ((100, 900),), 0.2, frozenset((digest_user("名前"),))),
        Layer("empty", ()),
    ]
    with psycopg.connect(database_url) as connection:
        for key in (b"", bytes(chance.randrange(256) for _ in range(40))):
            for layer in layers:
                expected = [layer.admits(key, user) for user in users]
                stored = canonical_json(layer.to_json()).decode()
                assert read_layer(layer.to_json()) == layer
                rows = connection.execute(
                    "SELECT meets_experiment(%s, %s::jsonb, u) FROM unnest(%s::text[]) WITH ORDINALITY AS t (u, n)"
                    " ORDER BY n",
                    (key, stored, users),
                ).fetchall()
                assert [row[0] for row in rows] == expected
                frame = pl.DataFrame({"user": users}).select(meets_column(pl.col("user"), key=key, layer=layer))
                assert frame["user"].to_list() == expected
        assert connection.execute("SELECT meets_experiment('k', '{}', NULL)").fetchone() == (None,)


def test_groups_share_nobody_and_do_not_lean_on_arms() -> None:
    """50,000 users: shares within 4·√(0.25/50,000) = 0.9 points, correlations below 4/√50,000 = 0.018;
    `benchmarks.assignment` asks a million for 0.2 points and 0.005.
    """
    users = [f"user-{number}" for number in range(50_000)]
    layers = [Layer("answers", slots, 0.1) for slots in (((0, 300),), ((300, 550), (900, 1000)), ((550, 900),))]
    inside = np.array([[layer.admits(KEY, user) for user in users] for layer in layers])
    assert inside.sum(axis=0).max() == 1
    assert np.abs(inside.mean(axis=1) - 0.9 * np.array([0.3, 0.35, 0.35])).max() < 0.009
    held = np.array([draw_unit(KEY, "holdout", user) < 0.1 for user in users])
    assert not (inside & held).any()
    other = np.array([Layer("prompts", ((0, 500),)).admits(KEY, user) for user in users])
    arms = np.array([choose_arm(KEY, "exp-1", user, 0.5).arm == "treatment" for user in users])
    for group in inside:
        assert abs(np.corrcoef(group, arms)[0, 1]) < 0.018
        assert abs(np.corrcoef(group, other)[0, 1]) < 0.018


@given(RANGES, st.integers(1, SLOTS))
def test_slots_are_free_ones_and_as_many_as_asked(taken: list[tuple[int, int]], wanted: int) -> None:
    before = {slot for low, high in taken for slot in range(low, high)}
    chosen = choose_slots(taken, wanted)
    slots = [slot for low, high in chosen for slot in range(low, high)]
    if SLOTS - len(before) < wanted:
        assert chosen == ()
    else:
        assert len(slots) == len(set(slots)) == wanted
        assert not before & set(slots)


def opened(database_url: str, name: str, share: float | None, **changes: Any) -> Any:
    body = {} if share is None else {"exclusion_group": "answers", "group_share": share}
    return open_canary(database_url, name=name, key=f"{name}-run", body=body, **changes)


def test_slots_stay_when_others_begin_and_end(database_url: str) -> None:
    first, second = (opened(database_url, name, 0.4) for name in ("one", "two"))
    assert first.layer == Layer("answers", ((0, 400),))
    assert second.layer == Layer("answers", ((400, 800),))
    with pytest.raises(ExperimentError, match=r"'answers' has 200 of 1000 slots free, 300 are asked for; .* on two"):
        opened(database_url, "three", 0.3)
    third = opened(database_url, "three", 0.2)
    stop_experiment(database_url, first.experiment_id, reason="done", actor="ada")
    fourth = opened(database_url, "four", 0.3)
    assert fourth.layer.slots == ((0, 300),)
    set_share(database_url, second.experiment_id, 0.9, actor="ada")
    for earlier in (second, third):
        assert get_experiment(database_url, earlier.experiment_id).layer == earlier.layer
    free = opened(database_url, "five", None)
    assert free.layer == OPEN
    # A launch on the same model takes the place of the one it ends.
    again = open_canary(
        database_url,
        name="four",
        key="again",
        treatment="v3",
        body={"exclusion_group": "answers", "group_share": 0.4},
    )
    assert again.layer.slots == ((0, 400),)


def test_the_holdout_holds_from_the_next_experiment_on(database_url: str) -> None:
    before = opened(database_url, "one", None)
    found = change_holdout(database_url, share=0.25, add=["ada", "grace"], remove=["nobody"])
    assert (found.share, len(found.users)) == (0.25, 2)
    after = opened(database_url, "two", None)
    assert get_experiment(database_url, before.experiment_id).layer.admits(KEY, "ada")
    assert not after.layer.admits(KEY, "ada")
    users = [f"user-{number}" for number in range(4000)]
    inside = [after.layer.admits(KEY, user) for user in users]
    assert abs(np.mean(inside) - 0.75) < 4 * (0.1875 / 4000) ** 0.5
    change_holdout(database_url, share=0.1, remove=["ada"])
    later = opened(database_url, "three", None)
    assert later.layer.admits(KEY, "ada")
    assert all(
        later.layer.admits(KEY, user) for user, was in zip(users, inside, strict=True) if was
    )  # 10 % lie in 25 %
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(ExperimentError, match="holdout share"):
            change_holdout(database_url, share=share)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"exclusion_group": "g", "group_share": 0}, "group_share 0: expected"),
        ({"exclusion_group": "g", "group_share": "x"}, "group_share 'x': expected"),
        ({"exclusion_group": ["g"]}, "exclusion_group"),
        ({"exclusion_group": "g" * 200}, "expected a name of at most 100"),
    ],
    ids=["none", "text", "list", "long"],
)
def test_a_body_that_asks_for_what_cannot_be_is_refused(database_url: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        open_canary(database_url, body=body)
