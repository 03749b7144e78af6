"""Trigram hashes against sets of strings, and by hand."""

from __future__ import annotations

import random
import subprocess
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.curation import shingles as module
from flytewheel.curation.prompts import _WORD, PromptText, describe_prompt, normalise, normalise_all, spread_words
from flytewheel.curation.shingles import Shingles, hash_numbers, hash_words, measure_jaccard, mix, shingle
from flytewheel.records import build_prompt

TEXTS = st.lists(st.text(alphabet=st.sampled_from("ab1é²٣日本 \n.,_-ǅßﬁ\ud800\x00\x1fK"), max_size=30), max_size=12)


def name_shingles(text: str) -> set[str]:
    words = text.split()
    if len(words) <= 3:
        return {text} if text else set()
    return {" ".join(words[start : start + 3]) for start in range(len(words) - 2)}


def find_jaccard(one: str, other: str) -> float:
    left, right = name_shingles(one), name_shingles(other)
    return len(left & right) / len(left | right) if left | right else 1.0


def test_splitmix_by_the_reference() -> None:
    """The first three outputs of splitmix64 seeded with 1234567, as published with its C source."""
    state = np.array([1234567], dtype=np.uint64)
    outs = []
    for _ in range(3):
        outs.append(int(mix(state)[0]))
        state = state + np.uint64(0x9E3779B97F4A7C15)
    assert outs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def spell_out(text: str) -> str:
    """What normalising means, without any short way."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


@given(TEXTS)
def test_normalise_all_equals_one_by_one(texts: list[str]) -> None:
    assert normalise_all(texts) == [normalise(text) for text in texts] == [spell_out(text) for text in texts]


def test_every_ascii_sign_is_treated_as_alone() -> None:
    signs = [f"a{chr(code)}B{chr(code)}" for code in range(128)]
    assert normalise_all(signs) == [normalise(text) for text in signs] == [spell_out(text) for text in signs]


def test_normalised_prompts_are_one() -> None:
    one = describe_prompt(build_prompt("  How do I free the DISK?? ", system="be brief"), "be brief")
    assert one == describe_prompt(build_prompt("how do i  free the disk"))
    assert one.key == PromptText("how do i free the disk").key
    assert len(one.key) == 32
    assert normalise("Ｆｕｌｌ width, 日本語!") == "full width 日 本 語"
    assert PromptText("node 12 of x86", "at ٣ pm").numbers == ("12", "x86", "٣")


@given(TEXTS)
def test_shingles_are_as_many_as_the_strings(texts: list[str]) -> None:
    texts = normalise_all(texts)
    found = shingle(texts)
    assert found.sizes.tolist() == [len(name_shingles(text)) for text in texts]
    for row in range(len(texts)):
        own = found.values[found.offsets[row] : found.offsets[row + 1]]
        assert (np.diff(own.astype(np.int64)) > 0).all()
        alone = shingle([texts[row]])
        assert np.array_equal(alone.values, own)


@given(TEXTS.filter(lambda texts: len(texts) > 1))
def test_jaccard_equals_that_of_strings(texts: list[str]) -> None:
    texts = normalise_all(texts)
    all_of = shingle(texts)
    rows = np.arange(len(texts))
    found = measure_jaccard(all_of, all_of.take(rows[::-1]))
    assert found.tolist() == [find_jaccard(one, other) for one, other in zip(texts, texts[::-1], strict=True)]


def test_jaccard_by_hand() -> None:
    """abcde has trigrams abc bcd cde; abcdf has abc bcd cdf: 2 of 4 in common."""
    one = shingle(["a b c d e", "a b", "", "", "a b c"])
    other = shingle(["a b c d f", "a b", "", "x", "c b a"])
    assert measure_jaccard(one, other).tolist() == [0.5, 1.0, 1.0, 0.0, 0.0]


def test_short_texts_are_their_own() -> None:
    """A text of one or two words is like no part of a longer one; one of three words is that trigram."""
    values = [set(part.tolist()) for part in (shingle([t]).values for t in ("a", "a b", "a b c", "a b c d"))]
    assert not values[0] & values[1]
    assert not (values[0] | values[1]) & values[3]
    assert values[2] < values[3]


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)
    texts = [" ".join(chance.choices(["ab", "c", "日", "x1"], k=chance.randint(0, 40))) for _ in range(300)]
    whole = shingle(texts)
    similar = measure_jaccard(whole, whole.take(np.arange(300)[::-1]))
    for name in ("_CHUNK_LETTERS", "_CHUNK_SHINGLES"):
        monkeypatch.setattr(module, name, 50)
    parts = shingle(texts)
    assert np.array_equal(whole.values, parts.values)
    assert np.array_equal(whole.offsets, parts.offsets)
    assert np.array_equal(similar, measure_jaccard(whole, whole.take(np.arange(300)[::-1])))


def test_take_repeats_and_leaves_out() -> None:
    found = shingle(["a", "", "b c", "d e f g"]).take(np.array([3, 0, 1, 3]))
    assert found.sizes.tolist() == [2, 1, 0, 2]
    assert np.array_equal(found.values[:2], found.values[3:])
    assert len(Shingles(np.zeros(0, dtype=np.uint64), np.zeros(1, dtype=np.int64))) == 0


def test_trigrams_do_not_collide() -> None:
    """Short words of few letters, where a weak polynomial meets itself: every trigram has its own number."""
    letters = "abcdefgh01"
    words = [f"{a}{b}" for a in letters for b in letters]
    text = " ".join(random.Random(1).choices(words, k=200_000))
    assert len(shingle([text]).values) == len(name_shingles(text))


@given(TEXTS.filter(lambda texts: len(texts) > 1))
def test_numbers_of_two_texts_are_those_of_both_together(texts: list[str]) -> None:
    texts = normalise_all(texts)
    sums, powers = hash_numbers(hash_words(texts))
    joined, _ = hash_numbers(hash_words([f"{one} {other}" for one, other in pairwise(texts)]))
    assert np.array_equal(sums[:-1] * powers[1:] + sums[1:], joined)


def test_numbers_in_another_order_are_others() -> None:
    texts = ["port 80 then 443", "port 443 then 80", "ports 80 and 443", "80443", "none", "80 443 80 443"]
    sums, _ = hash_numbers(hash_words(texts))
    assert sums[0] == sums[2]
    assert len(set(sums.tolist())) == 5
    assert sums[4] == 0


def hash_slowly(word: str) -> int:
    """A polynomial of code points and the length, mixed; see the module's text."""
    base, total = 0x9E3779B97F4A7C15, 0
    for letter in reversed(word):
        total = (total + ord(letter)) * base % 2**64
    total = (total + len(word) * 0xD6E8FEB86659FD93) % 2**64
    return int(mix(np.array([total], dtype=np.uint64))[0])


