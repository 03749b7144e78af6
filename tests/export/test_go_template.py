from __future__ import annotations

import json
import random
from typing import Any

import pytest

from flytewheel.export.go_template import WHITE_SPACE, quote_go, write_go_template
from flytewheel.export.turns import measure_turns
from tests.export.chat_templates import FITTING, LLAMA3, make_tokenizer, render
from tests.export.go_golden import GO, GOLDEN, TALKS, list_jobs, run_go
from tests.export.go_renderer import GoError, GoTemplate

TOKENIZERS = {name: make_tokenizer(template) for name, template in FITTING.items()}
TEMPLATES = {name: write_go_template(measure_turns(tokenizer)) for name, tokenizer in TOKENIZERS.items()}
VECTORS: dict[str, Any] = json.loads(GOLDEN.read_text())["vectors"]


def say(talk: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in talk]


def test_the_vectors_are_of_these_templates_and_conversations() -> None:
    """Else: `python -m tests.export.go_golden`, where Go is installed."""
    assert json.loads(GOLDEN.read_text())["talks"] == [[list(turn) for turn in talk] for talk in TALKS]
    assert {name: vector["template"] for name, vector in VECTORS.items()} == TEMPLATES


@pytest.mark.parametrize("name", FITTING)
def test_what_go_rendered_is_what_the_tokenizer_renders(name: str) -> None:
    """But for two questions in a row, which Ollama joins, and what the chat template refuses."""
    seen = 0
    for talk, result in zip(TALKS, VECTORS[name]["rendered"], strict=True):
        if "error" in result:
            continue
        roles = [role for role, _ in talk]
        if roles == ["user", "user"]:
            talk = [("user", "\n\n".join(content for _, content in talk))]
        assert result["text"] == render(TOKENIZERS[name], talk), talk
        seen += 1
    assert seen >= 5


@pytest.mark.parametrize("name", FITTING)
def test_what_a_chat_template_refuses_go_refuses_with_the_reason(name: str) -> None:
    errors = [result.get("error", "") for result in VECTORS[name]["rendered"]]
    assert "only turns of system, user and assistant" in errors[TALKS.index([("tool", "none")])]
    takes_system = name not in {"mistral", "gemma2"}
    assert ("takes no turn of system here" in errors[1]) is not takes_system


@pytest.mark.parametrize("name", FITTING)
def test_our_small_renderer_renders_what_go_rendered(name: str) -> None:
    template = GoTemplate(TEMPLATES[name])
    for talk, result in zip(TALKS, VECTORS[name]["rendered"], strict=True):
        if "error" in result:
            with pytest.raises(GoError):
                template.render(say(talk))
        else:
            assert template.render(say(talk)) == result["text"]


def draw_talks(seed: int, count: int) -> list[list[tuple[str, str]]]:
    drawn = random.Random(seed)
    bits = [*WHITE_SPACE, "a", "é", "你", "🙂", "{{", "}}", '"', "`", "\\", "{%", "\u200b", "\0", "word"]
    talks = []
    for _ in range(count):
        roles = ["system"] * drawn.randint(0, 1) + (["user", "assistant"] * drawn.randint(1, 6))[:-1]
        talks.append([(role, "".join(drawn.choices(bits, k=drawn.randint(0, 9)))) for role in roles])
    return talks


@pytest.mark.parametrize("name", FITTING)
def test_drawn_conversations_through_our_renderer(name: str) -> None:
    template, tokenizer = GoTemplate(TEMPLATES[name]), TOKENIZERS[name]
    for talk in draw_talks(7, 60):
        if talk[0][0] == "system" and name in {"mistral", "gemma2"}:
            talk = talk[1:]
        assert template.render(say(talk)) == render(tokenizer, talk)


@pytest.mark.skipif(GO is None, reason="Go is not installed (apt-get install golang-go): the vectors stand in for it")
def test_drawn_conversations_through_go_itself() -> None:
    jobs, expected = [], []
    for name, template in TEMPLATES.items():
        assert [result.get("text") for result in VECTORS[name]["rendered"]]
        for talk in draw_talks(11, 40):
            if talk[0][0] == "system" and name in {"mistral", "gemma2"}:
                talk = talk[1:]
            jobs.append({"template": template, "messages": say(talk)})
            expected.append({"text": render(TOKENIZERS[name], talk)})
        jobs += list_jobs(template)
        expected += VECTORS[name]["rendered"]
    wide = [("user", " \u3000" * 9_000 + "far" + "\n\xa0" * 9_000)]
    jobs.append({"template": TEMPLATES["llama3"], "messages": say(wide)})
    expected.append({"text": render(TOKENIZERS["llama3"], wide)})
    assert run_go(jobs) == expected


def test_a_text_of_any_kind_stands_in_a_template() -> None:
    letters = [chr(code) for code in (*range(0x180), 0x200B, 0x2028, 0xFEFF, 0xFFFD, 0x1F642)]
    odd = "".join(letters) + '{{ x }} """ {{/* no */}} {' + '"'
    assert json.loads(quote_go(odd.replace("🙂", ""))) == odd.replace("🙂", "")
    tokenizer = make_tokenizer("{{ " + json.dumps(odd, ensure_ascii=False).replace("\\u", "\\U0000") + " }}" + LLAMA3)
    text = write_go_template(measure_turns(tokenizer))
    assert all(" " <= letter <= "~" or letter == "\n" or letter.isprintable() for letter in text)
    assert '"""' not in text.replace(r"\"", "")
    talk = [("user", "Hi")]
    assert GoTemplate(text).render(say(talk)) == render(tokenizer, talk)
    if GO is not None:
        assert run_go([{"template": text, "messages": say(talk)}]) == [{"text": render(tokenizer, talk)}]


def test_white_space_is_all_that_a_text_is_stripped_of() -> None:
    assert set(WHITE_SPACE) == {chr(code) for code in range(0x110000) if not chr(code).strip()}
