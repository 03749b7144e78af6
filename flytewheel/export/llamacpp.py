"""Opens GGUF files in llama.cpp, quietly, on the CPU, and reads logits from them."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, ExportError
from flytewheel.gguf_header import check_header

_FP32_CACHE = {"type_k": 0, "type_v": 0}  # GGML_TYPE_F32
_callback: list[Any] = []  # ctypes callbacks must outlive their use


def silence_log() -> None:
    """Sends llama.cpp's log nowhere, process-wide; what matters of it comes back as a status."""
    import llama_cpp

    if not _callback:
        _callback.append(llama_cpp.llama_log_callback(lambda _level, _text, _data: None))
    llama_cpp.llama_log_set(_callback[0], ctypes.c_void_p(0))


@contextmanager
def open_llama(path: Path, **options: Any) -> Iterator[Any]:
    """Opens a GGUF as a `llama_cpp.Llama` that keeps the logits of every position, and closes it.

    Keys and values are kept in fp32, so that nothing but the file decides what it computes; a server keeps them in f16.
    It is closed here because one that is left to the interpreter's exit crashes there.

    Raises:
        ExportError: its header lies, or llama.cpp cannot load it.
    """
    import llama_cpp
    from jinja2 import TemplateError

    silence_log()
    try:
        check_header(path, "export it again")
    except BaseModelError as error:
        raise ExportError(f"{path.name}: llama.cpp cannot load it ({error})") from None
    try:
        llama = llama_cpp.Llama(str(path), n_gpu_layers=0, logits_all=True, verbose=False, **{**_FP32_CACHE, **options})
    except (ValueError, RuntimeError, TemplateError) as error:  # the last where the chat template is broken
        raise ExportError(f"{path.name}: llama.cpp cannot load it ({' '.join(str(error).split())[:200]})") from error
    try:
        yield llama
    finally:
        llama.close()


def write_greedily(
    llama: Any, prompt: Sequence[int], max_tokens: int, ends: Collection[int], *, draft: Sequence[int] = ()
) -> list[int]:
    """Lets the model answer, the best token each time, up to and including a token of `ends`.

    A `draft` is read in one pass and taken as far as its tokens are the best ones: the same answer, in less time.
    """
    llama.reset()
    llama.eval([*prompt, *draft])
    answer: list[int] = []
    while True:
        read = len(prompt) + len(answer)
        answer.append(int(llama.scores[read - 1].argmax()))
        if len(answer) == max_tokens or answer[-1] in ends:
            return answer
        if len(answer) > len(draft) or answer[-1] != draft[len(answer) - 1]:
            llama.n_tokens = read  # what was read of the draft behind it is forgotten
            draft = ()
            llama.eval(answer[-1:])


def read_logits(llama: Any, ids: Sequence[int]) -> Any:
    """Logits `(tokens, vocabulary)` behind each token of a text, in one pass; they hold until the next one."""
    llama.reset()
    llama.eval(list(ids))
    return llama.scores[: llama.n_tokens]