@given(TEXTS)
def test_words_are_hashed_as_their_polynomial(texts: list[str]) -> None:
    texts = normalise_all(texts)
    found = hash_words(texts)
    words = [word for text in texts for word in text.split()]
    assert found.hashes.tolist() == [hash_slowly(word) for word in words]
    assert found.numeric.tolist() == [any(letter.isdigit() for letter in word) for word in words]
    assert found.sizes.tolist() == [len(word) for word in words]
    assert np.diff(found.offsets).tolist() == [len(text.split()) for text in texts]


def test_a_word_longer_than_a_chunk_is_hashed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["é short", "x" * 1000, f"{'y' * 700} é1"]
    whole = hash_words(texts)
    assert whole.hashes.tolist() == [hash_slowly(word) for word in " ".join(texts).split()]
    for name in ("_POWERS", "_INVERSES"):
        monkeypatch.setattr(module, name, getattr(module, name)[:1000])
    assert np.array_equal(whole.hashes, hash_words(texts).hashes)


@given(TEXTS)
def test_spread_words_are_those_of_normalising(texts: list[str]) -> None:
    assert [text.split() for text in spread_words(texts)] == [normalise(text).split() for text in texts]
    assert np.array_equal(hash_words(spread_words(texts)).hashes, hash_words(normalise_all(texts)).hashes)


def test_hashes_are_the_same_everywhere() -> None:
    """Pinned: other numbers would part this week's prompts from fingerprints that lie on disk."""
    assert shingle(["how do i free the disk"]).values.tolist() == PINNED
    code = (
        "from flytewheel.curation.shingles import shingle; print(shingle(['how do i free the disk']).values.tolist())"
    )
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        assert out.stdout.strip() == str(PINNED)


PINNED = [83581600725030, 124064445854619, 198382899257591, 249897686420237]
