"""Faults on the registry against a real store process: nothing half-visible, dense numbers, every altered byte refused.

`benchmarks.registry_faults` says what is done. The store is the embedded one, started for this; bits are flipped in
its objects through the API.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import Goal, report
from benchmarks.registry_faults import (
    NAME,
    NOW,
    Checked,
    Place,
    check_registry,
    crowd,
    flip_bits,
    kill_at_any_moment,
    kill_at_each_write,
    open_registry,
    stop_store_mid_upload,
)
from flytewheel.local import objects
from flytewheel.local.processes import ProcessId

CROWD_S = 300.0  # 64 publishers and 1,000 versions: without listings, and with waits that grow
_MIB = 1 << 20


class Store:
    """The embedded store in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port: int | None = None
        self.process: ProcessId
        self.start()

    def start(self) -> None:
        """Starts it, on the port it had."""
        self.process, self._port = objects.start(
            self._folder / "objects", log=self._folder / "log", access_key="key", secret_key="secret-key",
            bucket="faults", port=self._port,
        )  # fmt: skip

    def kill(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.process.pid, number)

    def place(self, bucket: str) -> Place:
        """A fresh bucket of it."""
        made = Place(objects.server_url(self._port or 0), "key", "secret-key", bucket)
        made.open().ensure_bucket()
        return made


def measure(quick: bool) -> list[Goal]:
    """Each fault in a bucket of its own."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flytewheel-faults-")))
        store = Store(folder)
        cleanup.callback(lambda: objects.stop(store.process))
        goals = [
            *measure_kills(store, folder, 3 if quick else 100),
            *measure_crowd(store, folder, *((16, 100) if quick else (64, 1000))),
            *measure_flips(store, folder, 500 if quick else 10_000),
            *measure_stops(store, folder, 1 if quick else 10),
        ]
    return goals


def measure_kills(store: Store, folder: Path, rounds: int) -> list[Goal]:
    """Before each write, and at any moment."""
    started = time.monotonic()
    killed, before, after = kill_at_each_write(store.place("kills"), folder / "kills", rounds)
    writes = max(killed)
    print(
        f"kills: {writes} writes x {rounds}; {before.versions} versions before the second tries, "
        f"{after.versions} after ({time.monotonic() - started:.0f} s)"
    )
    caught, moment = kill_at_any_moment(store.place("moments"), folder / "moments", 2 * rounds, seed=5)
    print(f"kills at any moment: {caught} of {2 * rounds} caught at work; {moment.versions} versions")
    return [
        Goal("versions missing after the second tries", (writes + 1) * rounds - after.versions, 0),
        *whole("kills", before, after, moment),
    ]


def measure_crowd(store: Store, folder: Path, publishers: int, versions: int) -> list[Goal]:
    """Many publishers for one model."""
    seconds, found = crowd(store.place("crowd"), folder / "crowd", publishers, versions)
    print(f"crowd: {publishers} publishers, {found.versions} versions in {seconds:.1f} s")
    return [
        Goal("versions missing in the crowd", versions - found.versions, 0),
        Goal(f"seconds for {publishers} publishers and {versions} versions", seconds, CROWD_S),
        *whole("crowd", found),
    ]


def measure_flips(store: Store, folder: Path, flips: int) -> list[Goal]:
    """One bit at a time."""
    started = time.monotonic()
    found = flip_bits(store.place("flips"), folder / "flips", flips, seed=7)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.refused.items()))
    print(f"flipped bits refused: {kinds} ({time.monotonic() - started:.0f} s)")
    for line in found.accepted[:10]:
        print(f"  accepted: {line}")
    return [Goal(f"of {flips} flipped bits not refused", len(found.accepted), 0)]


def measure_stops(store: Store, folder: Path, turns: int) -> list[Goal]:
    """Paused and killed in the middle of an upload of three parts."""
    half = wrong = 0
    place = store.place("stops")
    for turn in range(turns):
        for name in ("paused", "killed"):
            file = folder / f"{name}-{turn}"
            file.write_bytes(os.urandom(40 * _MIB))
            before = place.open().list(f"versions/{NAME}/")
            if name == "paused":
                upset, restore = lambda: store.kill(signal.SIGSTOP), lambda: store.kill(signal.SIGCONT)
            else:
                upset, restore = lambda: store.kill(signal.SIGKILL), store.start
            code, after = stop_store_mid_upload(place, file, upset, restore)
            place = replace(place, url=store.place("stops").url)
            wrong += code != (0 if name == "paused" else 3)
            half += code != 0 and after != ", ".join(before)
            open_registry(place).register(NAME, {"model.gguf": file}, facts={}, key=file.name, now=NOW)
            file.unlink()
    found = check_registry(place)
    print(f"store paused and killed mid-upload: {turns} times each; {found.versions} versions after the second tries")
    return [
        Goal("stores stopped mid-upload: publishers that ended otherwise than told", wrong, 0),
        Goal("stores stopped mid-upload: versions seen too early", half, 0),
        Goal("stores stopped mid-upload: versions missing", 2 * turns - found.versions, 0),
        *whole("stops", found),
    ]


def whole(what: str, *found: Checked) -> list[Goal]:
    """The goals that hold for every fault."""
    return [
        Goal(f"{what}: half-visible versions", sum(each.half_visible for each in found), 0),
        Goal(f"{what}: gaps in the numbers", sum(each.gaps for each in found), 0),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
