"""What can happen to a registry while it is written: kills, crowds, flipped bits, a store that stops.

Each function does it to a real store and returns what it saw; `benchmarks.registry` does it at full scale, the tests
of `registry` at a small one. Publishers are forks of the caller, so that a kill costs milliseconds; each opens a client
of its own. Bits are flipped in objects through the store's API (a store's files on disk are its own affair).
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from flytewheel.errors import FlytewheelError, RegistryError
from registry.claims import Claims
from registry.collection import CONDEMNED, collect
from registry.manifest import Manifest, parse_version
from registry.store import ObjectStore
from registry.versions import Registry

NAME = "assistant"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WRITES = ("put_bytes", "put_file", "put_if_absent", "put_if_match")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is."""

    url: str
    access_key: str
    secret_key: str
    bucket: str

    def open(self) -> ObjectStore:
        """A client of its own for this process."""
        return ObjectStore(self.url, self.access_key, self.secret_key, self.bucket)


class KeyedHash:
    """A seal whose signature is a hash over a secret and the manifest."""

    def sign(self, manifest: Manifest, earlier: bytes | None = None) -> bytes:
        return hashlib.sha256(b"secret" + manifest.to_bytes()).hexdigest().encode()

    def check(self, manifest: Manifest, signature: bytes | None) -> bytes:
        if signature is None or signature != self.sign(manifest):
            raise RegistryError(f"{manifest.name} {manifest.version}: its signature is not ours")
        return signature


def open_registry(place: Place) -> Registry:
    """A registry with a client and a seal of its own."""
    return Registry(place.open(), seal=KeyedHash())


def write_files(folder: Path, what: str) -> dict[str, Path]:
    """Two small files that no other call wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / name for name in ("model.gguf", "adapter/config.json")}
    for name, path in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} of {what}, " * 20)
    return files


@dataclass(frozen=True, slots=True)
class Checked:
    """Faults of a registry, as they are counted: none may be there."""

    versions: int
    half_visible: int
    gaps: int


def check_registry(place: Place) -> Checked:
    """Reads every version through: what is listed must be whole, and the numbers must be 1, 2, 3 …"""
    registry = open_registry(place)
    numbers, half = [], 0
    names = {key.rsplit("/", 1)[1] for key in place.open().list(f"versions/{NAME}/")}
    for version in sorted(names, key=lambda each: parse_version(each) or (0, 0, 0)):
        try:
            whole = all(check.state == "ok" for check in registry.verify(NAME, version))
        except FlytewheelError:
            whole = False
        half += not whole
        parsed = parse_version(version)
        assert parsed is not None
        numbers.append(parsed.iteration)
    return Checked(len(numbers), half, sum(number != due for due, number in enumerate(numbers, start=1)))


def fork(work: Callable[[], None]) -> int:
    """Starts `work` in a fork; returns its process id. An exception there is exit code 1."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except FlytewheelError as error:
        print(f"a publisher failed: {error}", flush=True)
    finally:
        os._exit(code)


