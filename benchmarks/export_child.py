"""One step of `benchmarks.export` in a process of its own: `python -m benchmarks.export_child STEP FOLDER KIND…`.

Prints what it took as JSON: wall and CPU seconds, and the most memory it held, all of it (`VmHWM`; `ru_maxrss` would
count the parent's, too) and that which no file stands behind (`RssAnon`, looked at every 10 ms).
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

THREADS = os.cpu_count() or 1


def write_at_once(folder: Path, kinds: list[str]) -> None:
    """One pass over base and adapter."""
    from flytewheel.export.convert import write_kinds
    from flytewheel.export.source import Source

    files = {kind: folder / f"once-{kind}.gguf" for kind in kinds}
    with Source(folder / "base", folder / "adapter") as source:
        write_kinds(source, _tokenizer(folder), files, name="bench", threads=THREADS)


def merge(folder: Path, kinds: list[str]) -> None:
    """First of three steps: PEFT merges, transformers saves, in the type named."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    (dtype,) = kinds
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder / "base", dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=True
    )
    merged: Any = PeftModel.from_pretrained(model, str(folder / "adapter"), use_safetensors=True).merge_and_unload()
    merged.save_pretrained(folder / "merged")


def convert(folder: Path, kinds: list[str]) -> None:
    """Second of three steps: the merged model as one GGUF."""
    from flytewheel.export.convert import write_gguf
    from flytewheel.export.source import Source

    (kind,) = kinds
    with Source(folder / "merged") as source:
        write_gguf(source, _tokenizer(folder), folder / "merged.gguf", name="bench", kind=kind)


def quantize(folder: Path, kinds: list[str]) -> None:
    """Last of three steps: llama.cpp's quantiser, once for each kind."""
    import llama_cpp

    from flytewheel.export.llamacpp import silence_log
    from flytewheel.export.tensor_types import KINDS

    silence_log()
    for kind in kinds:
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.nthread = KINDS[kind].file_type, THREADS
        target = folder / f"steps-{kind}.gguf"
        if llama_cpp.llama_model_quantize(
            str(folder / "merged.gguf").encode(), str(target).encode(), ctypes.byref(params)
        ):
            raise RuntimeError(f"llama.cpp could not quantise to {kind}")


STEPS: Mapping[str, Callable[[Path, list[str]], None]] = {
    "once": write_at_once,
    "merge": merge,
    "convert": convert,
    "quantize": quantize,
}


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "base", trust_remote_code=False)


def _read_status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) << 10
    return 0


def main() -> None:
    step, folder, *kinds = sys.argv[1:]
    anonymous, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal anonymous
        while not ended.wait(0.01):
            anonymous = max(anonymous, _read_status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    try:
        STEPS[step](Path(folder), kinds)
    finally:
        ended.set()
        watcher.join()
    told = {"wall_s": time.perf_counter() - begun, "cpu_s": time.process_time(), "anonymous": anonymous}
    print(json.dumps({**told, "memory": _read_status("VmHWM")}))


if __name__ == "__main__":
    main()
