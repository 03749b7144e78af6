"""Folding skips what a text does not hold: the same as doing all of it always."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytewheel.screens import spelling
from flytewheel.screens.spelling import fold

_LETTERS = "abz09_ -’‘´ʼıłøđæÆŁİабвѕԁօաαβΩéñɑɡɩʟᴀᴢꜰꜱɐʯ\u0301\u200b\ufe0f\U0001f170\ud800中ﬁＡß\u212a\n."


def _fold_simply(text: str) -> str:
    plain = spelling.INVISIBLE.sub("", text).translate(spelling._SQUARED)
    plain = spelling._MARKS.sub("", unicodedata.normalize("NFKD", plain).casefold())
    plain = unicodedata.normalize("NFC", plain).translate(str.maketrans(spelling._QUOTES))
    return spelling._MIXED.sub(lambda word: word.group().translate(spelling._TWINS), plain)


@settings(max_examples=1000, deadline=None)
@given(st.text(_LETTERS, min_size=1, max_size=12) | st.text())
@example("іgnоre")
@example("ﬁлe ʟ")
def test_folding_is_all_of_its_steps(text: str) -> None:
    if not text.isascii() and not spelling._ORDINARY.fullmatch(text):
        assert fold(text) == _fold_simply(text)
