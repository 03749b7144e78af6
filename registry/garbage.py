"""What in the store no version needs, and never will.

Marked are: every manifest that a pointer in `versions/` names, with its signature and its blobs, and every digest that
an unfinished registration holds (`claims`). Of the rest,

- a blob is garbage (who wants its name again finds it retired: `blobs`),
- a manifest is garbage, with its signature, only when another one owns its number: then nothing can ever point to it.
  One whose number is free may be about to be committed, and stays,
- the note that a name is retired is garbage when no late request can meet it any more, or when a version has its blob,
- what a killed probe left is garbage.

Only the registry's own keys are looked at. A pointer, manifest or claim that cannot be read stops it: what it names is
unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flytewheel.errors import RegistryError
from registry.blobs import BLOBS, RETIRED, blob_key
from registry.claims import CLAIMS, VERSIONS, Claim, read_claim, write_claim
from registry.manifest import Manifest
from registry.pointers import MANIFESTS, read_manifest, read_pointer
from registry.seal import SIGNATURES
from registry.store import ObjectStore, StoredKey

OURS = (BLOBS, MANIFESTS, SIGNATURES, RETIRED, "probe/")
RETIRED_FOR = timedelta(days=30)  # a collector that was stopped for so long between two requests does not come back
_READERS = 8


@dataclass(frozen=True, slots=True)
class Marked:
    """What is needed: keys of blobs and digests of manifests of versions, and digests that are held."""

    blobs: frozenset[str]
    manifests: frozenset[str]
    held: frozenset[str]
    owners: dict[tuple[str, str], str]  # (name, version) to the digest of its manifest

    def needs_blob(self, key: str) -> bool:
        """Whether a version names this blob, or a registration holds its digest."""
        return key in self.blobs or _digest_of(key) in self.held


def mark(store: ObjectStore, *, held_after: datetime | None) -> Marked:
    """Reads every claim and then every version. Claims that were last written before `held_after` count as let go.

    Claims first: a registration that is committed in between is then seen as held or as a version, or as both.

    Raises:
        RegistryError: a record cannot be read.
    """
    claims = read_claims(store)
    pointers = [(key.split("/")[1], key.split("/")[2]) for key in store.list(VERSIONS) if key.count("/") == 2]
    with ThreadPoolExecutor(_READERS) as pool:
        owners = dict(zip(pointers, pool.map(lambda each: _owner(store, *each), pointers), strict=True))
        manifests = list(pool.map(lambda owner: read_manifest(store, owner["manifest"]), owners.values()))
    done = {(owner["key"], version) for (_, version), owner in owners.items()}
    held = (
        claim.holds
        for claim, modified in claims
        if (held_after is None or modified >= held_after) and (claim.place, str(claim.version)) not in done
    )
    return Marked(
        blobs=frozenset(blob_key(file) for manifest in manifests for file in manifest.files.values()),
        manifests=frozenset(owner["manifest"] for owner in owners.values()),
        held=frozenset[str]().union(*held),
        owners={(name, version): owner["manifest"] for (name, version), owner in owners.items()},
    )


def read_claims(store: ObjectStore) -> list[tuple[Claim, datetime]]:
    """Every claim, and when it was last written by the store's clock."""
    listed = [each for each in store.describe(CLAIMS) if each.key.count("/") == 2 and each.modified]
    with ThreadPoolExecutor(_READERS) as pool:
        claims = pool.map(lambda each: read_claim(each.key.split("/")[1], each.key, store.read(each.key)), listed)
        return [(claim, each.modified) for each, claim in zip(listed, claims, strict=True) if each.modified]


def let_go(store: ObjectStore, *, held_after: datetime) -> None:
    """Takes their holds from claims that nobody has touched since `held_after`.

    A publisher that comes back after all finds its claim changed before it commits, and begins again.
    """
    for claim, modified in read_claims(store):
        if modified < held_after and claim.holds:
            store.put_if_match(claim.place, write_claim(replace(claim, holds=frozenset())), claim.etag)


def find_garbage(store: ObjectStore, marked: Marked, now: datetime) -> list[StoredKey]:
    """The registry's objects that are not needed, as they are listed."""
    listed = [each for prefix in OURS for each in store.describe(prefix)]
    present = {each.key for each in listed}
    orphans = {digest for digest in map(_digest_of, _under(present, MANIFESTS)) if digest not in marked.manifests}
    dead = {digest for digest in orphans if _is_dead(store, digest, marked)}

    def is_garbage(each: StoredKey) -> bool:
        if each.key.startswith(BLOBS):
            return not marked.needs_blob(each.key)
        if each.key.startswith((MANIFESTS, SIGNATURES)):
            return _digest_of(each.key) in dead
        if each.key.startswith(RETIRED):
            blob = BLOBS + each.key.removeprefix(RETIRED)
            old = each.modified is not None and each.modified < now - RETIRED_FOR
            return blob in marked.blobs or (old and blob not in present)
        return True

    return [each for each in listed if is_garbage(each)]


def _owner(store: ObjectStore, name: str, version: str) -> dict[str, str]:
    owner = read_pointer(store, name, version)
    if owner is None:
        raise RegistryError(f"{VERSIONS}{name}/{version} went away while it was read; keep other tools out")
    return owner


def _is_dead(store: ObjectStore, digest: str, marked: Marked) -> bool:
    try:
        manifest: Manifest = read_manifest(store, digest)
    except RegistryError:  # changed, or gone meanwhile: what it was for is unknown
        return False
    return marked.owners.get((manifest.name, manifest.version), digest) != digest


def _under(keys: Iterable[str], prefix: str) -> list[str]:
    return [key for key in keys if key.startswith(prefix)]


def _digest_of(key: str) -> str:
    """The digest in the key of a blob, manifest or signature."""
    return key.rsplit("/", 1)[1].split(".", 1)[0]
