"""What is ruled out for many texts at once is what `loops` would not find in one."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.screens import loops, repeats
from flytewheel.words import cut_texts, split_words
from tests.screens import screen_forms, screen_noise
from tests.screens.screen_forms import LONG

CASES = [
    text
    for cases in (screen_forms.LOOP_FIRST, screen_forms.LOOP_SECOND, screen_noise.LOOP_THIRD)
    for half in cases
    for text in half
]


def check(texts: list[str]) -> list[bool]:
    """Asserts that nothing slips; whether words of each text must be read."""
    told = []
    for start, stop in cut_texts(texts):
        chunk = texts[start:stop]
        words = split_words(chunk)
        looping = repeats.may_loop(words)
        running = repeats.may_run_on(words)
        cycling = repeats.may_cycle_unspaced(words, np.array(list(map(len, chunk)), dtype=np.int64))
        for text, loops_, runs, cycles in zip(chunk, looping, running, cycling, strict=True):
            assert loops_ or not loops.repeats_words(text), text
            assert runs or not loops.runs_on(text), text
            assert cycles or not loops.cycles_unspaced(text), text
        told += looping.tolist()
    return told


def test_labelled_texts() -> None:
    check(CASES)
    for text in CASES:
        check([text])


def write_text(chance: random.Random) -> str:
    """Runs of words that come again, side by side or apart, in lines and sentences of some length."""
    pool = [f"{chance.choice('abcdefgh')}{n}" for n in range(chance.choice((2, 4, 12, 60)))]
    parts: list[str] = []
    for _ in range(chance.randrange(1, 6)):
        run = [chance.choice(pool) for _ in range(chance.randrange(1, 16))]
        end = chance.choice((" ", "\n", ". ", "\n- ", "\n1. "))
        for _ in range(chance.choice((1, 1, 2, 3, 4, 5, 9, 30))):
            parts.append(" ".join(run) + end)
            if chance.random() < 0.2:
                parts.append(chance.choice(pool) + " ")
    return "".join(parts)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["one", "two", "three.", "four", "five", "six"]), max_size=7), st.integers(1, 12)
        ),
        max_size=6,
    ),
    st.sampled_from([" ", "\n", ". "]),
)
def test_few_words_that_come_often(parts: list[tuple[list[str], int]], between: str) -> None:
    check([between.join(" ".join(words) for words, times in parts for _ in range(times))])


@pytest.mark.parametrize("seed", range(8))
def test_runs_that_come_again(seed: int) -> None:
    chance = random.Random(seed)
    texts = [write_text(chance) for _ in range(600)]
    told = check(texts)
    found = [loops.repeats_words(text) for text in texts]
    assert sum(found) > 100
    assert sum(told) < 2.5 * sum(found) < 2.5 * len(texts)  # it is no gate that is always open


PIECE = st.sampled_from(
    ["a b ", "one ", "two", "x", "re" * 25, "0" * 41, "磁盘已满。", "ディスク", "กขค", "한국", "\n", ". ", "É "]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.tuples(PIECE | st.text(max_size=5), st.integers(1, 30)), max_size=5), max_size=5))
def test_texts_of_all_scripts(texts: list[list[tuple[str, int]]]) -> None:
    check(["".join(piece * times for piece, times in parts) for parts in texts])


@pytest.mark.parametrize("period", [1, 2, 3, 4, 5, 13, 14, 20])
@pytest.mark.parametrize("length", [5, 6, 9, 12, 39, 40, 41, 42, 60])
@pytest.mark.parametrize("before", [0, 1, 30, 200])
def test_the_shortest_cycles(period: int, length: int, before: int) -> None:
    cycle = [f"w{place % period}x" for place in range(length)]
    ahead = [f"u{place}x" for place in range(min(before, 300))]
    check([" ".join([*ahead, *cycle]), " ".join([*cycle, *ahead]), " ".join([*ahead, *cycle, *ahead, *cycle])])


def test_the_shortest_run_of_a_letter() -> None:
    assert loops.runs_on("x " + "a" * loops.LONG_RUN)
    check(["x " + "a" * loops.LONG_RUN, "a" * loops.LONG_RUN])


def test_ordinary_texts_are_ruled_out() -> None:
    texts = [f"{LONG} On host web-{n} the queue held {n * 7} jobs, and {n * 3} were old." for n in range(300)]
    assert not any(check(texts))


def test_a_long_text_that_comes_twice_takes_linear_time() -> None:
    """Each run of four is found again; followed to the end from each, they would take minutes."""
    text = " ".join(2 * [f"w{place}x" for place in range(20_000)])
    start = time.process_time()
    assert not loops.repeats_words(text)
    assert check([text]) == [False]
    assert time.process_time() - start < 3
