"""Keys of many answers at once against each alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.curation import whitespace as module
from flytewheel.curation.keys import key_text, key_texts

# All that `str.split` takes for white space, and signs below the blank that it does not.
SIGNS = "ab \t\n\v\f\r\x1c\x1d\x1e\x1f\x00\x01\x1b\x7f"
TEXTS = st.lists(st.text(alphabet=st.sampled_from(f"{SIGNS}é日\x85\xa0\u2003\ud800"), max_size=12), max_size=12)
ASCII_TEXTS = st.lists(st.text(alphabet=st.sampled_from(SIGNS), max_size=12), max_size=12)


@given(st.one_of(TEXTS, ASCII_TEXTS))
def test_many_keys_are_as_each_alone(texts: list[str]) -> None:
    keys, words = key_texts(texts)
    assert keys.tolist() == [key_text(text) for text in texts]
    assert words.tolist() == [len(text.split()) for text in texts]


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f" {'word ' * (n % 7)}\n{n}" if n % 5 else "" for n in range(300)] + ["é  è", "x" * 200, "", "y"]
    monkeypatch.setattr(module, "_AT_ONCE", 50)
    keys, words = key_texts(texts)
    assert keys.tolist() == [key_text(text) for text in texts]
    assert words.tolist() == [len(text.split()) for text in texts]


def test_white_space_does_not_count_and_all_else_does() -> None:
    keys, words = key_texts(["Drain the node.", "\tDrain  the\r\nnode.\n", "drain the node.", "Drain the node"])
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == 3
    assert words.tolist() == [3, 3, 3, 3]


def test_keys_are_the_same_everywhere() -> None:
    """Pinned: BLAKE2b of 8 bytes, as `b2sum -l 64` prints it for the text without a line's end."""
    assert f"{key_text('Drain the node.'):016x}" == PINNED
    assert f"{key_texts(['Drain the  node.'])[0][0]:016x}" == PINNED


PINNED = "aede393994190727"
