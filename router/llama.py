"""One llama.cpp server for one GGUF file, as a process of its own: `python -m router.llama --model FILE --alias NAME`.

A process for each version, not one for all: it can be killed, restarted and unloaded by itself, and a crash in native
code takes one version down, not the router. The first line on standard output is JSON with the address, because with
`--port 0` the system picks a free port and no other process can take it in between. The process ends when standard
input does: the pipe closes with the parent, however the parent ended, on Linux and macOS alike.

The server's 8 GiB prompt cache in memory is switched off: with several versions on one machine it would be taken
several times.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def serve(model: Path, *, alias: str, port: int, slots: int, slot_tokens: int, threads: int) -> Any:
    """Starts the server on loopback and returns it; `slot_tokens` is the context of each of the parallel `slots`."""
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
    return xllamacpp.Server(params)


def main(arguments: list[str] | None = None) -> int:
    """Serves until standard input ends or the process is told to stop."""
    parser = argparse.ArgumentParser(prog="router.llama", description="serve one GGUF file on loopback")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--slot-tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    # An interrupt from the keyboard reaches the whole group; the router decides when its backends end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = serve(
            options.model,
            alias=options.alias,
            port=options.port,
            slots=options.slots,
            slot_tokens=options.slot_tokens,
            threads=options.threads,
        )
    except RuntimeError as error:
        print(f"error: llama.cpp does not load {options.model.name}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"url": server.listening_address, "pid": os.getpid()}), flush=True)
    sys.stdin.buffer.read()
    # Not through the server's destructor: it waits for running answers, and nobody is left to read them.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
