"""The ways in which a tokenizer could be written for llama.cpp: tokens, kinds, merges or scores, and names to try.

llama.cpp reads no `tokenizer.json`. It has a tokenizer for byte-level BPE (`gpt2`) that knows some forty ways to split
text by name, and one for SentencePiece (`llama`) that knows scores of tokens and no merges: it joins any two
neighbours that make a token, the best score first. Scores come from `tokenizer.model` where it lies beside; else the
rank of a token's first merge stands for them, which joins in the same order. Where a tokenizer has pairs that make a
token and yet are no merge (one trained by `tokenizers` itself), that is not the same; then byte-level BPE's sister for
pieces is tried, which keeps the merges but splits at line ends (`sarvam-moe`, after the model that it was made for).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError

# One name for each way to split and to merge that llama.cpp 0.3.36's release knows; further names do the same.
# Common ones first: where several give the same tokens, the first is taken.
BYTE_NAMES = (
    "llama-bpe", "qwen2", "gpt-2", "smollm", "dbrx", "tekken", "gpt-4o", "qwen35", "deepseek-v3", "deepseek-llm",
    "deepseek-coder", "falcon", "minicpm5", "seed-coder", "bailingmoe", "poro-chat", "viking", "jais-2", "chameleon",
    "granite-embed-multi-97m", "tiny_aya", "youtu", "spark2_5", "ufakzeka", "afmoe", "laguna", "exaone-moe", "kimi-k2",
    "superbpe", "default",
)  # fmt: skip
PIECES_NAME = "default"
MERGED_PIECES_NAME = "sarvam-moe"
SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # gguf.TokenType
_BYTES = {f"<0x{code:02X}>" for code in range(256)}
_OUTSIDE = -1000.0  # score of what no merge makes, as llama.cpp's converter gives it to added tokens

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_SPLIT = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
QWEN2_SPLIT = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
TEKKEN_SPLIT = _CASED + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# What the pre-tokenizer does, step by step → the name to try first, without and with `ignore_merges`.
_GUESSES: dict[tuple[str, ...], tuple[str, str]] = {
    (f"split {LLAMA3_SPLIT}", "bytes"): ("dbrx", "llama-bpe"),
    (f"split {QWEN2_SPLIT}", "bytes"): ("qwen2", "qwen2"),
    (f"split {TEKKEN_SPLIT}", "bytes"): ("tekken", "tekken"),
    ("words and bytes",): ("gpt-2", "gpt-2"),
    ("single digits", "words and bytes"): ("smollm", "smollm"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A tokenizer as llama.cpp holds it: `tokens`, `types` and `scores` by id, `pre` the name of its way to split."""

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...] | None = None
    scores: tuple[float, ...] | None = None
    space_prefix: bool | None = None

    def write(self, writer: Any) -> None:
        """Writes it into a `gguf.GGUFWriter`."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        if self.space_prefix is not None:
            writer.add_add_space_prefix(self.space_prefix)


def read_raw(tokenizer: Any) -> dict[str, Any]:
    """The content of `tokenizer.json`.

    Raises:
        ExportError: it is no BPE that covers every text, by a byte-level alphabet or by tokens for bytes.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    raw: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    model = raw.get("model") or {}
    if model.get("type") != "BPE" or not (_is_byte_level(raw) or model["vocab"].keys() >= _BYTES):
        raise ExportError(
            f"the tokenizer is {model.get('type', type(tokenizer).__name__)!r} without a byte-level alphabet and "
            "without a token for each byte: only BPE with one of the two can be exported (Llama, Mistral, Qwen, "
            "Gemma, SmolLM, GPT-2); take such a base"
        )
    return raw


