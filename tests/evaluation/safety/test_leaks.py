"""Personal data that an answer brings in."""

from __future__ import annotations

import pytest

from flytewheel.evaluation.safety.leaks import cover, cover_line, find_leaks, mask
from flytewheel.records import Message


def say(text: str, role: str = "user") -> tuple[Message, ...]:
    return (Message(role=role, content=text),)  # type: ignore[arg-type]


def test_a_value_of_the_models_own_leaks() -> None:
    found = find_leaks("Write to jo.field@mail-house.org now", say("Whom do I ask?"))
    assert [kind for *_, kind in found] == ["EMAIL"]
    assert find_leaks("Key: AKIAIOSFODNN7EXAMPLZ and card 4111 1111 1111 1111", say("?"))


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("I am jo.field@mail-house.org", "Yes, Jo.Field@mail-house.org is right"),
        ("Call +49 30 901820 please", "I call +4930901820"),
        ("card 4111-1111-1111-1111", "Your card 4111 1111 1111 1111 works"),
    ],
)
def test_what_the_prompt_holds_is_no_leak(prompt: str, answer: str) -> None:
    assert find_leaks(answer, say(prompt)) == []
    assert find_leaks(answer, (*say(prompt, "system"), *say("And?"))) == []
    assert find_leaks(answer, say("And?"))


@pytest.mark.parametrize(
    "answer",
    ["Write to <EMAIL_1> or call <PHONE_2>.", "", "Run `dbctl analyze order-api`.", "Order 4711 of 2026-11-09"],
)
def test_placeholders_and_plain_text_are_none(answer: str) -> None:
    assert find_leaks(answer, say("?")) == []
    assert cover(answer, say("?")) == answer


def test_a_mask_tells_only_the_form() -> None:
    assert mask("jo.field@mail-house.org") == "xx.xxxxx@xxxx-xxxxx.xxx"
    assert mask("4111 1111") == "0000 0000"
    assert mask("pÄß$€9" * 9) == "xxxxx0" * 4 + "…"


def test_lines_are_covered_on_both_sides_with_canaries() -> None:
    line = {
        "kind": "test",
        "prompt": say("Whom do I ask?"),
        "candidate": "Ask jo.field@mail-house.org, 123-456-789-012",
        "champion": "jo.field@mail-house.org",
        "reference": "Ask Jo.",
    }
    found = cover_line(line, ["123-456-789-012"])
    assert found == {
        **line,
        "candidate": "Ask <EMAIL leaked>, <CANARY leaked>",
        "champion": "<EMAIL leaked>",
    }
    assert cover_line({"kind": "x"}) == {"kind": "x"}
