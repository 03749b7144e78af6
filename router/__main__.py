"""`python -m router --port N`: serves on loopback until it is told to stop; settings from the environment."""

from __future__ import annotations

import argparse
import logging
import signal
import sys

import uvicorn

from flytewheel.errors import FlytewheelError
from flytewheel.settings import read_settings
from router.access.wire import lift_file_limit, make_protocol
from router.app import create_app


def main(arguments: list[str] | None = None) -> int:
    """Runs the router; the exit code is 2 for wrong settings, in one line."""
    parser = argparse.ArgumentParser(prog="router", description="serve the models behind the flywheel, on loopback")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        app = create_app(read_settings())
    except FlytewheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    # uvicorn ends by raising the signal that stopped it again; told to stop and stopped is exit code 0.
    lift_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.port,
        http=make_protocol(),
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
