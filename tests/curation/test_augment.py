"""Paraphrases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.account import Account
from flytewheel.curation.augment import add_paraphrases, list_paraphrases
from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Table
from flytewheel.curation.prompts import normalise
from tests.curation.tables import make_draft, make_table

QUERIES = 40


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Forty interactions whose queries are `question 0` to `question 39`."""
    return make_table(tmp_path_factory.mktemp("table"), [{"query": f"question {n}"} for n in range(QUERIES)])


def add(drafts: Sequence[Draft], table: Table, factor: float, **given: Any) -> tuple[list[Draft], Account]:
    return add_paraphrases(
        drafts, table, **{"factor": factor, "max_per_user": 500, "max_per_cluster": 500, "seed": 7, **given}
    )


def say(draft: Draft) -> str:
    return draft.query if draft.query is not None else f"question {draft.shown}"


@pytest.mark.parametrize(
    "query",
    ["How do I restart blob-cache 12?", "What is the owner of `api-7`?", "we see 3 failed rollouts on cart", "x"],
)
def test_paraphrases_say_the_same_in_other_words(query: str) -> None:
    texts = list(list_paraphrases(query))
    assert len(texts) >= 4
    assert len({normalise(text) for text in [*texts, query]}) == len(texts) + 1
    for text in texts:
        assert re.findall(r"\d+|`.*?`", text) == re.findall(r"\d+|`.*?`", query)
    assert sorted(list_paraphrases(query, first=3)) == sorted(texts), "where the round begins changes only the order"


def test_rewordings() -> None:
    assert "How can I drain it?" in list_paraphrases("How do I drain it?")
    assert "Please explain: Why is it slow?" in list_paraphrases("Why is it slow?")


@pytest.mark.parametrize(("factor", "rows"), [(1.0, 20), (1.5, 30), (2.25, 45)])
def test_as_many_rows_as_asked(table: Table, factor: float, rows: int) -> None:
    drafts = [make_draft(n) for n in range(20)]
    out, account = add(drafts, table, factor)
    assert out[:20] == drafts
    assert len(out) == rows == account.rows_out
    added = out[20:]
    assert len({draft.id for draft in added}) == len(added)
    assert all(draft.source == "paraphrase" and draft.prompt == -1 for draft in added)
    assert all(draft.texts == drafts[draft.shown].texts for draft in added), "the answer stays"
    assert len({normalise(say(draft)) for draft in out}) == rows
    assert add(drafts, table, factor)[0] == out
    assert {draft.id for draft in add(drafts[::-1], table, factor)[0]} == {draft.id for draft in out}
    assert factor == 1 or add(drafts, table, factor, seed=8)[0] != out


def test_rules_run_out_without_repeating(table: Table) -> None:
    out, _ = add([make_draft(0)], table, 100.0)
    assert len(out) == 1 + len(list(list_paraphrases("question 0")))


def test_caps_count_paraphrases_too(table: Table) -> None:
    drafts = [make_draft(n, user="ann" if n < 3 else f"u{n}", cluster=n // 2) for n in range(12)]
    out, _ = add(drafts, table, 10.0, max_per_user=4)
    users = Counter(draft.user for draft in out)
    assert users["ann"] == 4
    assert max(users.values()) == 4
    clusters = Counter(draft.cluster for draft in add(drafts, table, 10.0, max_per_cluster=3)[0])
    assert set(clusters.values()) == {3}


def test_a_pair_of_users_is_capped_by_both(table: Table) -> None:
    shared = make_draft(0, user="ann", users=("ann", "bob"))
    drafts = [shared, make_draft(1, user="bob"), make_draft(2, user="bob")]
    out, _ = add(drafts, table, 10.0, max_per_user=3)
    assert [draft for draft in out[3:] if "bob" in draft.users] == []


def test_a_model_is_asked_first_and_rules_fill_up(table: Table) -> None:
    asked: list[str] = []

    def reword(queries: Sequence[str]) -> list[str | None]:
        asked.extend(queries)
        return [None if query.endswith("3") else f"in other words, {query}" for query in queries]

    drafts = [make_draft(n) for n in range(8)]
    added = add(drafts, table, 2.0, reword=reword)[0][8:]
    assert sorted(asked) == [f"question {n}" for n in range(8)]
    said = {draft.shown: say(draft) for draft in added}
    assert len(said) == 8
    assert all(text.startswith("in other words, ") == (place != 3) for place, text in said.items())


def test_chunks_change_nothing(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts = [make_draft(n) for n in range(QUERIES)]
    whole = add(drafts, table, 2.5)[0]
    monkeypatch.setattr("flytewheel.curation.augment._AT_ONCE", 7)
    assert add(drafts, table, 2.5)[0] == whole


def test_no_row_no_paraphrase(table: Table, tmp_path: Path) -> None:
    assert add([], table, 3.0)[0] == []
