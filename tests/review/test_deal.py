"""Who is dealt what: by hand, and as properties over many reviewers who come and go."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.review.deal import (
    DuelState,
    choose_duels,
    choose_next,
    choose_shared,
    count_answered,
    stands_left,
)

SALT = "s"


def test_the_shared_part_is_rounded_up_and_the_same_whatever_the_order() -> None:
    names = [f"d{number}" for number in range(11)]
    chosen = choose_shared(SALT, names, 0.2)
    assert len(chosen) == 3
    assert choose_shared(SALT, reversed(names), 0.2) == chosen
    assert choose_shared(SALT, names, 0) == frozenset()
    assert choose_shared(SALT, names, 1) == set(names)
    assert len(choose_shared(SALT, [f"d{number}" for number in range(100)], 0.2)) == 20


def test_sides_depend_on_salt_reviewer_and_duel_and_are_balanced() -> None:
    names = [f"d{number}" for number in range(2000)]
    sides = [stands_left(SALT, "ada", name) for name in names]
    assert sides == [stands_left(SALT, "ada", name) for name in names]
    for other in ([stands_left("t", "ada", n) for n in names], [stands_left(SALT, "bob", n) for n in names]):
        equal = sum(a == b for a, b in zip(sides, other, strict=True))
        assert 880 < equal < 1120  # five standard errors around a half: one says nothing about the other
    assert 880 < sum(sides) < 1120


def test_no_more_than_asked_are_put_up() -> None:
    names = [f"d{number}" for number in range(50)]
    assert len(choose_duels(SALT, [*names, *names], 20)) == 20
    assert choose_duels(SALT, names, 20) == choose_duels(SALT, reversed(names), 20)


def test_what_lies_before_a_reviewer_comes_first_the_earliest_of_all() -> None:
    states = [
        DuelState("a", False, place=0, said="ours"),
        DuelState("b", False, place=2),
        DuelState("c", True, place=1, said="withdrawn"),
        DuelState("d", True),
    ]
    found = choose_next(SALT, "ada", states)
    assert found is not None
    assert found.duel_id == "c"
    assert count_answered(states) == 1


def test_a_duel_nobody_has_goes_before_a_held_one_and_that_before_a_second_label() -> None:
    states = [
        DuelState("labelled", False, labels=1, holders=1),
        DuelState("held", False, holders=1),
        DuelState("fresh", False),
    ]
    order = []
    while (found := choose_next(SALT, "ada", states, more=True)) is not None:
        order.append(found.duel_id)
        states = [replace(s, place=len(order), said="tie") if s.duel_id == found.duel_id else s for s in states]
    assert order == ["fresh", "held", "labelled"]


def test_second_labels_are_dealt_only_where_they_are_asked_for() -> None:
    states = [DuelState("labelled", False, labels=1, holders=1)]
    assert choose_next(SALT, "ada", states) is None
    assert choose_next(SALT, "ada", states, more=True) == states[0]
    assert count_answered(states) == 1


def test_shared_duels_are_spread_evenly_the_first_at_once_and_in_one_order_for_all() -> None:
    def walk(reviewer: str) -> list[DuelState]:
        states = [DuelState(f"d{number}", shared=number < 20) for number in range(100)]
        seen: list[DuelState] = []
        while (found := choose_next(SALT, reviewer, states)) is not None:
            seen.append(found)
            states = [replace(s, place=len(seen), said="ours") if s.duel_id == found.duel_id else s for s in states]
        return seen

    ada, bob = walk("ada"), walk("bob")
    assert [number for number, each in enumerate(ada) if each.shared] == list(range(0, 100, 5))
    assert [each for each in ada if each.shared] == [each for each in bob if each.shared]
    assert [each for each in ada if not each.shared] != [each for each in bob if not each.shared]


@settings(max_examples=30, deadline=None)
@given(
    duels=st.integers(1, 25), share=st.sampled_from([0.0, 0.2, 0.5, 1.0]), people=st.integers(1, 4), seed=st.integers()
)
def test_each_duel_has_a_label_before_any_has_two(duels: int, share: float, people: int, seed: int) -> None:
    names = [f"d{number}" for number in range(duels)]
    common = choose_shared(SALT, names, share)
    said: dict[str, dict[str, int]] = {name: {} for name in names}  # duel → reviewer → place
    chance = random.Random(seed)
    going = [f"p{number}" for number in range(people)]
    order: list[str] = []
    while going:
        who = chance.choice(going)
        states = [
            DuelState(
                name,
                name in common,
                place=said[name].get(who),
                said="tie" if who in said[name] else None,
                labels=len(said[name].keys() - {who}),
                holders=len(said[name].keys() - {who}),
            )
            for name in names
        ]
        found = choose_next(SALT, who, states)
        if found is None:
            assert count_answered(states) == duels
            going.remove(who)
            continue
        assert who not in said[found.duel_id]
        said[found.duel_id][who] = len(order)
        order.append(found.duel_id)
    counts = Counter(order)
    assert all(counts[name] == (people if name in common else 1) for name in names)
