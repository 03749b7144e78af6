from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from flytewheel.errors import ExportError
from flytewheel.export.vocabulary import LLAMA3_SPLIT, QWEN2_SPLIT, find_pre_tokenizer, plain_template
from flytewheel.models import POCKET


def byte_level(*steps: Any, ignore_merges: bool = False) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")], ignore_merges=ignore_merges))
    raw.pre_tokenizer = pre_tokenizers.Sequence(list(steps))
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw)


def split(pattern: str, behavior: str = "isolated") -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior)


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WORDS = pre_tokenizers.ByteLevel(add_prefix_space=False)


@pytest.mark.parametrize(
    ("steps", "ignore_merges", "name"),
    [
        ((split(LLAMA3_SPLIT), BYTES), True, "llama-bpe"),
        ((split(LLAMA3_SPLIT), BYTES), False, "dbrx"),
        ((split(QWEN2_SPLIT), BYTES), False, "qwen2"),
        ((WORDS,), False, "gpt-2"),
        ((pre_tokenizers.Digits(individual_digits=True), WORDS), False, "smollm"),
    ],
)
def test_known_split_patterns_have_a_name(steps: tuple[Any, ...], ignore_merges: bool, name: str) -> None:
    assert find_pre_tokenizer(byte_level(*steps, ignore_merges=ignore_merges)) == name


def test_the_patterns_are_those_of_the_originals() -> None:
    # As published in the tokenizer.json of Llama 3 and of Qwen 2.
    assert LLAMA3_SPLIT == (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    assert LLAMA3_SPLIT.replace("{1,3}", "") == QWEN2_SPLIT


@pytest.mark.parametrize(
    "steps",
    [
        (split(r"\p{L}+"), BYTES),
        (split(LLAMA3_SPLIT, "removed"), BYTES),
        (pre_tokenizers.ByteLevel(add_prefix_space=True),),
        (split(LLAMA3_SPLIT), WORDS),
        (),
    ],
)
def test_an_unknown_split_is_refused_in_one_line(steps: tuple[Any, ...]) -> None:
    with pytest.raises(ExportError, match=r"no known name in llama\.cpp") as raised:
        find_pre_tokenizer(byte_level(*steps))
    assert "\n" not in str(raised.value)


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    raw = Tokenizer(models.Unigram([("a", 0.0)]))
    with pytest.raises(ExportError, match="only byte-level BPE"):
        find_pre_tokenizer(PreTrainedTokenizerFast(tokenizer_object=raw))


def test_a_template_without_generation_marks_renders_the_same() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(Path(POCKET))
    talk = [{"role": role, "content": f"{role} text"} for role in ("system", "user", "assistant", "user")]
    marked = (
        "{% for m in messages %}\n  {%- if m.role == 'assistant' %}  {%- generation -%}  {{ m.content }}\n"
        "{% endgeneration %}\n tail\n{% else %}[{{ m.content }}]\n{% endif %}{% endfor %}"
    )
    for template in (tokenizer.chat_template, marked):
        tokenizer.chat_template = template
        before = tokenizer.apply_chat_template(talk, tokenize=False)
        tokenizer.chat_template = plain_template(tokenizer)
        assert "generation %" not in tokenizer.chat_template
        assert "generation -%" not in tokenizer.chat_template
        assert tokenizer.apply_chat_template(talk, tokenize=False) == before
