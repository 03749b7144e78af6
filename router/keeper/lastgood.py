"""What outlives the process: the last table that was good, for a start without database or object store.

One file, replaced as a whole. It is sealed with an HMAC by a key made from the assignment key and the names of database
and bucket: a torn, changed or foreign file is refused in one line, and the router starts without it. It holds no text
and no secret: routes, shares, hashes of API keys, the records that prove a version (pointer, manifest, signature, marks
of erasure), and when the database was last heard of. What it says is written before it is served by, so that it never
holds a share that was taken back; where it cannot be written, it is removed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from flytewheel.api_keys import ApiKey
from flytewheel.database import describe_url
from flytewheel.experiment.experiments import Experiment
from flytewheel.settings import Settings
from router.access.keys import Keys
from router.blocked import Served
from router.keeper.routing import Routing
from router.table import Key

logger = logging.getLogger("router.lastgood")

FILE = "router-last-good.json"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class _Content:
    """What the file says; `contact` is the wall clock, in seconds since the epoch."""

    format: int
    contact: float
    served: dict[str, Served]
    running: dict[str, Experiment]
    holdbacks: dict[str, Experiment]
    keys: tuple[ApiKey, ...] | None  # hashes, as the database has them
    records: dict[str, dict[str, str | None]]  # of `name version`: what was read by its key, as base64; None: nothing


@dataclass(slots=True)
class LastGood:
    """The file at `path`; `read` says how it was found, for /healthz."""

    path: Path
    key: bytes
    every_s: float
    records: dict[Key, Mapping[str, bytes | None]] = field(default_factory=dict)
    found: str = "none"
    written: float = 0.0
    _content: _Content | None = None
    _on_disk: _Content | None = None

    @classmethod
    def open(cls, settings: Settings, assignment_key: bytes) -> LastGood:
        """Reads the file of this home, if there is one that belongs to these services."""
        place = f"{describe_url(settings.database_url or '')} {settings.s3_url}/{settings.s3_bucket}"
        key = hmac.digest(assignment_key, b"flytewheel last good table\0" + place.encode(), "sha256")
        one = cls(settings.home / FILE, key, settings.control_only_after_s / 20)
        one._content = one._on_disk = one._read()
        if one._content is not None:
            for name, records in one._content.records.items():
                model, _, version = name.partition(" ")
                one.records[model, version] = {
                    key: None if data is None else base64.b64decode(data) for key, data in records.items()
                }
        return one

    def restore(self, routing: Routing, keys: Keys) -> None:
        """Gives a routing that has read nothing yet and API keys what the last process knew."""
        if self._content is not None:
            routing.served = self._content.served
            routing.running = self._content.running
            routing.holdbacks = self._content.holdbacks
            routing.contact.wall = self._content.contact
            if self._content.keys is not None:
                keys.replace(self._content.keys)

    def keep(self, routing: Routing, keys: tuple[ApiKey, ...] | None) -> None:
        """Writes what `routing` knows, where it differs from what is there; the time of contact alone now and then."""
        if routing.served is None:
            return
        needed = routing.list_needed() | list_arms(routing.running or {}) | list_arms(routing.holdbacks)
        content = _Content(
            FORMAT,
            routing.contact.wall,
            dict(routing.served),
            dict(routing.running or {}),
            dict(routing.holdbacks),
            keys,
            {
                f"{name} {version}": {
                    key: None if data is None else base64.b64encode(data).decode() for key, data in records.items()
                }
                for (name, version), records in sorted(self.records.items())
                if (name, version) in needed
            },
        )
        before = self._on_disk
        same = before is not None and _without_contact(before) == _without_contact(content)
        # A contact that is dated too early only ends the grace of a later start sooner.
        if same and before is not None and before.contact <= content.contact < before.contact + self.every_s:
            return
        try:
            self._write(content)
        except OSError as error:
            logger.error("%s cannot be written (%s); a start without the database would find none", self.path, error)
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            self._on_disk = None
        else:
            self._on_disk = content
            self.written = content.contact

    def _read(self) -> _Content | None:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._refuse(str(error))
            return None
        head, _, body = raw.partition(b"\n")
        if not hmac.compare_digest(head, self._sign(body)):
            self._refuse("it is torn, was changed, or is of another database, bucket or assignment key")
            return None
        try:
            content = msgspec.json.decode(body, type=_Content)
        except msgspec.MsgspecError as error:
            self._refuse(str(error))
            return None
        if content.format != FORMAT:
            self._refuse(f"format {content.format}, expected {FORMAT}")
            return None
        self.found = "good"
        return content

    def _refuse(self, reason: str) -> None:
        self.found = f"refused: {reason}"
        logger.warning("%s is not used: %s", self.path, reason)

    def _sign(self, body: bytes) -> bytes:
        return hmac.new(self.key, body, hashlib.sha256).hexdigest().encode()

    def _write(self, content: _Content) -> None:
        body = msgspec.json.encode(content)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{FILE}.", dir=self.path.parent)  # 0600
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(self._sign(body) + b"\n" + body)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def list_arms(running: Mapping[str, Experiment]) -> set[Key]:
    """The versions of experiments, also of those that nobody meets for want of the database."""
    return {(name, version) for name, one in running.items() for version in one.arms.values()}


def _without_contact(content: _Content) -> tuple[object, ...]:
    return (content.served, content.running, content.holdbacks, content.keys, content.records)
