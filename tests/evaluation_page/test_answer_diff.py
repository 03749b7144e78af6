"""What differs is marked, in any script, and the pieces always are the texts."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import LCSseq

from flytewheel.evaluation_page.answer_diff import (
    Piece,
    cut_pieces,
    diff_texts,
    draw_pieces,
    overlap,
    says_the_same,
    split_tokens,
)

TEXTS = st.text(st.sampled_from("ab \n\t,.<&ñéकि्षक你好ไทย عربי\u200d\u202e🙂"), max_size=40) | st.text(max_size=30)


def marked(pieces: list[Piece]) -> list[str]:
    return [piece.text for piece in pieces if piece.changed]


@settings(max_examples=300, deadline=None)
@given(ours=TEXTS, theirs=TEXTS)
def test_joined_the_pieces_are_the_texts_and_unmarked_words_are_common(ours: str, theirs: str) -> None:
    left, right = diff_texts(ours, theirs)
    assert "".join(piece.text for piece in left) == ours
    assert "".join(piece.text for piece in right) == theirs
    common = ["".join(piece.text for piece in side if not piece.changed) for side in (left, right)]
    assert common[0] == common[1]
    assert "".join(split_tokens(ours)) == ours
    assert (marked(left) or marked(right)) or ours == theirs
    drawn = draw_pieces(left, "ins")
    assert not re.search("<(?!/?(ins|span)[ >])", drawn)


def test_a_word_is_marked_not_the_line() -> None:
    left, right = diff_texts("Restart the red service now.", "Restart the blue service now.")
    assert (marked(left), marked(right)) == (["red"], ["blue"])


def test_neighbouring_words_are_one_change() -> None:
    left, right = diff_texts("Please open a new ticket today.", "Please write the old owner today.")
    assert (marked(left), marked(right)) == (["open a new ticket"], ["write the old owner"])


@pytest.mark.parametrize(
    ("ours", "theirs", "only_ours", "only_theirs"),
    [
        ("重启数据库服务", "重启缓存服务", ["数据库"], ["缓存"]),
        ("أعد تشغيل الخادم", "أعد تشغيل الموجه", ["الخادم"], ["الموجه"]),
        ("सेवा को फिर शुरू करें", "सेवा को अभी शुरू करें", ["फिर"], ["अभी"]),
        ("naïve cafe\u0301", "naïve cafe", ["cafe\u0301"], ["cafe"]),
        ("ok 👩‍🔧", "ok 👩", ["👩‍🔧"], ["👩"]),
    ],
)
def test_scripts_have_words_of_their_own(ours: str, theirs: str, only_ours: list[str], only_theirs: list[str]) -> None:
    left, right = diff_texts(ours, theirs)
    if "👩" in ours:
        assert "".join(marked(left)).endswith("🔧")
    else:
        assert (marked(left), marked(right)) == (only_ours, only_theirs)


def test_white_space_that_differs_is_visible() -> None:
    left, right = diff_texts("a  b\n", "a b\t")
    assert (
        draw_pieces(left, "ins") == 'a <ins><span class="sign">·</span></ins>b<ins><span class="sign">⏎\n</span></ins>'
    )
    assert "→" in draw_pieces(right, "del")
    drawn = draw_pieces(diff_texts("a\u00a0b\u200b", "a b")[0], "ins")
    assert "⍽" in drawn
    assert "⟦ZWSP⟧" in drawn
    assert draw_pieces([Piece("two words", True)], "ins") == "<ins>two words</ins>"
    assert says_the_same("a  b", "a b") == "they differ in white space only"
    assert says_the_same("é", "e\u0301") == "they differ in Unicode form only"
    assert says_the_same("a", "a") == "both answers are the same"
    assert says_the_same("a", "b") == ""


def test_an_excerpt_begins_before_the_first_change() -> None:
    pieces = [Piece("x" * 1000, False), Piece("NEW", True), Piece("y" * 1000, False)]
    cut = cut_pieces(pieces, 200, 50)
    assert [piece.text for piece in cut] == ["… ", "x" * 50, "NEW", "y" * 147, " …"]
    assert cut_pieces([Piece("short", False)], 200, 50) == [Piece("short", False)]
    assert cut_pieces([Piece("z" * 500, False)], 200, 50) == [Piece("z" * 200, False), Piece(" …", False)]
    assert cut_pieces([], 200, 50) == []


def test_overlap_is_rouge_l_of_ascii_and_sees_other_scripts() -> None:
    """Worked by hand: 3 common of 4 and 5 words, F1 = 2·3 / 9."""
    assert overlap("Restart the blue service", "restart the big red service") == pytest.approx(6 / 9)
    assert overlap("重启服务", "重启缓存服务") == pytest.approx(2 * 4 / 10)
    assert overlap("", "a") == 0
    assert overlap("a", "!?") is None
    assert LCSseq.similarity("abc", "abc") == 3


def test_ten_thousand_signs_are_compared_at_once() -> None:
    ours, theirs = "你好世界" * 3000, "你世好界" * 3000
    started = time.perf_counter()
    diff_texts(ours, theirs)
    assert time.perf_counter() - started < 5  # 0.2 s on a quiet machine
