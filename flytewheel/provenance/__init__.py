"""What a version says of itself to the world: a model card in the hub's format and a bill of materials.

Both are written when the version is registered, out of its manifest alone, so that the same version gives the same
bytes; they lie in it as files and are covered by its signature. `facts` reads the manifest, `card`, `metadata` and
`usage` write README.md, `bom` writes bom.cdx.json.
"""

from __future__ import annotations

import hashlib

from flytewheel.provenance.bom import write_bom
from flytewheel.provenance.card import write_card
from registry.manifest import Manifest, StoredFile

CARD = "README.md"
BOM = "bom.cdx.json"


def describe_version(manifest: Manifest) -> dict[str, bytes]:
    """The files that describe a version, by name; `manifest` holds every other file of it."""
    card = write_card(manifest).encode()
    stored = StoredFile(sha256=hashlib.sha256(card).hexdigest(), size=len(card))
    with_card = manifest.model_copy(update={"files": {**manifest.files, CARD: stored}})
    return {CARD: card, BOM: write_bom(with_card)}
