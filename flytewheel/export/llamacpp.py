"""Opens GGUF files in llama.cpp, quietly, on the CPU, and reads logits from them."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, ExportError
from flytewheel.gguf_header import check_header

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

    It is closed here because one that is left to the interpreter's exit crashes there.

    Raises:
        ExportError: its header lies, or llama.cpp cannot load it.
    """
    import llama_cpp

    silence_log()
    try:
        check_header(path, "export it again")
    except BaseModelError as error:
        raise ExportError(f"{path.name}: llama.cpp cannot load it ({error})") from None
    try:
        llama = llama_cpp.Llama(str(path), n_gpu_layers=0, logits_all=True, verbose=False, **options)
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"{path.name}: llama.cpp cannot load it ({' '.join(str(error).split())[:200]})") from error
    try:
        yield llama
    finally:
        llama.close()


def write_greedily(llama: Any, prompt: Sequence[int], max_tokens: int, ends: Collection[int]) -> tuple[list[int], Any]:
    """Lets the model answer, the best token each time, up to and including a token of `ends`.

    Returns:
        The answer's token ids, and the logits `(answer tokens, vocabulary)` that each was taken from.
    """
    llama.reset()
    llama.eval(list(prompt))
    answer: list[int] = []
    while True:
        answer.append(int(llama.scores[llama.n_tokens - 1].argmax()))
        if len(answer) == max_tokens or answer[-1] in ends:
            break
        llama.eval(answer[-1:])
    return answer, llama.scores[len(prompt) - 1 : llama.n_tokens].copy()


def read_logits(llama: Any, prompt: Sequence[int], answer: Sequence[int]) -> Any:
    """Logits `(answer tokens, vocabulary)` before each token of a given answer, in one pass."""
    llama.reset()
    llama.eval([*prompt, *answer[:-1]])
    return llama.scores[len(prompt) - 1 : llama.n_tokens].copy()
