"""Keeps log-probabilities on disk by content, for every later training that needs them.

A folder for each key (a digest of all that decides a value beside the row itself), in it immutable segments: NumPy
arrays of (digest of the answer, log-probability in nats, tokens), 44 bytes an answer, read without pickle. A segment is
named by the SHA-256 of its key and its bytes and appears in one rename, so two processes may read and write at once,
and a file that was torn, changed or put under another key is recognised, thrown away and computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import secrets
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from flytewheel.records import canonical_json, digest, to_jsonable

LIMIT_BYTES = 512 * 2**20  # 12 million answers
_ABANDONED_S = 24 * 3600.0  # a partial file that old was left by a killed process
_LOG = logging.getLogger(__name__)


class ReferenceStore:
    """The values under one key.

    Args:
        root: Holds the folders of all keys; `None` keeps nothing.
        key: All that decides a value beside the row itself.
        limit_bytes: Of all keys together; beyond it the segments that were not used for longest go.
    """

    def __init__(self, root: Path | None, key: Mapping[str, Any], *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.key = dict(key)
        self._name = digest(self.key)
        self._root = root
        self._folder = None if root is None else root / self._name[:32]
        self._limit_bytes = limit_bytes

    def read(self, wanted: Collection[bytes]) -> tuple[dict[bytes, float], int]:
        """Looks answers up by digest.

        Returns:
            The log-probabilities of those that are known, in nats, and how many broken segments were thrown away.
        """
        found: dict[bytes, float] = {}
        discarded = 0
        if self._folder is None or not self._folder.is_dir():
            return found, discarded
        names = set(wanted)
        for path in sorted(self._folder.glob("*.npy")):
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # another process made room
                continue
            if path.stem != self._sign(content):
                _LOG.warning("%s: is not what was written; thrown away, its answers are computed again", path)
                path.unlink(missing_ok=True)
                discarded += 1
                continue
            known = _unpack(content, names)
            if known:
                found = {**known, **found}
                _touch(path)
        return found, discarded

    def write(self, values: Mapping[bytes, tuple[float, int]]) -> None:
        """Adds a segment: by digest of the answer its log-probability in nats and its number of tokens."""
        if self._folder is None or self._root is None or not values:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        note = self._folder / "key.json"  # for people; nothing reads it
        if not note.exists():
            _replace(note, json.dumps(to_jsonable(self.key), indent=1, sort_keys=True).encode() + b"\n")
        content = _pack(values)
        _replace(self._folder / f"{self._sign(content)}.npy", content)
        _make_room(self._root, self._limit_bytes)

    def _sign(self, content: bytes) -> str:
        return hashlib.sha256(canonical_json(self.key) + content).hexdigest()


def _layout() -> Any:
    import numpy

    return numpy.dtype([("answer", "u1", (32,)), ("logp", "<f8"), ("tokens", "<u4")])


def _pack(values: Mapping[bytes, tuple[float, int]]) -> bytes:
    import numpy

    table = numpy.zeros(len(values), dtype=_layout())
    for at, (answer, (logp, tokens)) in enumerate(sorted(values.items())):
        table[at] = (numpy.frombuffer(answer, dtype="u1"), logp, tokens)
    stream = io.BytesIO()
    numpy.save(stream, table, allow_pickle=False)
    return stream.getvalue()


def _unpack(content: bytes, wanted: set[bytes]) -> dict[bytes, float]:
    import numpy

    table = numpy.load(io.BytesIO(content), allow_pickle=False)
    answers = table["answer"].tobytes()
    known = {}
    for at, logp in enumerate(table["logp"].tolist()):
        answer = answers[32 * at : 32 * at + 32]
        if answer in wanted:
            known[answer] = logp
    return known


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:  # gone, or a cache that may only be read
        return


def _make_room(root: Path, limit_bytes: int) -> None:
    """Removes what was used longest ago, and what killed processes left; the newest segment always stays."""
    segments = []
    for path in root.glob("*/*"):
        try:
            facts = path.stat()
        except FileNotFoundError:
            continue
        if path.suffix == ".npy":
            segments.append((facts.st_mtime_ns, facts.st_size, path))
        elif path.suffix == ".partial" and time.time() - facts.st_mtime > _ABANDONED_S:
            path.unlink(missing_ok=True)
    segments.sort(reverse=True)
    total = 0
    for at, (_, size, path) in enumerate(segments):
        total += size
        if at and total > limit_bytes:
            path.unlink(missing_ok=True)