def arm(kill: int) -> None:
    """Lets this process be killed before its n-th write from now on."""
    left = kill

    def armed(write: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return write(*args, **kwargs)

        return counted

    for name in WRITES:
        setattr(ObjectStore, name, armed(getattr(ObjectStore, name)))


def kill_at_each_write(place: Place, folder: Path, rounds: int) -> tuple[Counter[int], Checked, Checked]:
    """Kills a publisher before each of its writes, `rounds` times over, then lets all of them try again.

    Returns:
        How many were killed before which write (the highest came to their end), and what was there before and after
        the second tries.
    """
    place.open().probe()
    killed: Counter[int] = Counter()
    again: list[tuple[str, dict[str, Path]]] = []
    for turn in range(rounds):
        for kill in range(100):
            key = f"{turn}/{kill}"
            files = write_files(folder / key, key)
            again.append((key, files))

            def publish(kill: int = kill, key: str = key, files: dict[str, Path] = files) -> None:
                registry = open_registry(place)
                arm(kill)
                registry.register(NAME, files, facts={"key": key}, key=key, now=NOW)

            code = os.waitstatus_to_exitcode(os.waitpid(fork(publish), 0)[1])
            killed[kill] += 1
            if code != -signal.SIGKILL:
                assert code == 0, f"a publisher failed with {code}"
                break
    before = check_registry(place)
    registry = open_registry(place)
    for key, files in again:
        registry.register(NAME, files, facts={"key": key}, key=key, now=NOW)
    return killed, before, check_registry(place)


def kill_at_any_moment(place: Place, folder: Path, kills: int, seed: int) -> tuple[int, Checked]:
    """Kills publishers some milliseconds after they began, then lets them try again; returns how many it caught."""
    place.open().probe()
    chance, caught = random.Random(seed), 0
    for kill in range(kills):
        files = write_files(folder / str(kill), f"{kill}")

        def publish(key: str = str(kill), files: dict[str, Path] = files) -> None:
            open_registry(place).register(NAME, files, facts={"key": key}, key=key, now=NOW)

        child = fork(publish)
        time.sleep(chance.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        caught += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        if kill % 2:
            publish()
    return caught, check_registry(place)


def crowd(place: Place, folder: Path, publishers: int, versions: int) -> tuple[float, Checked]:
    """Lets publishers register at once until there are so many versions; returns seconds and what is there."""
    place.open().probe()
    started = time.monotonic()

    def publish(own: int) -> None:
        registry = open_registry(place)
        files = write_files(folder / str(own), f"publisher {own}")
        for turn in range(own, versions, publishers):
            registry.register(NAME, files, facts={"turn": turn}, key=f"{turn}", now=NOW)

    children = [fork(partial(publish, own)) for own in range(publishers)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(codes) == {0}, f"publishers failed: {Counter(codes)}"
    return time.monotonic() - started, check_registry(place)


@dataclass(frozen=True, slots=True)
class Flips:
    """How many flipped bits were refused, by kind of object, and the keys of those that were not."""

    refused: Counter[str]
    accepted: tuple[str, ...]


def flip_bits(place: Place, folder: Path, flips: int, seed: int) -> Flips:
    """Flips one random bit of one random object at a time, asks for what depends on it, and puts it back."""
    store, registry, chance = place.open(), open_registry(place), random.Random(seed)
    made = [
        registry.register(
            NAME, write_files(folder / key, key), facts={"loss": 0.25, "kind": "candidate"}, key=key, now=NOW
        )
        for key in ("one", "two", "three")
    ]
    for each in made:
        registry.promote(NAME, each.version, by="kim", reason="better")
    registry.set_alias(NAME, "challenger", made[0].version, by="ada")
    store.put_bytes("blobs/sha256/" + "0" * 64, b"left")
    collect(store, apply=True, grace=timedelta(0))
    kinds = {
        "blobs": store.list("blobs/sha256/"),
        "manifests": store.list("manifests/"),
        "signatures": store.list("signatures/"),
        "versions": store.list("versions/"),
        "aliases": store.list("aliases/"),
        "keys": store.list("keys/"),
        "log": store.list("log/"),
        "heads": store.list("heads/"),
        "gc": [CONDEMNED],
    }
    kinds["blobs"].remove("blobs/sha256/" + "0" * 64)
    right = {key: store.get_bytes(key) for keys in kinds.values() for key in keys}
    refused: Counter[str] = Counter()
    accepted = []
    for _ in range(flips):
        kind = chance.choice(sorted(kinds))
        key = chance.choice(kinds[kind])
        altered = bytearray(right[key])
        bit = chance.randrange(len(altered) * 8)
        altered[bit // 8] ^= 1 << bit % 8
        store.put_bytes(key, bytes(altered))
        if kind == "heads" and registry_goes_on(place, chance):  # a hint: what it says wrongly must not matter
            refused["heads (harmless)"] += 1
        elif kind != "heads" and is_refused(store, registry, made, kind):
            refused[kind] += 1
        else:
            accepted.append(f"{key} bit {bit}")
        store.put_bytes(key, right[key])
    return Flips(refused, tuple(accepted))


def registry_goes_on(place: Place, chance: random.Random) -> bool:
    """Whether a registration gets the next number, whatever the hint says."""
    store, key = place.open(), f"{chance.random()}"
    taken = max(int(each.rsplit(".", 1)[1]) for each in store.list(f"versions/{NAME}/"))
    claim = Claims(store).take(NAME, key, NOW, (), base=False)
    store.delete(claim.place)
    return claim.version.iteration == taken + 1


def is_refused(store: ObjectStore, registry: Registry, made: Sequence[Manifest], kind: str) -> bool:
    """Whether whoever needs an object of this kind is told, in one line, that one was changed."""
    try:
        if kind in {"manifests", "versions", "signatures"}:
            registry.list(NAME)
        elif kind == "blobs":
            return any(check.state != "ok" for each in made for check in registry.verify(NAME, each.version))
        elif kind == "aliases":
            registry.aliases(NAME)
        elif kind == "keys":
            for each in made:
                registry.register(NAME, {"x": Path(__file__)}, facts={}, key=each.key, now=NOW)
        elif kind == "log":
            registry.log(NAME)
        else:
            collect(store)
    except FlytewheelError as error:
        return "\n" not in str(error)
    return False


def stop_store_mid_upload(
    place: Place, file: Path, upset: Callable[[], None], restore: Callable[[], None]
) -> tuple[int, str]:
    """Registers `file` in a fork, upsets the store once its upload has begun, and sets it right again.

    Args:
        place: Where to.
        file: Of several parts.
        upset: Stops the store or kills it.
        restore: Lets it go on, or starts it anew.

    Returns:
        The publisher's exit code (0 where it got over it), and the keys of `versions/` afterwards, joined.
    """
    read, write = os.pipe()

    def publish() -> None:
        put_file = ObjectStore.put_file

        def begun(store: ObjectStore, key: str, path: Path, **options: Any) -> str:
            told = options.pop("told", None)

            def tell(count: int) -> None:
                os.write(write, b"x")
                if told:
                    told(count)

            return put_file(store, key, path, told=tell, **options)

        ObjectStore.put_file = begun  # type: ignore[assignment, method-assign]
        try:
            open_registry(place).register(NAME, {"model.gguf": file}, facts={}, key=file.name, now=NOW)
        except FlytewheelError:
            os._exit(3)

    child = fork(publish)
    os.read(read, 1)  # the first part has been read
    os.read(read, 1)  # the second one too: the first is on its way
    upset()
    time.sleep(0.2)
    restore()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(read)
    os.close(write)
    return code, ", ".join(place.open().list(f"versions/{NAME}/"))
