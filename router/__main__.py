"""`python -m router --port N`: serves on loopback until it is told to stop; settings from the environment."""

from __future__ import annotations

import argparse
import signal
import sys

import uvicorn

from flytewheel.errors import FlytewheelError
from flytewheel.settings import read_settings
from router.access.opening import check_openness
from router.access.wire import lift_file_limit, make_protocol
from router.app import create_app
from router.loglines import set_up_logging

HOST = "127.0.0.1"


def main(arguments: list[str] | None = None) -> int:
    """Runs the router; the exit code is 2 for wrong settings, in one line."""
    parser = argparse.ArgumentParser(prog="router", description="serve the models behind the flywheel, on loopback")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--insecure-loopback", action="store_true", help="let callers of this machine in without a key")
    parser.add_argument("--log-format", choices=("text", "json"), help="of the log's lines (default: text)")
    options = parser.parse_args(arguments)
    try:
        settings = read_settings()
        settings = settings.model_copy(
            update={
                "insecure_loopback": options.insecure_loopback or settings.insecure_loopback,
                "log_format": options.log_format or settings.log_format,
            }
        )
        set_up_logging(settings)
        check_openness(settings, HOST)
        app = create_app(settings)
    except FlytewheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    # uvicorn ends by raising the signal that stopped it again; told to stop and stopped is exit code 0.
    lift_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host=HOST,
        log_config=None,
        server_header=False,
        port=options.port,
        http=make_protocol(),
        ws="none",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