def list_steps(raw: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """The steps of a tokenizer's `normalizer` or `pre_tokenizer`, sequences flattened."""

    def flatten(step: dict[str, Any] | None) -> list[dict[str, Any]]:
        if step is None:
            return []
        if step["type"] == "Sequence":
            return [inner for outer in step.get("pretokenizers") or step["normalizers"] for inner in flatten(outer)]
        return [step]

    return flatten(raw.get(part))


def list_layouts(raw: dict[str, Any], size: int, folder: Path | None = None) -> Iterator[tuple[Layout, list[Layout]]]:
    """Every layout to try, the likely ones first, in groups that share all but `pre` and `space_prefix`.

    Args:
        raw: Of `read_raw`.
        size: Rows of the model's embedding; ids without a token are filled up with unused ones.
        folder: The model's, looked into for `tokenizer.model`.

    Raises:
        ExportError: there are more tokens than rows, or two tokens that llama.cpp could not tell apart.
    """
    model = raw["model"]
    by_id = {index: token for token, index in model["vocab"].items()}
    by_id |= {token["id"]: token["content"] for token in raw["added_tokens"]}
    if by_id and max(by_id) >= size:
        raise ExportError(
            f"the tokenizer has a token {max(by_id)}, but the model only {size} embeddings; they do not match"
        )
    merges = tuple(merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
    byte_level = _is_byte_level(raw)
    tokens, types = _list_tokens(raw, by_id, size, byte_level=byte_level)
    if byte_level:
        guess = guess_name(raw)
        whole = Layout("gpt2", guess, tokens, types, merges=merges)
        yield whole, [replace(whole, pre=name) for name in sorted(BYTE_NAMES, key=lambda name: name != guess)]
        return
    prefixed = _adds_space(raw)
    for scores in (_read_scores(folder, raw, tokens), _rank_tokens(tokens, merges)):
        if scores is not None:
            whole = Layout("llama", PIECES_NAME, tokens, types, scores=scores, space_prefix=prefixed)
            yield whole, [whole, replace(whole, space_prefix=not prefixed)]
    whole = Layout("gpt2", MERGED_PIECES_NAME, tokens, types, merges=merges)
    yield whole, [whole]


def guess_name(raw: dict[str, Any]) -> str:
    """The name that is tried first: by the steps of the pre-tokenizer, which decide nothing."""
    steps = tuple(_describe_step(step) for step in list_steps(raw, "pre_tokenizer"))
    return _GUESSES.get(steps, BYTE_NAMES[:1] * 2)[bool(raw["model"].get("ignore_merges"))]


def _is_byte_level(raw: dict[str, Any]) -> bool:
    return any(step["type"] == "ByteLevel" for step in list_steps(raw, "pre_tokenizer"))


def _adds_space(raw: dict[str, Any]) -> bool:
    return any(step["type"] == "Prepend" for step in list_steps(raw, "normalizer")) or any(
        step.get("prepend_scheme") in ("always", "first") for step in list_steps(raw, "pre_tokenizer")
    )


def _list_tokens(
    raw: dict[str, Any], by_id: dict[int, str], size: int, *, byte_level: bool
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    added = {token["id"]: token for token in raw["added_tokens"]}
    marks_spaces = any(step["type"] == "Replace" for step in list_steps(raw, "normalizer"))
    unknown = raw["model"].get("unk_token")
    taken = set(by_id.values())
    tokens, types = [], []
    for index in range(size):
        text = by_id.get(index)
        if text is None:
            filler = f"[PAD{index}]"
            tokens.append(filler if filler not in taken else f"[PAD{index}]<|unused|>")
            types.append(UNUSED)
            continue
        kind = NORMAL
        if not byte_level and text == unknown:
            kind = UNKNOWN
        elif index in added:
            kind = CONTROL if added[index]["special"] else USER_DEFINED
            # Such a token is found in text whose spaces are marked already; llama.cpp looks before it marks them.
            spaced = text.replace(SPACE, " ")
            if kind == USER_DEFINED and marks_spaces and added[index]["normalized"] and spaced not in taken:
                text = spaced
        elif not byte_level and text in _BYTES:
            kind = BYTE
        tokens.append(text)
        types.append(kind)
    if len(set(tokens)) < size:  # llama.cpp would end this process
        twice = Counter(tokens).most_common(1)[0][0]
        raise ExportError(f"the tokenizer has two tokens {twice!r}, which llama.cpp cannot tell apart; take another")
    return tuple(tokens), tuple(types)


def _rank_tokens(tokens: tuple[str, ...], merges: tuple[str, ...]) -> tuple[float, ...]:
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", ""), rank)
    return tuple(-float(ranks[token]) if token in ranks else _OUTSIDE - len(merges) for token in tokens)


def _read_scores(folder: Path | None, raw: dict[str, Any], tokens: tuple[str, ...]) -> tuple[float, ...] | None:
    """Scores of `tokenizer.model`; nothing where there is none, or it holds other tokens."""
    path = folder / "tokenizer.model" if folder is not None else None
    if path is None or not path.is_file():
        return None
    import sentencepiece

    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):  # a tiktoken file may have this name, too
        return None
    added = {token["id"] for token in raw["added_tokens"]}
    count = pieces.get_piece_size()
    if count > len(tokens) or any(
        pieces.id_to_piece(index) != tokens[index] for index in range(count) if index not in added
    ):
        return None
    return tuple(pieces.get_score(index) if index < count else _OUTSIDE for index in range(len(tokens)))


def _describe_step(step: dict[str, Any]) -> str:
    if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"] and "Regex" in step["pattern"]:
        return f"split {step['pattern']['Regex']}"
    if step["type"] == "ByteLevel" and not step["add_prefix_space"]:
        return "words and bytes" if step["use_regex"] else "bytes"
    if step["type"] == "Digits" and step["individual_digits"]:
        return "single digits"
    return json.dumps(step, sort_keys=True)
