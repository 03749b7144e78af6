"""Preference sets of the hub and of others: each pair is an interaction and the duel that it won."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.errors import FeedbackError
from flytewheel.records import Message
from tests.feedback.formats.foreign import turn, turn_files


def ask(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def say(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


PLAIN = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}


@pytest.mark.parametrize(
    "row",
    [
        PLAIN,
        {"prompt": [ask("Why?")], "chosen": [say("So.")], "rejected": [say("No.")]},
        {"chosen": [ask("Why?"), say("So.")], "rejected": [ask("Why?"), say("No.")]},
        {"prompt": "Why?", "chosen": [ask("Why?"), say("So.")], "rejected": [ask("Why?"), say("No.")]},
        {"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
        {"prompt": "\n\nHuman: Why?\n\nAssistant:", "chosen": " So.", "rejected": " No."},
        {"prompt": "Why?", "chosen": "Why?\nSo.", "rejected": "Why? No."},
        {"question": "Why?", "chosen": {"role": "assistant", "content": "So."}, "rejected": {"text": "No."}},
        {"input": {"messages": [ask("Why?")]}, "preferred_output": [say("So.")], "non_preferred_output": [say("No.")]},
        {"prompt": json.dumps([ask("Why?")]), "chosen": json.dumps([say("So.")]), "rejected": "No."},
        {"conversations": 1, "instruction": "Why?", "chosen_response": "So.", "rejected_response": "No."},
    ],
)
def test_shapes(tmp_path: Path, row: dict[str, Any]) -> None:
    found = turn("preference", tmp_path, row)
    [said], [duel] = found.interactions, found.events
    assert (said.query, said.response.strip(), said.history) == ("Why?", "So.", ())
    assert (duel.feedback_type, duel.preferred, (duel.other_response or "").strip()) == ("duel", "this", "No.")
    assert (duel.interaction_id, duel.user_id) == (said.interaction_id, said.user_id)


def test_history_and_system(tmp_path: Path) -> None:
    turns = [ask("Hi"), say("Hello."), ask("Why?")]
    row = {"system": "Be brief.", "chosen": [*turns, say("So.")], "rejected": [*turns, say("No.")], "prompt": "Why?"}
    text = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: "
    found = turn("preference", tmp_path, row, {"chosen": f"{text}So.", "rejected": f"{text}No."})
    history = (Message(role="user", content="Hi"), Message(role="assistant", content="Hello."))
    assert [each.history for each in found.interactions] == [
        (Message(role="system", content="Be brief."), *history),
        history,
    ]
    assert [each.query for each in found.interactions] == ["Why?", "Why?"]


def test_scores_users_and_repeats(tmp_path: Path) -> None:
    rows = [
        {**PLAIN, "score_chosen": 8.5, "score_rejected": 4.0, "source": "evol", "prompt_id": "ab"},
        {**PLAIN, "chosen": "Because.", "score_chosen": 5, "score_rejected": 5},
        {**PLAIN, "prompt": "How?", "annotator_id": "bob@example.com", "score_chosen": 1, "score_rejected": 2},
        {**PLAIN, "annotator_id": 7},
        {**PLAIN, "score_chosen": 8.5, "score_rejected": 4.0, "source": "evol", "prompt_id": "ab"},
    ]
    found = turn("preference", tmp_path, *rows)
    first, second, third, fourth, again = found.interactions
    assert (first, found.events[0]) == (again, found.events[4])
    assert len({each.interaction_id for each in found.interactions}) == 4
    assert first.user_id == second.user_id  # the pseudonym of their prompt
    assert first.user_id.startswith("anonymous-")
    assert third.user_id.startswith("user-")
    assert fourth.user_id == "web:7"
    assert found.events[0].metadata == {"score_chosen": 8.5, "score_rejected": 4.0, "source": "evol"}
    assert found.recognised.notes["pairs with equal scores"] == 1
    assert found.recognised.notes["pairs whose rejected answer scores more"] == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Why?", "rejected": "No."}, "missing chosen"),
        ({**PLAIN, "chosen": " "}, "missing chosen"),
        ({**PLAIN, "chosen": 7}, "missing chosen"),
        ({**PLAIN, "rejected": []}, "missing rejected"),
        ({**PLAIN, "rejected": [ask("No.")]}, "missing rejected"),
        ({"chosen": "So.", "rejected": "No."}, "missing prompt"),
        ({**PLAIN, "prompt": "  "}, "missing prompt"),
        ({**PLAIN, "rejected": "So. "}, "same chosen and rejected"),
        (
            {"chosen": [ask("Why?"), say("So.")], "rejected": [ask("How?"), say("No.")]},
            "chosen and rejected of different prompts",
        ),
        (b"{", "not JSON"),
    ],
)
def test_faults_are_held_by_reason(tmp_path: Path, row: Any, reason: str) -> None:
    found = turn("preference", tmp_path, PLAIN, row)
    assert found.reasons == [reason]
    assert len(found.interactions) == len(found.events) == 1


def test_parquet_and_saved_sets(tmp_path: Path) -> None:
    arrow = import_module("pyarrow")
    rows = [
        {**PLAIN, "prompt": f"Why {n}?", "chosen": [ask(f"Why {n}?"), say("So.")], "rejected": None} for n in range(9)
    ]
    for row in rows:
        row["rejected"] = [row["chosen"][0], say("No.")]
    (tmp_path / "hub" / "data").mkdir(parents=True)
    import_module("pyarrow.parquet").write_table(
        arrow.Table.from_pylist(rows), tmp_path / "hub" / "data" / "train-00000-of-00001.parquet"
    )
    datasets = import_module("datasets")
    one = datasets.Dataset.from_list(rows)
    one.save_to_disk(str(tmp_path / "one"))
    parts = datasets.DatasetDict({"train_prefs": one.select(range(6)), "test_prefs": one.select(range(6, 9))})
    parts.save_to_disk(str(tmp_path / "both"))
    found = [turn_files("preference", tmp_path, tmp_path / name) for name in ("hub", "one", "both")]
    assert [each.query for each in found[0].interactions] == [f"Why {n}?" for n in range(9)]
    assert found[0].interactions == found[1].interactions == found[2].interactions
    assert found[2].recognised.splits == {"test_prefs": 3, "train_prefs": 6}
    assert "parts test_prefs (3), train_prefs (6)" in found[2].recognised.describe()


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    for name, words in (
        ("cut.parquet", "not a whole table"),
        ("empty", "no data set is there"),
        ("notes.txt", "expected a file named"),
        ("gone.jsonl", "No such file"),
    ):
        with pytest.raises(FeedbackError, match=words) as caught:
            turn_files("preference", tmp_path, tmp_path / name)
        assert "\n" not in str(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from([*PLAIN, "score_chosen", "score_rejected", "user", "system"]), ANYTHING))
def test_any_field_may_hold_anything(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    found = turn("preference", tmp_path_factory.mktemp("any"), {**PLAIN, **row})
    assert found.recognised.rows == len(found.logs[0].splitlines()) == 1
