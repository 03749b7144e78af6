"""The tokenizer as GGUF metadata: tokens, merges, special ids, the split pattern's name, and the chat template.

llama.cpp does not read a tokenizer's split pattern: it knows a list of names, and a wrong name gives other tokens
without a word. So the pattern itself is looked up here, and one that is not in the table is refused. Two names share
Llama 3's pattern: `llama-bpe` also takes a word that is a token as that token (`ignore_merges`), `dbrx` applies
merges only; the tokenizer says which it does.

llama.cpp adds no token of its own to what the chat template writes (`add_bos_token` false): training rendered the
template and tokenised it as it stood, and a template that writes its own start token would get two.
"""

from __future__ import annotations

import json
import re
from typing import Any

from flytewheel.errors import ExportError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_SPLIT = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
QWEN2_SPLIT = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"

# What the pre-tokenizer does, step by step → llama.cpp's name for it; and whether that name ignores merges.
_NAMES: dict[tuple[str, ...], dict[bool, str]] = {
    (f"split {LLAMA3_SPLIT}", "bytes"): {True: "llama-bpe", False: "dbrx"},
    (f"split {QWEN2_SPLIT}", "bytes"): {False: "qwen2"},
    ("words and bytes",): {False: "gpt-2"},
    ("single digits", "words and bytes"): {False: "smollm"},
}
_GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")


def find_pre_tokenizer(tokenizer: Any) -> str:
    """llama.cpp's name for the way the tokenizer splits text before merging.

    Raises:
        ExportError: it is no byte-level BPE, or splits in a way that llama.cpp has no known name for.
    """
    raw = _read_raw(tokenizer)
    steps = tuple(_describe_step(step) for step in _flatten(raw.get("pre_tokenizer")))
    ignores = bool(raw["model"].get("ignore_merges"))
    name = _NAMES.get(steps, {}).get(ignores)
    if name is None:
        raise ExportError(
            f"the tokenizer splits text in a way that has no known name in llama.cpp ({' → '.join(steps)[:200]}; "
            f"ignore_merges {ignores}); take a base with the split pattern of Llama 3, Qwen 2, SmolLM or GPT-2"
        )
    return name


def plain_template(tokenizer: Any) -> str:
    """The chat template without `generation` marks, which only transformers knows; it renders the same text.

    The marks become `if true`, because a tag in their place also keeps what they did to the white space around them.
    """
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()))
    return _GENERATION.sub(lambda found: f"{{%{found[1]} {'endif' if found[2] else 'if true'} {found[3]}%}}", template)


def write_vocabulary(writer: Any, tokenizer: Any, size: int) -> str:
    """Writes the tokenizer into a `gguf.GGUFWriter`; returns the name of its pre-tokenizer.

    Args:
        writer: Before its header is written.
        tokenizer: A fast byte-level BPE tokenizer of transformers.
        size: Rows of the model's embedding; ids without a token are filled up with unused ones.

    Raises:
        ExportError: the tokenizer is not one that llama.cpp can be told about, or has more tokens than the model.
    """
    from gguf import TokenType

    pre = find_pre_tokenizer(tokenizer)
    raw = _read_raw(tokenizer)
    by_id = {index: token for token, index in tokenizer.get_vocab().items()}
    if by_id and max(by_id) >= size:
        raise ExportError(
            f"the tokenizer has a token {max(by_id)}, but the model only {size} embeddings; they do not match"
        )
    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    for index in range(size):
        if index not in by_id:
            tokens.append(f"[PAD{index}]")
            types.append(TokenType.UNUSED)
            continue
        tokens.append(by_id[index])
        if index in added:
            types.append(TokenType.CONTROL if added[index].special else TokenType.USER_DEFINED)
        else:
            types.append(TokenType.NORMAL)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in raw["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    for kind in ("bos", "eos", "unk", "pad"):
        index = getattr(tokenizer, f"{kind}_token_id")
        if index is not None:
            getattr(writer, f"add_{kind}_token_id")(index)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(plain_template(tokenizer))
    return pre


def _read_raw(tokenizer: Any) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    raw: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    model = raw.get("model") or {}
    if (
        model.get("type") != "BPE"
        or model.get("byte_fallback")
        or (raw.get("decoder") or {}).get("type") != "ByteLevel"
    ):
        raise ExportError(
            f"the tokenizer is {model.get('type', type(tokenizer).__name__)!r} without a byte-level alphabet: "
            "only byte-level BPE (Llama 3, Qwen, SmolLM, GPT-2) can be exported; take such a base"
        )
    return raw


def _flatten(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [inner for outer in step["pretokenizers"] for inner in _flatten(outer)]
    return [step]


def _describe_step(step: dict[str, Any]) -> str:
    if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"] and "Regex" in step["pattern"]:
        return f"split {step['pattern']['Regex']}"
    if step["type"] == "ByteLevel" and not step["add_prefix_space"]:
        return "words and bytes" if step["use_regex"] else "bytes"
    if step["type"] == "Digits" and step["individual_digits"]:
        return "single digits"
    return json.dumps(step, sort_keys=True)
