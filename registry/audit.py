"""Is every version whole? Reads pointers, manifests, signatures, blobs, aliases, claims and the journal through.

One fault does not end it: each is a finding, and what depends on it is left out. A blob that several versions share is
read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from flytewheel.errors import RegistryError
from registry.aliases import ALIASES, Aliases
from registry.blobs import check_blob
from registry.claims import CLAIMS, list_versions, read_claim
from registry.journal import LOG
from registry.manifest import Manifest, Version, parse_version
from registry.slips import read_slip
from registry.store import ObjectStore
from registry.told import Meter, Progress


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Model.
        version: Version; empty for what belongs to the model as a whole.
        path: File of the version, or key of a record.
        state: `ok`, `missing`, `corrupt` (a file's bytes) or `faulty` (a record).
        says: What is wrong with a record.
        sha256: Of a file, as the manifest has it.
        size: Of a file, in bytes.
    """

    name: str
    version: str
    path: str
    state: Literal["ok", "missing", "corrupt", "faulty"]
    says: str = ""
    sha256: str = ""
    size: int = 0


def audit_versions(
    store: ObjectStore, show: Callable[[str, str], Manifest], name: str, versions: list[str], progress: Progress | None
) -> list[Finding]:
    """Reads versions of one model through; `show` gives a manifest or says why not."""
    findings: list[Finding] = []
    manifests: list[Manifest] = []
    for version in versions:
        try:
            manifests.append(show(name, version))
        except RegistryError as error:
            findings.append(Finding(name, version, f"versions/{name}/{version}", "faulty", str(error)))
    files = {(file.sha256, file.edition): file for manifest in manifests for file in manifest.files.values()}
    meter = Meter(f"verify {name}, MiB", sum(file.size for file in files.values()), progress)
    states = {key: check_blob(store, file, meter.add) for key, file in files.items()}
    for manifest in manifests:
        findings += [
            Finding(name, manifest.version, path, states[file.sha256, file.edition], "", file.sha256, file.size)
            for path, file in sorted(manifest.files.items())
        ]
    return sorted(findings, key=lambda each: (parse_version(each.version) or Version(0, 0, 0), each.path))


def audit_records(store: ObjectStore, name: str) -> list[Finding]:
    """Reads what is kept about a model beside its versions; only faults are found."""
    return [Finding(name, "", key, "faulty", says) for key, says in _faults(store, name)]


def _faults(store: ObjectStore, name: str) -> Iterator[tuple[str, str]]:
    known = list_versions(store, name)
    by_week: dict[tuple[int, int], list[int]] = {}
    for year, week, iteration in known:
        by_week.setdefault((year, week), []).append(iteration)
    for (year, week), iterations in by_week.items():
        for gap in sorted(set(range(1, max(iterations) + 1)) - set(iterations)):
            version = Version(year, week, gap)
            yield f"versions/{name}/{version}", f"{version} is missing: later ones of its week are there; restore it"
    aliases = Aliases(store, clock=lambda: datetime.now(UTC))
    for key in store.list(f"{ALIASES}{name}/"):
        try:
            version_now = aliases.get(name, key.rsplit("/", 1)[1])
            if version_now is not None and parse_version(version_now) not in known:
                yield key, f"it stands for {version_now}, which is not there"
        except RegistryError as error:
            yield key, str(error)
    for key in (*store.list(f"{LOG}{name}/"), *store.list(f"{CLAIMS}{name}/")):
        found = store.read(key)
        try:
            if key.startswith(CLAIMS):
                read_claim(name, key, found)
            elif found is not None:
                read_slip(key, found.data)
        except RegistryError as error:
            yield key, str(error)
