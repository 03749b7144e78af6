"""Abuse in many texts: what Rust finds is what Python's `re` finds, and what is undone is what was undone simply."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytewheel.screens import encodings, injection, toxicity
from flytewheel.screens.rule import Rule, to_column
from flytewheel.screens.spelling import fold, loosen, widen
from tests.screens import screen_corpus, screen_insults, screen_orders

RULES = {"toxicity": toxicity.RULE, "injection": injection.RULE}
CASES = [
    fold(text)
    for cases in (screen_corpus.TOXICITY_FIRST, screen_insults.TOXICITY_THIRD, screen_orders.INJECTION_THIRD)
    for texts in cases
    for text in texts
]
TEXTS = st.lists(st.sampled_from(CASES) | st.text("ab\n \"'é", max_size=6), max_size=4).map("".join)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rust_finds_in_the_corpus_what_python_finds(rule: Rule) -> None:
    found = {row for row, text in enumerate(CASES) if rule.search(text)}
    assert found
    assert rule.search_many(to_column(CASES)) == found


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=100, deadline=None)
@given(texts=st.lists(TEXTS, max_size=6))
def test_many_are_searched_as_one_is(rule: Rule, texts: list[str]) -> None:
    assert rule.search_many(to_column(texts)) == {row for row, text in enumerate(texts) if rule.search(text)}


def test_only_what_is_left_of_a_text_breaks_a_rule() -> None:
    """By hand: `bad` is forbidden, `bad luck` harmless unless `!` follows, and an order of its own is no gate."""
    rule = Rule(("(?:^| )bad",), "(?:^| )bad luck(?!!)", ("b.{0,1}d",))
    texts = ["bad", "bad luck", "bad luck!", "bad luck, bad day", "bed", "good\n", "", "so bad\n"]
    assert rule.search_many(to_column(texts)) == {0, 2, 3, 7}
    assert [bool(rule.search(text)) for text in texts] == [True, False, True, True, False, False, False, True]
    assert rule.search_many(to_column([])) == set()


_LEET_WORD = re.compile(r"(?<![a-z0-9])(?=[a-z0-9@$!|]*[a-z])[a-z0-9@$!|]*[0-9@$!|][a-z0-9@$!|]*")
_JOINED = re.compile(r"(?<=[a-z])[_*~/.-]+(?=[a-z])")
_SPACED = re.compile(r"(?<![a-z0-9])(?:[a-z0-9@$!|]([ ._*~-])\1?){4,}[a-z0-9@$!|](?![a-z0-9])")


def _undo_simply(plain: str) -> str:
    """Every word that mixes letters with digits or signs is read as one of letters."""
    closed = _SPACED.sub(
        lambda spaced: " ".join(re.sub(r"[ ._*~-]", "", word) for word in re.split(r"[ ._*~-]{2,}", spaced.group())),
        plain,
    )
    lettered = _LEET_WORD.sub(lambda word: word.group().translate(str.maketrans("0134578@$!|", "oieastbasii")), closed)
    return _JOINED.sub(" ", lettered)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.text("abz0123@$!|._*~/- \né\ud800", max_size=14) | st.sampled_from(CASES), max_size=4))
@example(["i g n o r e  a l l", "1gn0re a|| pr3v.i0us", "$5 a5 5a 5.5 a.5.b", "1" * 20_000, "a" + "1." * 9_999])
def test_disguises_are_undone_as_simply_as_ever(texts: list[str]) -> None:
    undone = [_undo_simply(text) for text in texts]
    assert [injection.undo_disguise(text) for text in texts] == undone
    whole = [text for text in texts if "\ud800" not in text]
    assert injection.undo_disguises(to_column(whole)).to_list() == [
        _undo_simply(text.rstrip("\n")).rstrip("\n") for text in whole
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("aZ0/+_-= ", min_size=18, max_size=40) | st.text("abcdef01", min_size=30, max_size=34)))
@example(["a" * place + "Z" + "a" * (23 - place) for place in range(24)] + ["a" * 23 + "Z"])
def test_runs_are_found_where_some_may_be_encoded(texts: list[str]) -> None:
    assert encodings.find_runs(texts) == [row for row, text in enumerate(texts) if encodings.list_runs(text)]


def test_a_loose_pattern_is_without_look_around_and_bounds() -> None:
    assert loosen(r"a(?!b|c (?:d)|[)])e(?<=[a-z])'(?=f)g(?:h)") == r"ae'g(?:h)"
    assert widen(r"(?:a|b){0,8}?c{2,60}\{1,2}d{3}") == r"(?:a|b){0,}?c{2,}\{1,2}d{3}"
