from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.records import Message, build_prompt
from router.protocols.prompts import PromptError, read_plain_prompt, split_prompt

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
TURNS = st.lists(st.builds(Message, role=st.sampled_from(["user", "assistant"]), content=TEXT), max_size=4)


@given(query=TEXT.filter(bool), system=st.none() | TEXT, context=st.none() | TEXT, history=TURNS)
def test_a_prompt_is_put_together_again_from_its_parts(
    query: str, system: str | None, context: str | None, history: list[Message]
) -> None:
    prompt = build_prompt(query, system=system, context=context, history=history)
    said, passage, turns = split_prompt([message.model_dump() for message in prompt])
    assert said == query
    assert build_prompt(said, context=passage, history=[Message(**turn) for turn in turns]) == prompt


def test_context_is_found_with_and_without_a_system_text() -> None:
    for system in (None, "Be brief."):
        prompt = build_prompt("Why?", system=system, context="Because.")
        query, context, history = split_prompt([message.model_dump() for message in prompt])
        assert (query, context) == ("Why?", "Because.")
        assert [turn["content"] for turn in history] == ([] if system is None else ["Be brief."])


def test_parts_and_other_roles_are_read() -> None:
    query, _, history = split_prompt(
        [
            {"role": "developer", "content": "Be brief."},
            {"role": "assistant", "content": None, "tool_calls": []},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}],
            },
            {"role": "assistant", "content": "prefilled"},
        ]
    )
    assert query == "a\nb"
    assert [(turn["role"], turn["content"]) for turn in history] == [("system", "Be brief."), ("assistant", "")]


@pytest.mark.parametrize("messages", [None, [], "hi", [1], [{"role": "user", "content": 7}], [{"role": "king"}]])
def test_what_is_no_list_of_messages_is_refused(messages: object) -> None:
    with pytest.raises(PromptError):
        split_prompt(messages)


def test_a_request_without_a_users_text_is_as_good_as_any() -> None:
    """Pictures alone, a tool's answer alone: there is no question, what came before it is kept."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert split_prompt([{"role": "user", "content": [picture]}]) == ("", None, ({"role": "user", "content": ""},))
    system = {"role": "system", "content": "Be brief."}
    assert split_prompt([system]) == ("", None, (system,))
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    query, _, history = split_prompt([{"role": "user", "content": "?"}, call, {"role": "tool", "content": "7"}])
    assert (query, history) == ("?", ())


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("a", "a"), (["a", "b"], "a"), ([1, 2], ""), ([[1], [2]], ""), (None, ""), ("", ""), ([], ""), ("a\0", "a\ufffd")],
)
def test_a_plain_prompt_is_read_as_far_as_it_is_text(prompt: object, text: str) -> None:
    assert read_plain_prompt(prompt) == text


@pytest.mark.parametrize("prompt", [7, {"a": 1}, [{"a": 1}], [None]])
def test_what_is_no_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(PromptError):
        read_plain_prompt(prompt)
