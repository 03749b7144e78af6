"""A vocabulary without weights in llama.cpp: written to a temporary file, opened, and asked for tokens.

The name of the pre-tokenizer and the space in front are told while it is opened (llama.cpp's overrides), so that one
file serves all names: writing a vocabulary of 128,000 takes longer than opening it.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flytewheel.export.llamacpp import silence_log
from flytewheel.export.vocabulary.layout import Layout
from flytewheel.export.vocabulary.special import Specials


class Vocabulary:
    """An opened vocabulary."""

    def __init__(self, pointer: Any) -> None:
        self._vocab = pointer

    def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        """Ids of a text, special tokens in it parsed, as a server does with a rendered chat."""
        import llama_cpp

        data = text.encode()
        room = len(data) + 8
        while True:
            ids = (ctypes.c_int32 * room)()
            count = llama_cpp.llama_tokenize(self._vocab, data, len(data), ids, room, add_special, True)
            if count >= 0:
                return ids[:count]
            room = -count

    def ends_with(self, token: int) -> bool:
        """Whether an answer ends at this token."""
        import llama_cpp

        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))


@contextmanager
def written(layout: Layout, specials: Specials) -> Iterator[Path]:
    """A temporary GGUF that holds the vocabulary alone."""
    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory(prefix="flytewheel-vocabulary-") as folder:
        path = Path(folder) / "vocabulary.gguf"
        writer = GGUFWriter(str(path), "llama")
        try:
            layout.write(writer)
            specials.write(writer)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
        finally:
            writer.close()
        yield path


@contextmanager
def opened(path: Path, layout: Layout | None = None) -> Iterator[Vocabulary | None]:
    """Opens a vocabulary, `pre` and `space_prefix` as in `layout`; nothing when llama.cpp does not know that name."""
    import llama_cpp

    silence_log()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    overrides = _overrides(layout) if layout is not None else None
    if overrides is not None:
        params.kv_overrides = overrides
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        yield None
        return
    try:
        yield Vocabulary(llama_cpp.llama_model_get_vocab(model))
    finally:
        llama_cpp.llama_model_free(model)


def _overrides(layout: Layout) -> Any:
    import llama_cpp

    rows = (llama_cpp.llama_model_kv_override * 3)()  # the last one, all zero, ends the list
    rows[0].tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR
    rows[0].key = b"tokenizer.ggml.pre"
    rows[0].value.val_str = layout.pre.encode()
    if layout.space_prefix is not None:
        rows[1].tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_BOOL
        rows[1].key = b"tokenizer.ggml.add_space_prefix"
        rows[1].value.val_bool = layout.space_prefix
    return rows
