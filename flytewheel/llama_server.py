"""One llama.cpp server for one GGUF file, as a process of its own: `python -m flytewheel.llama_server --model FILE`.

A process for each version, not one for all: it can be killed, restarted and unloaded by itself, and a crash in native
code takes one version down, not its parent: the router, or what measures speed. The first line on standard output is
JSON with the address, because with `--port 0` the system picks a free port and no other process can take it in
between. The process ends when standard input does: the pipe closes with the parent, however the parent ended, on Linux
and macOS alike.

The server's 8 GiB prompt cache in memory is switched off: with several versions on one machine it would be taken
several times.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, LlamaServerError
from flytewheel.gguf_header import check_header
from flytewheel.settings import PREFIX

ROOT = Path(__file__).resolve().parent.parent


def serve(
    model: Path,
    *,
    alias: str,
    port: int,
    slots: int,
    slot_tokens: int,
    threads: int,
    adapters: Sequence[Path] = (),
) -> Any:
    """Starts the server on loopback and returns it; `slot_tokens` is the context of each of the parallel `slots`.

    `adapters` are LoRA files for the model. A request takes them by their place, `"lora": [{"id": 0, "scale": 1}]`;
    without that it gets the bare model.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {alias}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = slots * slot_tokens
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in adapters]
    params.lora_init_without_apply = True
    return xllamacpp.Server(params)


def list_arguments(
    model: Path,
    *,
    alias: str,
    threads: int,
    slot_tokens: int,
    slots: int = 4,
    port: int = 0,
    adapters: Sequence[Path] = (),
) -> list[str]:
    """The command line that serves `model`, for whoever starts the process; see `environ`."""
    options = {"alias": alias, "threads": threads, "slot-tokens": slot_tokens, "slots": slots, "port": port}
    told = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    told += [text for path in adapters for text in ("--adapter", str(path))]
    return [sys.executable, "-m", "flytewheel.llama_server", "--model", str(model), *told]


def environ() -> dict[str, str]:
    """The environment of such a process: keys and addresses of the services stay behind, it needs none of them."""
    return {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}


@contextmanager
def run_server(
    model: Path,
    *,
    alias: str,
    threads: int,
    slot_tokens: int,
    slots: int = 1,
    adapters: Sequence[Path] = (),
    deadline_s: float = 120.0,
) -> Iterator[str]:
    """Serves `model` while the block runs, and gives the address.

    Raises:
        LlamaServerError: it does not serve, with the last line it said.
    """
    command = list_arguments(
        model, alias=alias, threads=threads, slot_tokens=slot_tokens, slots=slots, adapters=adapters
    )
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=environ()
        )
        assert process.stdout is not None
        assert process.stdin is not None
        # Reading blocks: a server that hangs while it loads is ended from aside, which ends the reading, too.
        watch = threading.Timer(deadline_s, process.kill)
        watch.start()
        try:
            line = process.stdout.readline()
            watch.cancel()
            if not line:
                log.seek(0)
                raise LlamaServerError(f"{model.name} is not served: {tell_last_line(log.read())}")
            yield str(json.loads(line)["url"])
        finally:
            watch.cancel()
            process.stdin.close()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def tell_last_line(log: bytes) -> str:
    """What a server's log says last; our own line where there is one, as llama.cpp's may go on after it."""
    said = [line.strip() for line in log[-4000:].decode(errors="replace").split("\n") if line.strip()]
    errors = [line for line in said if line.startswith("error: ")]
    return (errors or said or ["it said nothing"])[-1]


def main(arguments: list[str] | None = None) -> int:
    """Serves until standard input ends or the process is told to stop."""
    parser = argparse.ArgumentParser(prog="flytewheel.llama_server", description="serve one GGUF file on loopback")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--adapter", type=Path, action="append", default=[], help="a LoRA file; may be given again")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--slot-tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    # An interrupt from the keyboard reaches the whole group; the parent decides when its servers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        check_header(options.model, "export the version again")  # llama.cpp's parser is native code
        server = serve(
            options.model,
            alias=options.alias,
            port=options.port,
            slots=options.slots,
            slot_tokens=options.slot_tokens,
            threads=options.threads,
            adapters=options.adapter,
        )
    except (BaseModelError, RuntimeError) as error:
        print(f"error: llama.cpp does not load {options.model.name}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"url": server.listening_address, "pid": os.getpid()}), flush=True)
    sys.stdin.buffer.read()
    # Not through the server's destructor: it waits for running answers, and nobody is left to read them.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
