"""Special tokens of a GGUF: where a text begins and an answer ends, and whether llama.cpp adds such tokens itself.

*Beginning.* With a chat template llama.cpp adds nothing (`add_bos_token` false): training rendered the template and
tokenised it as it stood, so a start token is there if and only if the template wrote one, and never twice. Without a
template there is only plain text, and llama.cpp does what the tokenizer does with it (Llama and Gemma put a start token
in front, Qwen and SmolLM do not).

*End.* llama.cpp ends an answer at its `eos`, `eot` and `eom` tokens and at some that it knows by their text. The
tokenizer's own end token is `eos`, the token that the template writes behind an answer `eot`, and what
`generation_config.json` lists beside them `eom`. A tokenizer without an end token gets the template's, or another
special one that no answer holds: with none written, llama.cpp takes token 11 for it, whatever that is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.vocabulary.chat import find_closing, plain_templates

_FILL_IN = {  # by the texts that code models give them; the key is llama.cpp's
    "fim_pre": ("<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "<｜fim▁begin｜>", "▁<PRE>", "<PRE>"),
    "fim_suf": ("<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "<｜fim▁hole｜>", "▁<SUF>", "<SUF>"),
    "fim_mid": ("<|fim_middle|>", "<fim_middle>", "<fim-middle>", "<｜fim▁end｜>", "▁<MID>", "<MID>"),
    "fim_pad": ("<|fim_pad|>", "<fim_pad>", "<fim-pad>"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<reponame>", "<fim-repo>"),
    "fim_sep": ("<|file_sep|>",),
}


@dataclass(frozen=True, slots=True)
class Specials:
    """`ids` by llama.cpp's name for the role; `ends` are all tokens at which an answer should end."""

    ids: dict[str, int]
    ends: tuple[int, ...]
    add_bos: bool
    add_eos: bool
    templates: dict[str, str] = field(default_factory=dict)

    def write(self, writer: Any) -> None:
        """Writes them into a `gguf.GGUFWriter`, in an order that is always the same."""
        for role, index in self.ids.items():
            writer.add_uint32(f"tokenizer.ggml.{_KEYS.get(role, role)}_token_id", index)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        named = [name for name in self.templates if name != "default"]
        if named:  # not through the writer's own method, which writes them in the order of a set
            for name in named:
                writer.add_string(f"tokenizer.chat_template.{_spell(name)}", self.templates[name])
            writer.add_array("tokenizer.chat_templates", [_spell(name) for name in named])
        if self.templates:
            writer.add_chat_template(self.templates["default"])


_KEYS = {"unk": "unknown", "pad": "padding", "sep": "seperator"}  # GGUF's words, one of them spelt so


def find_specials(tokenizer: Any, folder: Path | None = None) -> Specials:
    """The special tokens of a tokenizer.

    Args:
        tokenizer: Of transformers.
        folder: The model's, looked into for `generation_config.json`.

    Raises:
        ExportError: no token could be the end of an answer.
    """
    known = {role: getattr(tokenizer, f"{role}_token_id", None) for role in ("bos", "eos", "unk", "pad", "mask")}
    ids = {role: int(index) for role, index in known.items() if index is not None}
    closing, listed = find_closing(tokenizer), _read_ends(folder, len(tokenizer))
    wished = [ids.get("eos"), closing, *listed]
    ends = tuple(dict.fromkeys(index for index in wished if index is not None))
    stand_in = next(
        (index for index in (*ends, ids.get("pad"), ids.get("bos"), ids.get("unk")) if index is not None), None
    )
    if stand_in is None:
        raise ExportError(
            "the tokenizer has no end token and no other special one: set its eos_token, and train with it"
        )
    ids.setdefault("eos", stand_in)
    further = [index for index in ends if index != ids["eos"]]
    ids |= dict(zip(("eot", "eom"), further, strict=False))
    by_text = {token.content: index for index, token in tokenizer.added_tokens_decoder.items()}
    for role, texts in _FILL_IN.items():
        found = next((by_text[text] for text in texts if text in by_text), None)
        if found is not None:
            ids[role] = found
    templates = plain_templates(tokenizer)
    framed = list(tokenizer("a")["input_ids"]) if not templates else []
    return Specials(
        ids=ids,
        ends=ends,
        add_bos=bool(framed) and "bos" in ids and framed[0] == ids["bos"],
        add_eos=bool(framed) and framed[-1] == known["eos"] is not None,
        templates=templates,
    )


def _read_ends(folder: Path | None, size: int) -> list[int]:
    path = folder / "generation_config.json" if folder is not None else None
    if path is None or not path.is_file():
        return []
    try:
        given = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (ValueError, AttributeError) as error:
        raise ExportError(
            f"{path}: expected a JSON object ({' '.join(str(error).split())[:100]}); get it again"
        ) from None
    listed = given if isinstance(given, list) else [given]
    return [index for index in listed if isinstance(index, int) and 0 <= index < size]


def _spell(name: str) -> str:
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name)
