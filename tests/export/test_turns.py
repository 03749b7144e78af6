from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.export.go_template import write_go_template
from flytewheel.export.turns import Turns, UnfitError, measure_turns
from tests.export.chat_templates import (
    FITTING,
    GEMMA2,
    LLAMA2,
    LLAMA3,
    PHI,
    QWEN2,
    QWEN3,
    UNFIT,
    make_tokenizer,
    render,
)
from tests.export.go_renderer import GoTemplate

TOKENIZERS = {name: make_tokenizer(template) for name, template in FITTING.items()}
TURNS = {name: measure_turns(tokenizer) for name, tokenizer in TOKENIZERS.items()}

contents = st.text(st.sampled_from(" \n\t\r\u3000\xa0\u2003\x85\x1c\u200b{}%\"'`\\<>[]/aZé你🙂"), max_size=12)


@st.composite
def talks(draw: st.DrawFn) -> list[tuple[str, str]]:
    """None or one system turn, then questions and answers, a question last."""
    questions = draw(st.integers(1, 8))
    roles = (["system"] if draw(st.booleans()) else []) + (["user", "assistant"] * questions)[:-1]
    return [(role, draw(contents)) for role in roles]


@pytest.mark.parametrize("name", FITTING)
@settings(max_examples=60, deadline=None)
@given(talk=talks())
def test_what_was_measured_renders_what_the_tokenizer_renders(name: str, talk: list[tuple[str, str]]) -> None:
    turns = TURNS[name]
    try:
        expected = render(TOKENIZERS[name], talk)
    except Exception:  # the template's own refusal, of a system turn
        with pytest.raises(UnfitError, match="takes no system turn after nothing"):
            turns.render(talk)
        return
    assert turns.render(talk) == expected


@pytest.mark.parametrize(("template", "said"), UNFIT.items())
def test_a_template_that_does_more_is_unfit_and_the_reason_is_said(template: str, said: str) -> None:
    with pytest.raises(UnfitError, match=said):
        measure_turns(make_tokenizer(template))


def test_the_steps_of_llama_3() -> None:
    turns = measure_turns(make_tokenizer(LLAMA3))
    first, later = turns.steps["", "user"], turns.steps["assistant", "user"]
    assert first.text == "<s><|start_header_id|>user<|end_header_id|>\n\n"
    assert later.text == "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    assert (first.strip_left, first.strip_right) == (True, True)
    assert turns.endings["user"] == "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    assert len(turns.steps) == 9  # each role after nothing and after each other one


def test_a_default_system_turn_is_the_step_into_the_first_question() -> None:
    turns = measure_turns(make_tokenizer(QWEN2))
    assert turns.steps["", "user"].text == ('<|im_start|>system\nYou "help" {{kindly}}.<|im_end|>\n<|im_start|>user\n')
    assert turns.steps["system", "user"].text == "<|im_end|>\n<|im_start|>user\n"


def test_of_a_folded_turn_only_the_end_is_stripped_and_the_rest_through() -> None:
    turns = measure_turns(make_tokenizer(LLAMA2))
    folded, plain = turns.steps["system", "user"], turns.steps["", "user"]
    assert (folded.text, folded.strip_left, folded.strip_right, folded.through) == (
        "\n<</SYS>>\n\n",
        False,
        True,
        True,
    )
    assert (plain.strip_left, plain.strip_right, plain.through) == (True, True, False)


def test_what_a_template_refuses_or_drops_is_known() -> None:
    assert ("", "system") not in measure_turns(make_tokenizer(GEMMA2)).steps
    assert measure_turns(make_tokenizer(PHI)).drops_system
    assert "<think>" in measure_turns(make_tokenizer(QWEN3)).caveats[0]
    assert measure_turns(make_tokenizer(LLAMA3)).caveats == ()


def test_a_start_token_is_taken_off_where_it_stands_and_missed_where_not() -> None:
    turns = measure_turns(make_tokenizer(LLAMA3)).without_start("<s>")
    assert turns.steps["", "system"].text.startswith("<|start_header_id|>")
    assert turns.steps["assistant", "user"].text.startswith("<|eot_id|>")
    with pytest.raises(UnfitError, match="begins without <s>"):
        measure_turns(make_tokenizer(QWEN2)).without_start("<s>")


REAL = (
    "google-gemma-2-2b-it",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.3-70B-Instruct",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
)


@pytest.mark.skipif(
    not os.environ.get("LLAMA_CPP_SOURCE"),
    reason="LLAMA_CPP_SOURCE names no folder: pip download --no-binary :all: --no-deps llama-cpp-python, unpack, "
    "give vendor/llama.cpp",
)
@pytest.mark.parametrize("name", REAL)
@settings(max_examples=60, deadline=None)
@given(talk=talks())
def test_the_families_own_templates(name: str, talk: list[tuple[str, str]]) -> None:
    """Extended: with the templates that the models bring; the repository holds none of them."""
    tokenizer, turns = _measure_real(name)
    try:
        expected = render(tokenizer, talk)
    except Exception:  # Gemma 2 refuses a system turn
        with pytest.raises(UnfitError, match="takes no system turn after nothing"):
            turns.render(talk)
        return
    assert turns.render(talk) == expected
    messages = [{"role": role, "content": content} for role, content in talk]
    assert GoTemplate(write_go_template(turns)).render(messages) == expected


@cache
def _measure_real(name: str) -> tuple[Any, Turns]:
    folder = Path(os.environ["LLAMA_CPP_SOURCE"]) / "models" / "templates"
    tokenizer = make_tokenizer((folder / f"{name}.jinja").read_text(encoding="utf-8"))
    return tokenizer, measure_turns(tokenizer)
