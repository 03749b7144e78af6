"""Records: canonical bytes, prompts, files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flytewheel.records import (
    FeedbackEvent,
    Interaction,
    Message,
    build_prompt,
    canonical_json,
    digest,
    duel_id,
    read_jsonl,
    write_jsonl,
)

AT = "2026-11-08T00:01:26+00:00"


def test_canonical_json_is_sorted_and_tight() -> None:
    assert canonical_json({"b": [1, None], "a": "ü"}) == '{"a":"ü","b":[1,null]}'.encode()


def test_digest_is_sha256_of_the_canonical_bytes() -> None:
    # printf '{"a":1}' | sha256sum
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_nan_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_context_joins_the_system_turn() -> None:
    prompt = build_prompt("why?", system="be brief", context="disk is full")
    assert [message.role for message in prompt] == ["system", "user"]
    assert prompt[0].content == "be brief\n\nContext:\ndisk is full"


def test_a_system_turn_of_the_history_wins() -> None:
    history = (Message(role="system", content="theirs"), Message(role="user", content="hi"))
    prompt = build_prompt("why?", system="ours", history=history)
    assert [message.content for message in prompt] == ["theirs", "hi", "why?"]


def test_a_bare_question_is_one_turn() -> None:
    assert build_prompt("why?") == (Message(role="user", content="why?"),)


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9) | st.none(), max_size=4), max_size=6
    )
)
def test_jsonl_gives_back_what_was_written(rows: list[dict[str, object]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a" / "rows.jsonl"
        assert write_jsonl(path, rows) == len(rows)
        assert list(read_jsonl(path)) == rows


def test_times_without_a_zone_are_refused() -> None:
    fields = {"interaction_id": "i", "user_id": "u", "query": "q", "response": "r"}
    assert Interaction.model_validate({**fields, "timestamp": AT}).completed
    with pytest.raises(ValidationError):
        Interaction.model_validate({**fields, "timestamp": "2026-11-08T00:01:26"})


def test_ratings_stay_in_range() -> None:
    fields = {"event_id": "e", "interaction_id": "i", "user_id": "u", "timestamp": AT, "feedback_type": "rating"}
    assert FeedbackEvent.model_validate({**fields, "rating": 5}).rating == 5
    with pytest.raises(ValidationError):
        FeedbackEvent.model_validate({**fields, "rating": 6})


def test_a_duel_is_named_by_its_texts_whichever_comes_first() -> None:
    prompt = build_prompt("who owns it?", system="Be short.")
    assert duel_id(prompt, "ann", "bob") == duel_id(prompt, "bob", "ann") == duel_id(list(prompt), "ann", "bob")
    others = {duel_id(prompt, "ann", "bo"), duel_id(prompt[1:], "ann", "bob"), duel_id(prompt, "ann", "ann")}
    assert len(others | {duel_id(prompt, "ann", "bob")}) == 4
