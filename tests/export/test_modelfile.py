from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import ExportError
from flytewheel.export.modelfile import MAX_CONTEXT, adds_start_token, find_stops, read_generation, write_modelfile
from flytewheel.export.turns import measure_turns
from flytewheel.export.vocabulary import write_vocabulary
from flytewheel.modelfile import read_modelfile
from tests.export.chat_templates import CHATML, FITTING, LLAMA2, LLAMA3, QWEN2, QWEN3, UNFIT, make_tokenizer, render
from tests.export.go_renderer import GoTemplate

TALK = [("system", "Be brief.\n"), ("user", " two  spaces "), ("assistant", "Fine."), ("user", "{{ .Content }}?")]


def write(path: Path, tokenizer: Any, **options: Any) -> str:
    given: dict[str, Any] = {"model_file": "m.gguf", "context_tokens": 1024}
    write_modelfile(path / "Modelfile", tokenizer=tokenizer, **(given | options))
    return (path / "Modelfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FITTING)
def test_the_template_line_renders_what_the_chat_template_renders(name: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(FITTING[name])
    template = read_modelfile(write(tmp_path, tokenizer)).template
    assert template is not None
    talk = TALK if name not in {"mistral", "gemma2"} else TALK[1:]
    messages = [{"role": role, "content": content} for role, content in talk]
    assert GoTemplate(template).render(messages) == render(tokenizer, talk)


@pytest.mark.parametrize("template", UNFIT)
def test_where_no_steps_fit_there_is_no_template_line_but_the_reason(template: str, tmp_path: Path) -> None:
    text = write(tmp_path, make_tokenizer(template))
    assert read_modelfile(text).template is None
    assert re.search(r"^# No TEMPLATE: the chat template \w+ .*, which Go cannot be told here", text, re.MULTILINE)


def test_what_thoughts_become_is_said(tmp_path: Path) -> None:
    assert "# TEMPLATE renders plain conversations, no tools; earlier answers that hold <think>" in write(
        tmp_path, make_tokenizer(QWEN3)
    )


def test_the_other_lines(tmp_path: Path) -> None:
    text = write(
        tmp_path,
        make_tokenizer(CHATML),
        model_file="model-Q8_0.gguf",
        context_tokens=131072,
        system='Say "hi" to everyone.',
        generation={"temperature": 0.7, "top_k": 20, "repetition_penalty": 1.05, "do_sample": True, "top_p": None},
        adapters=["adapter.gguf"],
    )
    lines = text.splitlines()
    assert lines[:2] == ["FROM ./model-Q8_0.gguf", "ADAPTER ./adapter.gguf"]
    assert 'SYSTEM """Say "hi" to everyone."""' in lines
    assert lines[-5:] == [
        'PARAMETER stop "<|im_end|>"',
        f"PARAMETER num_ctx {MAX_CONTEXT}",
        "PARAMETER temperature 0.7",
        "PARAMETER top_k 20",
        "PARAMETER repeat_penalty 1.05",
    ]


def test_ollamas_own_penalty_is_switched_off(tmp_path: Path) -> None:
    assert read_modelfile(write(tmp_path, make_tokenizer(CHATML))).parameters["repeat_penalty"] == 1.0


def test_a_system_text_that_no_modelfile_can_say_is_left_out_and_said(tmp_path: Path) -> None:
    text = write(tmp_path, make_tokenizer(CHATML), system='Three """ quotes.')
    assert "SYSTEM " not in text.replace("No SYSTEM", "")
    assert "# No SYSTEM: the recipe's base.system_prompt" in text


def test_stops_are_the_ends_of_turns_and_all_end_tokens() -> None:
    tokenizer = make_tokenizer(LLAMA3)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<end_of_turn>", "</s>")]
    word = tokenizer("the")["input_ids"][0]  # an end token that is a word would cut every answer that says it
    stops = find_stops(tokenizer, None, {"eos_token_id": [*ends, word, 10**9]})
    assert stops == ["</s>", "<end_of_turn>"]
    assert find_stops(tokenizer, measure_turns(tokenizer), {"eos_token_id": ends[0]}) == [
        "</s>",
        "<end_of_turn>",
        "<|eot_id|>",
    ]
    llama2 = make_tokenizer(LLAMA2)
    assert find_stops(llama2, measure_turns(llama2), {}) == ["</s>"]


def write_vocabulary_only(path: Path, tokenizer: Any, *, adds: bool) -> None:
    """A GGUF without tensors: llama.cpp reads its vocabulary."""
    from gguf import GGUFWriter

    writer: Any = GGUFWriter(str(path), "llama")
    writer.add_context_length(1024)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-6)
    write_vocabulary(writer, tokenizer, len(tokenizer))
    writer.kv_data[0]["tokenizer.ggml.add_bos_token"].value = adds
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("template", [LLAMA3, LLAMA2, QWEN2])
@pytest.mark.parametrize("adds", [False, True])
def test_llama_cpp_reads_the_rendered_text_as_the_tokens_of_training(template: str, adds: bool, tmp_path: Path) -> None:
    """As Ollama does: special tokens are read, and the start token is added where the file says so. One, not two."""
    from llama_cpp import Llama

    path, tokenizer = tmp_path / "model.gguf", make_tokenizer(template)
    write_vocabulary_only(path, tokenizer, adds=adds)
    assert adds_start_token(path) is adds
    text = write(tmp_path, tokenizer, adds_start=adds)
    template_line = read_modelfile(text).template
    if template == QWEN2 and adds:
        assert template_line is None
        assert "begins without <s>, which the file tells its reader to add" in text
        return
    assert template_line is not None
    messages = [{"role": role, "content": content} for role, content in TALK]
    rendered = GoTemplate(template_line).render(messages)
    model = Llama(str(path), vocab_only=True, verbose=False)
    found = model.tokenize(rendered.encode(), add_bos=True, special=True)
    model.close()
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert found == expected
    assert found.count(tokenizer.bos_token_id) == (0 if template == QWEN2 else 1 if template == LLAMA3 else 2)


def test_the_models_own_generation_config_is_read(tmp_path: Path) -> None:
    assert read_generation(tmp_path) == {}
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6, "eos_token_id": [1, 2]}')
    assert read_generation(tmp_path) == {"temperature": 0.6, "eos_token_id": [1, 2]}
    for text in ("[]", "{"):
        (tmp_path / "generation_config.json").write_text(text)
        with pytest.raises(ExportError, match="generation_config"):
            read_generation(tmp_path)
