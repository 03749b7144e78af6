"""A new release of the router beside the old one, behind nginx, and back by itself where it does not hold.

    python deploy/surge.py --upstream /etc/nginx/flytewheel.upstream --reload "nginx -s reload" \\
        --front http://127.0.0.1:8080 --model oncall --key-file KEY --pids /run/flytewheel -- \\
        python -m router --host 127.0.0.1 --port {port} --workers 4

1. the new router is started on a free port and has to pass `deploy/smoke.py` while nobody is sent to it;
2. nginx is pointed at it; running answers of the old one go on;
3. it is asked through the front for `--watch-s` seconds;
4. the old one is told to end, which it does after its running answers.

Where 1, 2 or 3 fails, nginx is pointed at the old one again and the new one is ended: users always had
a router.
`--pids` remembers who serves, as PORT.pid, so that a deployment that was killed is taken up by the next. On Kubernetes
the Deployment's own surge does this (deploy/kubernetes); this is for machines without one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deploy.smoke import Router, SmokeError, ask_model, read_key, smoke

LOOPBACK = "127.0.0.1"
END_S = 180.0  # notice, running answers and logs of a router that ends

_children: dict[int, subprocess.Popen[bytes]] = {}  # whose end is ours to hear of


@dataclass(frozen=True)
class Site:
    """One machine: nginx's upstream file, how nginx is told, where users come in, and who serves."""

    upstream: Path
    reload: Sequence[str]
    front: Router
    model: str
    pids: Path
    watch_s: float
    ready_s: float

    def find_serving(self) -> int | None:
        """The port that nginx sends to; `None` before the first deployment."""
        try:
            text = self.upstream.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return int(text.strip().removeprefix(f"server {LOOPBACK}:").removesuffix(";"))

    def point_at(self, port: int) -> None:
        """Sends users to the router on `port`.

        Raises:
            SmokeError: nginx refuses.
        """
        part = self.upstream.with_name(f".{self.upstream.name}.part")
        part.write_text(f"server {LOOPBACK}:{port};\n", encoding="utf-8")
        os.replace(part, self.upstream)
        done = subprocess.run(self.reload, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SmokeError(f"{shlex.join(self.reload)}: {done.stderr.strip()[-300:] or done.returncode}")

    def start(self, command: Sequence[str]) -> int:
        """Starts a router on a free port, which is returned."""
        self.pids.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        spelled = [part.replace("{port}", str(port)) for part in command]
        with (self.pids / f"{port}.log").open("ab") as log:
            process = subprocess.Popen(
                spelled, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        _children[process.pid] = process
        (self.pids / f"{port}.pid").write_text(str(process.pid), encoding="utf-8")
        return port

    def end(self, port: int) -> None:
        """Ends the router on `port` after its running answers; at once where that takes too long."""
        path = self.pids / f"{port}.pid"
        try:
            pid = int(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return
        deadline = time.monotonic() + END_S
        _send(pid, signal.SIGTERM)
        while _is_there(pid):
            if time.monotonic() > deadline:
                _send(pid, signal.SIGKILL)
            time.sleep(0.1)
        path.unlink(missing_ok=True)

    def end_strays(self, serving: int | None) -> None:
        """Ends routers of a deployment that was killed."""
        for path in self.pids.glob("*.pid"):
            if int(path.stem) != serving:
                self.end(int(path.stem))


def _send(pid: int, told: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, told)


def _is_there(pid: int) -> bool:
    child = _children.get(pid)  # no entry: an earlier deployment started it
    if child is not None:
        return child.poll() is None
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # it has ended, and its parent has not looked yet


def deploy(site: Site, command: Sequence[str]) -> int:
    """Puts the router that `command` starts in the place of the one that serves; its port.

    Raises:
        SmokeError: it does not hold; the old one serves as before.
    """
    old = site.find_serving()
    site.end_strays(old)
    new = site.start(command)
    try:
        smoke(Router(f"http://{LOOPBACK}:{new}", site.front.key), site.model, ready_s=site.ready_s)
        site.point_at(new)
        deadline = time.monotonic() + site.watch_s
        while True:
            ask_model(site.front, site.model)
            ask_model(Router(f"http://{LOOPBACK}:{new}", site.front.key), site.model, stream=True)
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    except BaseException:
        if old is not None:
            site.point_at(old)
        site.end(new)
        raise
    if old is not None:
        site.end(old)
    return new


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--upstream", type=Path, required=True, help="file that nginx includes in its upstream block")
    parser.add_argument("--reload", default="nginx -s reload")
    parser.add_argument("--front", required=True, help="where users come in")
    parser.add_argument("--model", required=True)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--pids", type=Path, required=True)
    parser.add_argument("--watch-s", type=float, default=30.0)
    parser.add_argument("--ready-s", type=float, default=120.0)
    parser.add_argument("command", nargs="+", help="of the new router; {port} is its port")
    options = parser.parse_args(arguments)
    site = Site(
        options.upstream,
        shlex.split(options.reload),
        Router(options.front, read_key(options.key_file)),
        options.model,
        options.pids,
        options.watch_s,
        options.ready_s,
    )
    try:
        port = deploy(site, options.command)
    except SmokeError as fault:
        print(f"error: {fault}; the router of before serves", file=sys.stderr)
        return 1
    print(f"port {port} serves")
    return 0


if __name__ == "__main__":
    sys.exit(main())
