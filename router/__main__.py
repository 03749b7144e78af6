"""`python -m router --port N [--workers W]`: serves until it is told to stop; settings from the environment."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from pathlib import Path

import uvloop

from flytewheel.errors import FlytewheelError, SettingsError
from flytewheel.settings import Settings, read_settings
from router.access.opening import LOOPBACK, check_openness
from router.access.wire import lift_file_limit
from router.keeper.guard import Guard, Link
from router.keeper.place import Options, choose_place
from router.loglines import set_up_logging
from router.memory import share_arenas
from router.server import Certificate, bind
from router.state import check_settings


def main(arguments: list[str] | None = None) -> int:
    """Runs the router; the exit code is 2 for wrong settings, in one line."""
    parser = argparse.ArgumentParser(prog="router", description="serve the models behind the flywheel")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, help="processes that answer (default: FLYTEWHEEL_WORKERS, or 1)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; beyond loopback, TLS is asked for")
    parser.add_argument("--tls-certificate", type=Path, help="PEM chain, its own certificate first")
    parser.add_argument("--tls-key", type=Path, help="PEM key of the certificate, unencrypted")
    parser.add_argument("--plain-http", action="store_true", help="listen beyond loopback without TLS, behind a proxy")
    parser.add_argument("--insecure-loopback", action="store_true", help="let callers of this machine in without a key")
    parser.add_argument("--log-format", choices=("text", "json"), help="of the log's lines (FLYTEWHEEL_LOG_FORMAT)")
    options = parser.parse_args(arguments)
    if options.insecure_loopback:  # workers read the same environment
        os.environ["FLYTEWHEEL_INSECURE_LOOPBACK"] = "1"
    if options.log_format:
        os.environ["FLYTEWHEEL_LOG_FORMAT"] = options.log_format
    try:
        settings = read_settings()
        check_settings(settings)
        set_up_logging(settings)
        share_arenas()
        check_openness(settings, options.host)
        workers = options.workers if options.workers is not None else settings.workers or 1
        if not 1 <= workers <= 64:
            raise SettingsError(f"--workers {workers}: expected 1 to 64")
        certificate = _choose_certificate(settings, options)
        listener = bind(options.host, options.port)
        lift_file_limit()
        path = choose_place(settings.home)
        return Guard(listener, workers, lambda link: _keep(settings, listener, link, Options(path, certificate))).run()
    except FlytewheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _keep(settings: Settings, listener: socket.socket, link: Link, options: Options) -> int:
    """The second process: what is big is imported here."""
    try:
        from router.keeper.run import keep

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(keep(settings, listener, options, link))
    except FlytewheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _choose_certificate(settings: Settings, options: argparse.Namespace) -> Certificate | None:
    chain = options.tls_certificate or settings.tls_certificate
    key = options.tls_key or settings.tls_key
    if (chain is None) != (key is None):
        raise SettingsError("TLS needs both --tls-certificate and --tls-key (FLYTEWHEEL_TLS_CERTIFICATE and _TLS_KEY)")
    if chain is not None and key is not None:
        certificate = Certificate(chain.absolute(), key.absolute())
        certificate.load()
        return certificate
    if options.host not in LOOPBACK and not options.plain_http:
        raise SettingsError(
            f"--host {options.host} is beyond loopback, where keys and texts would cross the network in the clear:"
            " give --tls-certificate and --tls-key, or say --plain-http where a proxy in front does TLS"
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
