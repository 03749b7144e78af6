"""Context use against sets of words in Python, and by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.curation import grounding as module
from flytewheel.curation import shingles
from flytewheel.curation.grounding import CONTEXT_LETTERS, CONTEXT_SHARE, find_grounded
from flytewheel.curation.prompts import normalise

TEXT = st.lists(
    st.sampled_from(
        [
            "drain",
            "Node",
            "wait",
            "the",
            "be",
            "disk\x1f",
            "日本語話",
            "Straße",
            "ＮＯＤＥ",
            "x\u0308yzw",
            "\ud800abc",
            "",
            "\x00",
            "2026",
        ]
    ),
    max_size=12,
).map(" ".join)
WORDS = ["drain", "node", "wait", "long", "list", "disk", "free", "the", "of", "größe", "日本", "write-ahead", "log4j"]


def is_grounded(answer: str, context: str | None) -> bool:
    said, held = (
        {word for word in normalise(text).split() if len(word) >= CONTEXT_LETTERS} for text in (answer, context or "")
    )
    return bool(said & held) and len(said & held) >= CONTEXT_SHARE * len(said)


@given(st.lists(st.tuples(TEXT, st.one_of(st.none(), TEXT)), max_size=12))
def test_many_at_once_are_as_each_alone(pairs: list[tuple[str, str | None]]) -> None:
    answers, contexts = [answer for answer, _ in pairs], [context for _, context in pairs]
    assert find_grounded(answers, contexts).tolist() == [is_grounded(*pair) for pair in pairs]


@pytest.mark.parametrize("at_once", [1, 7, 1 << 16])
def test_chunks_do_not_show(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared contexts and own ones, none, and answers of one word to thousands."""
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    monkeypatch.setattr(shingles, "_CHUNK_LETTERS", 200)
    chance = random.Random(4)
    contexts = [" ".join(chance.choices(WORDS, k=chance.choice([1, 3, 6]))) for _ in range(8)] + [None, ""]
    answers = [" ".join(chance.choices([*WORDS, f"own{n}"], k=chance.choice([0, 1, 3, 9, 9, 9]))) for n in range(400)]
    answers += ["drain " * 200_000, "x" * 300_000, " ".join(f"word{n}" for n in range(9)) + " node wait long disk"]
    given_contexts = [chance.choice(contexts) for _ in answers]
    found = find_grounded(answers, given_contexts).tolist()
    assert found == [is_grounded(answer, context) for answer, context in zip(answers, given_contexts, strict=True)]
    assert 50 < sum(found) < 350


def test_context_counts_from_a_share_of_words() -> None:
    """Of drain, node, wait and long (four letters or more, all four) two stand in the context: a half."""
    context = "Runbook: drain the node!"
    answers = [
        "drain node wait long", "drain this very long list of other matters", "DRAIN, drain and node", "to be or not",
    ]  # fmt: skip
    assert find_grounded(answers, [context] * 4).tolist() == [True, False, True, False]
    assert find_grounded(["drain node", "drain node"], [None, "to be or not"]).tolist() == [False, False]


def test_three_words_of_ten_are_enough() -> None:
    """0.3 · 10 is 3 in doubles, too; of eleven words three are too few."""
    words = [f"word{letter}" for letter in "abcdefghijk"]
    context = " ".join(words[:3])
    assert find_grounded([" ".join(words[:10]), " ".join(words)], [context] * 2).tolist() == [True, False]
