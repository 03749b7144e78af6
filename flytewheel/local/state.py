"""What is known of the embedded stack between two commands: `<home>/stack.json`, for this user's eyes only (0600).

The file is replaced as a whole, so that a killed command leaves the old record or the new one. It holds what cannot be
found out again: keys, made once; ports, so that addresses stay the same; and for each service its process.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock, Timeout
from pydantic import SecretStr

from flytewheel.api_keys import new_secret
from flytewheel.errors import SettingsError, StackError
from flytewheel.forgotten import read_key
from flytewheel.local.postgres import DATABASE, server_url
from flytewheel.local.processes import LOOPBACK, ProcessId
from flytewheel.settings import Settings
from flytewheel.signing_keys import KeyRing

FILE = "stack.json"
LOCK = "stack.lock"
FORMAT = 1
NAMES = {"postgres": "PostgreSQL", "objects": "object store", "router": "router"}
PARTS = tuple(NAMES)  # in the order of starting


@dataclass(frozen=True)
class Services:
    """Where the services are and the keys to them; whether embedded or configured makes no difference to who uses it.

    Attributes:
        home: state of this machine.
        database_url: with the password in it.
        s3_url: endpoint of the object store, without a bucket.
        s3_region: `None` where the store has none.
        s3_bucket: of data sets, runs and the registry.
        router_url: without a path.
        admin_key: bearer key of the router's control API.
        api_key: what our own clients send to the router; empty where nobody gave one for a router that is not ours.
        assignment_key: secret of the sticky assignment; empty where a router that is not ours holds it.
        signing_key: path or PEM of the key that signs versions; empty: the home's.
        signing_key_password: of an encrypted one.
        trusted_keys: paths or PEM of the keys that are believed; empty: the home's.
        erasure_key: what people who were erased are known by; empty where nobody was erased from this machine yet.
        backend: what answers behind an embedded router; empty: llama.cpp.
        backend_url: where that server is.
        backend_key: its key.
        backend_folder: where vLLM's machine sees the models of `home`.
        log_text: what the router keeps of texts; empty: all.
        spool_bytes: room of the router's spool; 0: the default.
        retention_days: age at which interactions are deleted; 0: never.
        workers: of an embedded router; 0: the default.
        drain_s: what its running answers have when it is told to end; 0: the default.
        drain_notice_s: before that; 0: the default.
        access_log: whether its log has a line for each request.
        control_only_after_s: without a database; 0: the default.
    """

    home: Path
    database_url: str = field(repr=False)
    s3_url: str
    s3_access_key: str = field(repr=False)
    s3_secret_key: str = field(repr=False)
    s3_region: str | None
    s3_bucket: str
    router_url: str
    admin_key: str = field(repr=False)
    assignment_key: str = field(repr=False)
    api_key: str = field(default="", repr=False)
    signing_key: str = field(default="", repr=False)
    signing_key_password: str = field(default="", repr=False)
    trusted_keys: str = ""
    erasure_key: str = field(repr=False, default="")
    backend: str = ""
    backend_url: str = field(default="", repr=False)
    backend_key: str = field(default="", repr=False)
    backend_folder: str = ""
    log_text: str = ""
    spool_bytes: int = 0
    retention_days: float = 0
    workers: int = 0
    drain_s: float = 0
    drain_notice_s: float = 0
    access_log: bool = False
    control_only_after_s: float = 0

    @property
    def key_ring(self) -> KeyRing:
        """The keys that sign versions here, and those that are believed."""
        return KeyRing(self.home, self.signing_key, self.signing_key_password, self.trusted_keys)

    def environ(self) -> dict[str, str]:
        """The `FLYTEWHEEL_*` variables that give a child process these services."""
        return {f"FLYTEWHEEL_{key.upper()}": str(value) for key, value in asdict(self).items() if value}


@dataclass(frozen=True)
class Keys:
    """Made at the first start and kept. `api_key` is empty in a record from before there was one."""

    database_password: str = field(repr=False)
    s3_access_key: str = field(repr=False)
    s3_secret_key: str = field(repr=False)
    admin_key: str = field(repr=False)
    assignment_key: str = field(repr=False)
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class Part:
    """One embedded service.

    Attributes:
        process: who serves it; `None` when it was stopped.
        port: on loopback; kept after a stop.
        since: when the process was started.
        setup: digest of what it was started with; another one means that it must be started again.
    """

    process: ProcessId | None = None
    port: int | None = None
    since: datetime | None = None
    setup: str = ""


@dataclass(frozen=True)
class State:
    """The content of the file. `workers`: how many the router was last asked for; 0: nobody asked."""

    keys: Keys
    parts: Mapping[str, Part]
    workers: int = 0

    def with_part(self, name: str, part: Part) -> State:
        """A copy in which one service has changed."""
        return replace(self, parts=MappingProxyType({**self.parts, name: part}))


def new_state() -> State:
    """Fresh keys, and no services."""
    keys = Keys(
        database_password=secrets.token_hex(24),
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_hex(20),
        admin_key=secrets.token_urlsafe(32),
        assignment_key=secrets.token_hex(32),
        api_key=new_secret(),
    )
    return State(keys, MappingProxyType({name: Part() for name in PARTS}))


def read_state(home: Path) -> State | None:
    """The recorded state; `None` when there was never a stack under `home`.

    Raises:
        StackError: the file may not be read, or is not one of ours.
    """
    path = home / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}, expected {FORMAT}")
        parts = {name: _parse_part(document["parts"][name]) for name in PARTS}
        return State(Keys(**document["keys"]), MappingProxyType(parts), document.get("workers", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StackError(f"{path} cannot be read ({error.strerror}); use the account that started the stack") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{path} is not a record of a stack ({type(error).__name__}: {error}); "
            "delete it: data is kept, keys are made anew"
        ) from error


def write_state(home: Path, state: State) -> None:
    """Replaces the recorded state in one step."""
    document = {
        "format": FORMAT,
        "keys": asdict(state.keys),
        "workers": state.workers,
        "parts": {name: asdict(part) for name, part in state.parts.items()},
    }
    handle, name = tempfile.mkstemp(prefix=f".{FILE}.", dir=home)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=2, default=_spell)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, home / FILE)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def embedded_parts(settings: Settings) -> list[str]:
    """The services that this machine has to run itself, in the order of starting.

    Raises:
        SettingsError: a service is configured without the keys to it.
    """
    if settings.s3_url and not (settings.s3_access_key and settings.s3_secret_key):
        raise SettingsError(
            f"FLYTEWHEEL_S3_URL is set ({settings.s3_url}), its keys are not: "
            "set FLYTEWHEEL_S3_ACCESS_KEY and FLYTEWHEEL_S3_SECRET_KEY too"
        )
    if settings.router_url and not settings.admin_key:
        raise SettingsError(
            f"FLYTEWHEEL_ROUTER_URL is set ({settings.router_url}), its key is not: set FLYTEWHEEL_ADMIN_KEY too"
        )
    configured = (settings.database_url, settings.s3_url, settings.router_url)
    return [name for name, given in zip(PARTS, configured, strict=True) if not given]


def assemble(settings: Settings, state: State | None) -> Services:
    """The services as configured, completed from the embedded stack; empty texts where neither has one."""
    ports = {name: state.parts[name].port for name in PARTS} if state else {}
    keys = state.keys if state else Keys("", "", "", "", "")
    database, store, router = (ports.get(name) for name in PARTS)
    own_database = server_url(database, keys.database_password, DATABASE) if database else ""
    store_keys = (settings.s3_access_key, settings.s3_secret_key) if settings.s3_url else (None, None)
    return Services(
        home=settings.home.absolute(),
        database_url=settings.database_url or own_database,
        s3_url=settings.s3_url or (loopback_url(store) if store else ""),
        s3_access_key=_plain(store_keys[0]) or keys.s3_access_key,
        s3_secret_key=_plain(store_keys[1]) or keys.s3_secret_key,
        s3_region=settings.s3_region,
        s3_bucket=settings.s3_bucket,
        router_url=(settings.router_url or (loopback_url(router) if router else "")).rstrip("/"),
        admin_key=_plain(settings.admin_key) or keys.admin_key,
        assignment_key=_plain(settings.assignment_key) or keys.assignment_key,
        api_key=_plain(settings.api_key) or ("" if settings.router_url else keys.api_key),
        signing_key=_plain(settings.signing_key),
        signing_key_password=_plain(settings.signing_key_password),
        trusted_keys=settings.trusted_keys or "",
        erasure_key=_plain(settings.erasure_key) or read_key(settings.home.absolute()),
        backend=settings.backend if settings.backend_url else "",
        backend_url=settings.backend_url or "",
        backend_key=_plain(settings.backend_key),
        backend_folder=settings.backend_folder or "",
        log_text=settings.log_text if "log_text" in settings.model_fields_set else "",
        spool_bytes=settings.spool_bytes if "spool_bytes" in settings.model_fields_set else 0,
        retention_days=settings.retention_days or 0,
        workers=settings.workers or (state.workers if state else 0),
        drain_s=settings.drain_s if "drain_s" in settings.model_fields_set else 0,
        drain_notice_s=settings.drain_notice_s if "drain_notice_s" in settings.model_fields_set else 0,
        access_log=settings.access_log,
        control_only_after_s=(
            settings.control_only_after_s if "control_only_after_s" in settings.model_fields_set else 0
        ),
    )


def loopback_url(port: int) -> str:
    """The address of a web service of this machine."""
    return f"http://{LOOPBACK}:{port}"


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


@contextmanager
def locked(home: Path, *, deadline_s: float) -> Iterator[None]:
    """One command at a time changes the stack under `home`; the lock goes with its holder, even when that is killed.

    Raises:
        StackError: `home` cannot be written, or another command held the lock for the whole time.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / LOCK, timeout=deadline_s)
        lock.acquire()
    except Timeout:
        raise StackError(
            f"another command has been changing the stack under {home} for {deadline_s:.0f} s; wait for it, or end it"
        ) from None
    except OSError as error:
        raise StackError(
            f"{home} cannot be written ({error.strerror or error}); set FLYTEWHEEL_HOME to a folder of your own"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _parse_part(fields: dict[str, Any]) -> Part:
    process = fields["process"]
    since = fields["since"]
    return Part(
        process=ProcessId(**process) if process else None,
        port=fields["port"],
        since=datetime.fromisoformat(since) if since else None,
        setup=fields["setup"],
    )


def _spell(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    raise TypeError(f"cannot write {type(value).__name__} into {FILE}")
