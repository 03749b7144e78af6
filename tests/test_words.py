"""Words of many texts: the same as Python's, and numbers that are equal where words are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytewheel.words import HEAD, WIDE_SPACES, Vocabulary, Words, cut_texts, split_words

TEXTS = st.text(
    st.sampled_from(["a", "B", "É", "İ", "Σ", "ß", "K", "\0", "\x1f", "\x85", "\u3000", "\u2028", "\ud800", "\udc00"])
    | st.sampled_from(" \t\n\r\x0b\x0c\x1c\x1d\x1e")
    | st.characters(),
    max_size=60,
)


def spell(words: Words, row: int) -> list[str]:
    places = range(words.offsets[row], words.offsets[row + 1])
    spelt = [words.letters[words.starts[place] :][: words.sizes[place]].tobytes() for place in places]
    return [word.decode("utf-8", "surrogatepass") for word in spelt]


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=6))
@example([])
@example([""])
@example(["", " ", "a", ""])
@example(["İΣ x" + "Σ" * 20])
def test_words_are_those_of_split(texts: list[str]) -> None:
    words = split_words(texts)
    assert len(words) == len(texts)
    split = [text.lower().split() for text in texts]
    assert [spell(words, row) for row in range(len(texts))] == split
    assert words.counts.tolist() == list(map(len, split))
    assert words.has_nul == any("\0" in text for text in texts)
    spelt = [word.encode("utf-8", "surrogatepass") for own in split for word in own]
    assert words.heads.tolist() == [int.from_bytes(word[:HEAD], "little") for word in spelt]
    assert words.sizes.tolist() == list(map(len, spelt))
    numbers: dict[bytes, int] = {}
    for word, number in zip(spelt, words.hash().tolist(), strict=True):
        assert numbers.setdefault(word, number) == number
    assert words.total(words.sizes).tolist() == [sum(len(w.encode("utf-8", "surrogatepass")) for w in s) for s in split]


def test_every_white_space_parts_words() -> None:
    spaces = [chr(code) for code in range(0x110000) if chr(code).isspace()]
    assert {space for space in spaces if not space.isascii()} == set(WIDE_SPACES)
    words = split_words([f"a{space}b" for space in spaces] + ["a\x1bb", "a\u200bb"])
    assert words.counts.tolist() == [2] * len(spaces) + [1, 1]


def test_words_of_one_head_are_told_apart_by_what_follows() -> None:
    spelt = ["12345678", "12345678a", "12345678b", "1234567890123456", "1234567890123457", "1", "2", "1234567"]
    assert len(set(split_words([" ".join(spelt)]).hash().tolist())) == len(spelt)
    assert len(set(split_words(["x" * 200 + "1 " + "x" * 200 + "2"]).hash().tolist())) == 1  # long words are cut


@pytest.mark.parametrize("texts", [[], ["a"] * 5, ["x" * 90_000] * 4, ["x" * 900_000, "", "y"], ["a"] * 70_000])
def test_chunks_are_all_texts_once(texts: list[str]) -> None:
    ranges = list(cut_texts(texts))
    assert [place for start, stop in ranges for place in range(start, stop)] == list(range(len(texts)))
    assert all(stop - start == 1 or sum(map(len, texts[start:stop])) <= 1 << 17 for start, stop in ranges)
    assert all(stop - start < 1 << 16 for start, stop in ranges)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["the", "The", "and", "für", "x", "of", "offline", "th\0", "\0"])), max_size=5)
)
def test_a_vocabulary_counts_no_more_kinds_than_there_are(parts: list[list[str]]) -> None:
    vocabulary = {"the", "and", "für", "of", "x", "th"}
    texts = [" ".join(part) for part in parts]
    kinds = [len(vocabulary & set(text.lower().split())) for text in texts]
    counted = Vocabulary(vocabulary).count_kinds(split_words(texts))
    if any("\0" in text for text in texts):
        assert np.all(counted == 0)
    else:
        assert counted.tolist() == kinds  # few words fall into slots of their own


def test_many_words_share_bits_but_none_is_made_up() -> None:
    words = [f"w{n}" for n in range(500)]
    vocabulary = Vocabulary(words)
    counted = vocabulary.count_kinds(split_words([" ".join(words), " ".join(words[:20]), "v1 v2 w999", "longwords w1"]))
    assert 60 <= counted[0] <= 64
    assert 15 <= counted[1] <= 20
    assert counted[2:].tolist() == [0, 1]
