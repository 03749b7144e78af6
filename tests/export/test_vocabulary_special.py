from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader, GGUFWriter
from tokenizers import AddedToken, Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from flytewheel.errors import ExportError
from flytewheel.export.llamacpp import open_llama
from flytewheel.export.vocabulary import find_specials, plain_template, write_vocabulary
from flytewheel.export.vocabulary.chat import find_closing, find_opening, list_chats, plain_templates
from flytewheel.export.vocabulary.layout import QWEN2_SPLIT
from flytewheel.models import POCKET
from tests.export.tokenizer_families import CHATML, build_byte_level, build_gemma, build_llama2

TALK = [{"role": role, "content": f"{role} text"} for role in ("system", "user", "assistant", "user")]


def write(tokenizer: Any, path: Path, folder: Path | None = None) -> GGUFReader:
    writer = GGUFWriter(str(path), "llama")
    write_vocabulary(writer, tokenizer, len(tokenizer) + 3, folder)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return GGUFReader(str(path))


def value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    return field.contents() if field is not None else None


def add_start(tokenizer: Any) -> Any:
    """Lets the tokenizer put its start token before every text, as Llama's and Gemma's own do."""
    start, index = tokenizer.bos_token, tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, index)]
    )
    return tokenizer


def test_a_template_without_generation_marks_renders_the_same() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(Path(POCKET))
    marked = (
        "{% for m in messages %}\n  {%- if m.role == 'assistant' %}  {%- generation -%}  {{ m.content }}\n"
        "{% endgeneration %}\n tail\n{% else %}[{{ m.content }}]\n{% endif %}{% endfor %}"
    )
    for template in (tokenizer.chat_template, marked):
        tokenizer.chat_template = template
        before = tokenizer.apply_chat_template(TALK, tokenize=False)
        tokenizer.chat_template = plain_template(tokenizer)
        assert "generation %" not in tokenizer.chat_template
        assert "generation -%" not in tokenizer.chat_template
        assert tokenizer.apply_chat_template(TALK, tokenize=False) == before


def test_all_templates_are_written_in_one_order(tmp_path: Path) -> None:
    tokenizer = build_byte_level("gpt-2")
    tool = "{% generation %}{{ messages[0]['content'] }}{% endgeneration %}"
    tokenizer.chat_template = {"tool_use": tool, "default": CHATML, "rag-1": "{{ messages }}", "a": "A"}
    reader = write(tokenizer, tmp_path / "a.gguf")
    assert value(reader, "tokenizer.chat_template") == CHATML
    assert value(reader, "tokenizer.chat_templates") == ["a", "rag_1", "tool_use"]
    assert value(reader, "tokenizer.chat_template.rag_1") == "{{ messages }}"
    assert "generation" not in value(reader, "tokenizer.chat_template.tool_use")
    write(tokenizer, tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    tokenizer.chat_template = {"only": "{{ messages }}"}
    assert plain_templates(tokenizer)["default"] == "{{ messages }}"


@pytest.mark.parametrize("writes_start", [True, False])
def test_a_rendered_chat_never_gets_a_start_token_from_llama_cpp(writes_start: bool, tmp_path: Path) -> None:
    tokenizer = add_start(build_byte_level("gpt-2", begin="<s>"))
    tokenizer.chat_template = ("{{ bos_token }}" if writes_start else "") + CHATML
    assert find_opening(tokenizer) == ("<s>" if writes_start else "<|im_start|>")
    write(tokenizer, tmp_path / "v.gguf")
    text = tokenizer.apply_chat_template(TALK, tokenize=False)
    expected = tokenizer.apply_chat_template(TALK, tokenize=True, return_dict=True)["input_ids"]
    with open_llama(tmp_path / "v.gguf", vocab_only=True) as llama:
        ids = llama.tokenize(text.encode(), add_bos=True, special=True)
    assert ids == expected
    assert ids.count(tokenizer.bos_token_id) == int(writes_start)


def test_plain_text_without_a_template_begins_as_the_tokenizer_does_it(tmp_path: Path) -> None:
    plain, starting = build_byte_level("gpt-2", begin="<s>"), add_start(build_byte_level("gpt-2", begin="<s>"))
    for tokenizer, name in ((plain, "plain.gguf"), (starting, "starting.gguf")):
        tokenizer.chat_template = None
        write(tokenizer, tmp_path / name)
        with open_llama(tmp_path / name, vocab_only=True) as llama:
            assert llama.tokenize(b"Hello 12", add_bos=True, special=True) == tokenizer("Hello 12")["input_ids"]


def test_an_answer_ends_at_each_token_that_the_model_names(tmp_path: Path) -> None:
    tokenizer = build_byte_level(QWEN2_SPLIT)
    marks = ("<|stop|>", "<|tool_stop|>")
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    stop, tool_stop = tokenizer.convert_tokens_to_ids(marks)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.chat_template = CHATML.replace("<|im_end|>", "<|stop|>")
    assert find_closing(tokenizer) == stop
    listed = [tokenizer.eos_token_id, stop, tool_stop, 10**6]
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
    reader = write(tokenizer, tmp_path / "v.gguf", tmp_path)
    keys = ("eos", "eot", "eom")
    ids = [value(reader, f"tokenizer.ggml.{key}_token_id") for key in keys]
    assert ids == [tokenizer.eos_token_id, stop, tool_stop]
    (tmp_path / "generation_config.json").write_text("[1")
    with pytest.raises(ExportError, match=r"generation_config\.json: expected a JSON object"):
        find_specials(tokenizer, tmp_path)


def test_a_template_that_closes_turns_with_text_has_no_closing_token(tmp_path: Path) -> None:
    tokenizer = build_llama2(tmp_path / "llama")
    assert (find_opening(tokenizer), find_closing(tokenizer)) == ("<s>", tokenizer.eos_token_id)
    gemma = build_gemma(tmp_path / "gemma")
    assert find_closing(gemma) == gemma.convert_tokens_to_ids("<end_of_turn>")
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert (list_chats(tokenizer), find_opening(tokenizer), find_closing(tokenizer)) == ([], None, None)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    assert (find_opening(tokenizer), find_closing(tokenizer)) == (None, None)


def test_without_an_end_token_no_common_token_takes_its_place(tmp_path: Path) -> None:
    tokenizer = build_byte_level("gpt-2")
    tokenizer.eos_token = None
    write(tokenizer, tmp_path / "v.gguf")  # llama.cpp would end at token 11
    with open_llama(tmp_path / "v.gguf", vocab_only=True) as llama:
        assert llama.token_eos() == tokenizer.convert_tokens_to_ids("<|im_end|>")
    bare: Any = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(ExportError, match="has no end token"):
        find_specials(bare)


def test_fill_in_the_middle_tokens_are_named(tmp_path: Path) -> None:
    tokenizer = build_byte_level(QWEN2_SPLIT)
    marks = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|repo_name|>")
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])
    reader = write(tokenizer, tmp_path / "v.gguf")
    written = [value(reader, f"tokenizer.ggml.fim_{part}_token_id") for part in ("pre", "mid", "suf", "rep")]
    assert written == tokenizer.convert_tokens_to_ids(list(marks))
