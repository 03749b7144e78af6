"""The embedded stack as one thing: up, down, status.

Decides what has to be started: services named in the environment are used as they are and only checked, the others run
on this machine's loopback, in the order PostgreSQL, object store, router; a service that died, or hangs, or was started
with other settings is started again. What one `up` started is stopped again when it fails midway. Data outlives
everything but `remove`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import flytewheel
from flytewheel.api_keys import create_key, find_secret, new_secret
from flytewheel.database import describe_url, migrate
from flytewheel.local import objects, places, postgres, processes
from flytewheel.local.answering import check_configured, router_answers, service_answers, set_workers, spell_address
from flytewheel.local.processes import ProcessId, Program
from flytewheel.local.state import (
    NAMES,
    PARTS,
    Part,
    Services,
    State,
    assemble,
    embedded_parts,
    locked,
    loopback_url,
    new_state,
    read_state,
    write_state,
)
from flytewheel.settings import Settings
from flytewheel.signing_keys import ensure_home_key

START_S = 60.0
LOCK_S = 300.0  # the first start of another command may initialise a database and load a model
HANG_S = 5.0  # a live service that does not answer for so long is started again
OWN_SCOPES, OWN_NAME = ("serve", "feedback", "read"), "this machine's own clients"
ROUTER = ("-m", "router", "--port")

AFTER_ANSWERS_S = 25.0  # the router's logs and backends, once its running answers have ended or had their time

Announce = Callable[[str], None]
_STOP: dict[str, Callable[[ProcessId, float], None]] = {
    "postgres": lambda process, _: postgres.stop(process),
    "objects": lambda process, _: objects.stop(process),
    "router": lambda process, drain_s: processes.stop(process, name="the router", grace_s=drain_s + AFTER_ANSWERS_S),
}


@dataclass(frozen=True)
class ServiceStatus:
    """One line of `flytewheel status`.

    Attributes:
        name: PostgreSQL, object store or router.
        state: `running`, `not answering`, `died` (gone, and nobody stopped it), `stopped` or `configured` (not ours).
        pid: of a running one.
        url: without passwords.
        since: when it was started.
    """

    name: str
    state: str
    pid: int | None
    url: str | None
    since: datetime | None


def up(
    settings: Settings,
    *,
    announce: Announce = print,
    with_router: bool = True,
    router_command: Callable[[int], Sequence[str | Path]] = lambda port: [sys.executable, *ROUTER, str(port)],
    durable: bool = True,
    deadline_s: float = START_S,
) -> Services:
    """Starts what is missing and says where everything is; calling it again changes nothing.

    Args:
        settings: services configured there are used instead of embedded ones; `workers` is remembered for the next
            call that names none.
        announce: is told, line by line, what is started and where.
        with_router: `False` leaves the router out (its URL is that of its last start, or empty).
        router_command: the command that serves on the given port of loopback.
        durable: `False` runs PostgreSQL without fsync, for tests.
        deadline_s: how long one service may take to start.

    Raises:
        StackError: a service could not be started; nothing that this call started is left running.
        DatabaseError: the configured PostgreSQL is away.
        StoreError: the configured object store is away or refuses its keys.
        RouterError: the configured router is away.
        SettingsError: a configured service lacks its keys.
    """
    needed = [name for name in embedded_parts(settings) if with_router or name != "router"]
    check_configured(settings)
    if not needed:
        migrate(settings.database_url or "")
        return assemble(settings, None)
    home = settings.home.absolute()
    with locked(home, deadline_s=LOCK_S), ExitStack() as undo:
        state = read_state(home) or new_state()
        if settings.workers and settings.workers != state.workers:
            state = replace(state, workers=settings.workers)
            write_state(home, state)
        starter = _Starter(home, state, announce, undo, deadline_s, settings.drain_s + settings.drain_notice_s)
        made = ensure_home_key(assemble(settings, None).key_ring)
        if made is not None:
            announce(f"versions are signed with {made.public.short}, a development key, made on this machine")
        if "postgres" in needed:
            starter.postgres(durable=durable)
        database_url = assemble(settings, starter.state).database_url
        migrate(database_url)
        if "router" in embedded_parts(settings):
            starter.api_key(database_url)
        if "objects" in needed:
            starter.objects(assemble(settings, starter.state))
        if "router" in needed:
            starter.router(assemble(settings, starter.state), router_command)
        undo.pop_all()
    return assemble(settings, starter.state)


def down(settings: Settings) -> list[str]:
    """Stops the embedded services, the router first; the data stays.

    Returns:
        The names of those that were running.

    Raises:
        StackError: one of them cannot be stopped.
    """
    home = settings.home.absolute()
    stopped: list[str] = []
    if read_state(home) is None:
        return stopped
    with locked(home, deadline_s=LOCK_S):
        state = read_state(home) or new_state()
        for name in reversed(PARTS):
            part = state.parts[name]
            if part.process is None:
                continue
            alive = processes.is_alive(part.process)
            _stop(name, part.process, settings.drain_s + settings.drain_notice_s)  # a dead one may have left children
            state = state.with_part(name, replace(part, process=None, since=None))
            write_state(home, state)
            if alive:
                stopped.append(NAMES[name])
    return stopped


def remove(settings: Settings) -> None:
    """Stops the embedded services and deletes all of `settings.home`, with data that had to be put elsewhere."""
    home = settings.home.absolute()
    down(settings)
    if home.is_dir():
        places.remove_place(home)
        shutil.rmtree(home)


def status(settings: Settings) -> list[ServiceStatus]:
    """How the services are, in the order of starting; starts and changes nothing."""
    state = read_state(settings.home.absolute())
    configured = {
        "postgres": describe_url(settings.database_url) if settings.database_url else None,
        "objects": f"{settings.s3_url}/{settings.s3_bucket}" if settings.s3_url else None,
        "router": settings.router_url,
    }
    found = []
    for name in PARTS:
        part = state.parts[name] if state else Part()
        if configured[name]:
            found.append(ServiceStatus(NAMES[name], "configured", None, configured[name], None))
        elif part.process is None or state is None:
            found.append(ServiceStatus(NAMES[name], "stopped", None, None, None))
        elif not processes.is_alive(part.process):
            found.append(ServiceStatus(NAMES[name], "died", None, None, None))
        else:
            word = "running" if service_answers(name, assemble(settings, state)) else "not answering"
            url = spell_address(name, part.port or 0)
            found.append(ServiceStatus(NAMES[name], word, part.process.pid, url, part.since))
    return found


class _Starter:
    """One `up`: starts services, records each the moment that it exists, and knows how to take them back."""

    def __init__(
        self, home: Path, state: State, announce: Announce, undo: ExitStack, deadline_s: float, drain_s: float
    ) -> None:
        self.home = home
        self.state = state
        self._announce = announce
        self._undo = undo
        self._deadline_s = deadline_s
        self._drain_s = drain_s

    def postgres(self, *, durable: bool) -> None:
        password = self.state.keys.database_password

        def start(port: int | None, spawned: Callable[[ProcessId, int], None]) -> tuple[ProcessId, int]:
            data_dir = places.choose_place(self.home, places.unprivileged_account())
            if data_dir.parent != self.home:
                self._announce(f"PostgreSQL's data is in {data_dir}: {places.UNPRIVILEGED} cannot enter {self.home}")
            return postgres.start(
                data_dir,
                password=password,
                log=self._log("postgres"),
                port=port,
                durable=durable,
                deadline_s=self._deadline_s,
                spawned=spawned,
            )

        def ready(port: int) -> bool:
            return postgres.answers(postgres.server_url(port, password, postgres.DATABASE))

        self._ensure("postgres", start, ready)

    def api_key(self, database_url: str) -> None:
        """Sees that the key of our own clients opens the router; one that ended, or never was, is made anew."""
        kept = self.state.keys.api_key
        found = find_secret(database_url, kept) if kept else None
        if found is not None and found.is_live(datetime.now(UTC)):
            return
        if not kept or found is not None:
            self.state = replace(self.state, keys=replace(self.state.keys, api_key=new_secret()))
            write_state(self.home, self.state)
        create_key(database_url, OWN_SCOPES, name=OWN_NAME, secret=self.state.keys.api_key)

    def objects(self, services: Services) -> None:
        def start(port: int | None, spawned: Callable[[ProcessId, int], None]) -> tuple[ProcessId, int]:
            return objects.start(
                self.home / "objects",
                log=self._log("objects"),
                access_key=services.s3_access_key,
                secret_key=services.s3_secret_key,
                bucket=services.s3_bucket,
                port=port,
                deadline_s=self._deadline_s,
                spawned=spawned,
            )

        def ready(port: int) -> bool:
            url = objects.server_url(port)
            return objects.answers(url, services.s3_access_key, services.s3_secret_key, services.s3_bucket)

        self._ensure("objects", start, ready)

    def router(self, services: Services, command: Callable[[int], Sequence[str | Path]]) -> None:
        # Its port is not known yet; and who only reads gets no key to sign with.
        trusted = services.key_ring.list_for_readers()
        services = replace(
            services, router_url="", api_key="", signing_key="", signing_key_password="", trusted_keys=trusted
        )
        environ = {key: value for key, value in os.environ.items() if not key.startswith("FLYTEWHEEL_")}
        environ.pop("DATABASE_URL", None)
        root = str(Path(flytewheel.__file__).resolve().parents[1])
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH")]))
        environ |= services.environ()

        def start(port: int | None, spawned: Callable[[ProcessId, int], None]) -> tuple[ProcessId, int]:
            program = Program(
                name="the router",
                command=command,
                ready=lambda port: router_answers(loopback_url(port)),
                environ=environ,
                log=self._log("router"),
                cwd=self.home,
            )
            return processes.start_on_port(program, port=port, deadline_s=self._deadline_s, spawned=spawned)

        setup = json.dumps([replace(services, workers=0).environ(), [str(part) for part in command(0)]], sort_keys=True)
        digest = hashlib.sha256(setup.encode()).hexdigest()
        before = self.state.parts["router"].process
        self._ensure("router", start, lambda port: router_answers(loopback_url(port)), digest)
        part = self.state.parts["router"]
        if services.workers and part.process == before and part.port is not None:
            set_workers(loopback_url(part.port), services.admin_key, services.workers)

    def _ensure(
        self,
        name: str,
        start: Callable[[int | None, Callable[[ProcessId, int], None]], tuple[ProcessId, int]],
        ready: Callable[[int], bool],
        setup: str = "",
    ) -> None:
        part = self.state.parts[name]
        if part.process is not None and part.port is not None:
            port = part.port
            answers = processes.is_alive(part.process) and processes.wait_until(lambda: ready(port), deadline_s=HANG_S)
            if answers and part.setup == setup:
                return
            _stop(name, part.process, self._drain_s if answers else 0.0)  # one that hangs ends no answer
        self._announce(f"starting {NAMES[name]} (log: {self._log(name)})")

        def spawned(process: ProcessId, port: int) -> None:
            self._record(name, Part(process, port, datetime.now(UTC), setup))

        # Registered before the start, so that it covers whatever the start recorded.
        self._undo.callback(self._take_back, name)
        _, port = start(part.port, spawned)
        self._announce(f"{NAMES[name]} at {spell_address(name, port)}")

    def _take_back(self, name: str) -> None:
        part = self.state.parts[name]
        if part.process is not None:
            _stop(name, part.process, self._drain_s)
            self._record(name, replace(part, process=None, since=None))

    def _record(self, name: str, part: Part) -> None:
        self.state = self.state.with_part(name, part)
        write_state(self.home, self.state)

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"


def _stop(name: str, process: ProcessId, drain_s: float) -> None:
    """Stops one; a router's running answers have `drain_s` seconds."""
    _STOP[name](process, drain_s)
