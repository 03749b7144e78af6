"""Sums that outlive the process, for new users who come before the log is counted again.

One file in the router's home, replaced as a whole and sealed with an HMAC: a torn, changed or foreign file is passed
over in one line. It holds sums by arm and hour: no user, no text. Every worker writes it now and then; whichever wrote
last, all know the same.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flytewheel.experiment.allocation.design import Design
from flytewheel.experiment.allocation.posterior import Posterior

logger = logging.getLogger("router.allocation")

FILE = "router-allocations.json"


class KeptSums:
    """The file of one home."""

    def __init__(self, home: Path, assignment_key: bytes) -> None:
        self._path = home / FILE
        self._key = hmac.digest(assignment_key, b"flytewheel allocations", "sha256")
        self._written = b""

    def read(self, experiment_id: str, design: Design) -> list[dict[str, Any]]:
        """The sums of one experiment; none where there is no such file, or it is not ours."""
        try:
            head, _, body = self._path.read_bytes().partition(b"\n")
            if not hmac.compare_digest(head, self._sign(body)):
                raise ValueError("it is torn, was changed, or is of another assignment key")
            rows: list[dict[str, Any]] = json.loads(body).get(experiment_id, [])
            Posterior(design).take_sums(rows)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is not used: %s", self._path, error)
            return []
        return rows

    def write(self, sums: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Replaces the file, where that says anything new."""
        body = json.dumps(sums).encode()
        if not sums or body == self._written:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{FILE}.", dir=self._path.parent)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(self._sign(body) + b"\n" + body)
                os.replace(name, self._path)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._path, error)
        else:
            self._written = body

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256").hex().encode()
