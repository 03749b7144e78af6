from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from flytewheel.export.modelfile import MAX_CONTEXT, measure_turns, write_modelfile
from flytewheel.models import POCKET

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAST_TURN_ONLY = "{{ messages[-1]['content'] }}{% if add_generation_prompt %} Answer:{% endif %}"
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m['role'] }}]{{ m['content'] }}{% endfor %}[assistant]"
)
BRACES = "{% for m in messages %}{{ '{{' + m['role'] + '}}' + m['content'] }}{% endfor %}"


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(POCKET)


def render_go(template: str, talk: list[tuple[str, str]]) -> str:
    """Runs the few constructs of Go's text/template that `to_go` writes: range, if, else if, eq, end, .Content."""
    opening, rest = template.split("{{ range .Messages }}")
    body, reply = rest.split("{{ end }}{{ end }}")
    found = re.findall(r'\{\{ (?:else )?if eq \.Role "(\w+)" \}\}(.*?)(?=\{\{ else if|\Z)', body, flags=re.DOTALL)
    branches = dict(found)
    assert len(branches) == 3
    return opening + "".join(branches[role].replace("{{ .Content }}", content) for role, content in talk) + reply


TALKS = [
    [("user", "Hi")],
    [("system", "Be brief.\n"), ("user", " two  spaces "), ("assistant", "Fine."), ("user", "{{ .Content }}?")],
]


@pytest.mark.parametrize("template", [None, LLAMA3])
def test_the_go_template_renders_what_the_chat_template_renders(
    tokenizer: PreTrainedTokenizerFast, template: str | None, tmp_path: Path
) -> None:
    if template:
        tokenizer.chat_template = template
        tokenizer.add_special_tokens({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"})
    write_modelfile(tmp_path / "Modelfile", model_file="m.gguf", tokenizer=tokenizer, context_tokens=1024)
    text = (tmp_path / "Modelfile").read_text()
    found = re.search(r'TEMPLATE """(.*?)"""', text, flags=re.DOTALL)
    assert found
    for talk in TALKS:
        messages = [{"role": role, "content": content} for role, content in talk]
        expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert render_go(found[1], talk) == expected


def test_the_turns_of_llama_3_are_cut_where_they_end(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = LLAMA3
    tokenizer.add_special_tokens({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"})
    turns = measure_turns(tokenizer)
    assert turns is not None
    assert turns.opening == "<|begin_of_text|>"
    assert turns.heads["user"] == "<|start_header_id|>user<|end_header_id|>\n\n"
    assert set(turns.tails.values()) == {"<|eot_id|>"}


@pytest.mark.parametrize("template", [DEFAULT_SYSTEM, LAST_TURN_ONLY, NO_SYSTEM, BRACES])
def test_a_template_that_does_more_than_turns_gets_no_template_line(
    tokenizer: PreTrainedTokenizerFast, template: str, tmp_path: Path
) -> None:
    tokenizer.chat_template = template
    assert measure_turns(tokenizer) is None
    write_modelfile(tmp_path / "Modelfile", model_file="m.gguf", tokenizer=tokenizer, context_tokens=1024)
    text = (tmp_path / "Modelfile").read_text()
    assert "TEMPLATE " not in text.replace("No TEMPLATE", "")
    assert "# No TEMPLATE" in text


def test_the_other_lines(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    write_modelfile(path, model_file="model-Q8_0.gguf", tokenizer=tokenizer, context_tokens=131072, system='Say "hi".')
    lines = path.read_text().splitlines()
    assert lines[0] == "FROM ./model-Q8_0.gguf"
    assert 'SYSTEM """Say "hi"."""' in lines or 'SYSTEM """Say "hi".\n"""' in path.read_text()
    assert lines[-2:] == ['PARAMETER stop "<|im_end|>"', f"PARAMETER num_ctx {MAX_CONTEXT}"]
