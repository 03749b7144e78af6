"""Paraphrases."""

from __future__ import annotations

import re

import pytest

from flytewheel.curation.augment import add_paraphrases, list_paraphrases
from flytewheel.curation.duplicates import normalise
from tests.curation.test_balance import draft


@pytest.mark.parametrize(
    "query",
    ["How do I restart blob-cache 12?", "What is the owner of `api-7`?", "we see 3 failed rollouts on cart", "x"],
)
def test_paraphrases_say_the_same_in_other_words(query: str) -> None:
    texts = list_paraphrases(query)
    assert len(texts) >= 4
    assert len({normalise(text) for text in [*texts, query]}) == len(texts) + 1
    for text in texts:
        assert re.findall(r"\d+|`.*?`", text) == re.findall(r"\d+|`.*?`", query)


def test_rewordings() -> None:
    assert "How can I drain it?" in list_paraphrases("How do I drain it?")
    assert "Please explain: Why is it slow?" in list_paraphrases("Why is it slow?")


@pytest.mark.parametrize(("factor", "rows"), [(1.0, 20), (1.5, 30), (2.25, 45)])
def test_as_many_rows_as_asked(factor: float, rows: int) -> None:
    drafts = [draft(n) for n in range(20)]
    out, step = add_paraphrases(drafts, factor=factor, seed=7, system_prompt=None)
    assert out[:20] == drafts
    assert len(out) == rows == step.rows_out
    added = [one.row for one in out[20:]]
    assert len({row.id for row in added}) == len(added)
    assert all(row.source == "paraphrase" and row.completion == "answer" for row in added)
    assert len({normalise(one.row.prompt[-1].content) for one in out}) == rows
    assert add_paraphrases(drafts, factor=factor, seed=7, system_prompt=None)[0] == out


def test_rules_run_out_without_repeating() -> None:
    out, _ = add_paraphrases([draft(0)], factor=100.0, seed=7, system_prompt=None)
    assert len(out) == 1 + len(list_paraphrases("question 0"))
