"""Under what license a base model comes, as far as it says so, and how that is written elsewhere.

Decides nothing about what a license allows. The hub keeps it in the front matter of `README.md`
(https://huggingface.co/docs/hub/model-cards#model-card-metadata), by identifiers of its own in lower case; a bill of
materials wants SPDX's (https://spdx.org/licenses/), where there is one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

# The hub's identifier → SPDX's, for licenses that base models come under.
_SPDX = {
    "afl-3.0": "AFL-3.0",
    "agpl-3.0": "AGPL-3.0-only",
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0-1.0": "CC0-1.0",
    "gpl-3.0": "GPL-3.0-only",
    "isc": "ISC",
    "lgpl-3.0": "LGPL-3.0-only",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "unlicense": "Unlicense",
}
# Licenses of the hub's that SPDX has no name for.
_HUB_ONLY = frozenset(
    {
        "bigcode-openrail-m", "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "gemma", "llama2", "llama3",
        "llama3.1", "llama3.2", "llama3.3", "llama4", "openrail", "openrail++",
    }
)  # fmt: skip
_FRONT_MATTER = re.compile(r"\A\s*---\r?\n(.*?)\r?\n---\s*(?:\n|\Z)", re.DOTALL)
_LONGEST = 100


def read_license(folder: Path) -> str | None:
    """The license that a model's folder states in `README.md` or `config.json`; None where it states none.

    A license of another name (`license: other`) is given by that name.
    """
    for stated in (_front_matter(folder / "README.md"), _object(folder / "config.json")):
        value = stated.get("license")
        value = value[0] if isinstance(value, list) and value else value
        if value == "other":
            value = stated.get("license_name") or value
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:_LONGEST]
    return None


def spell_for_hub(license_: str) -> tuple[str, str | None]:
    """The hub's identifier of a license, and its name where the hub has no identifier (which is `other` then)."""
    known = license_.lower()
    if known in _SPDX or known in _HUB_ONLY:
        return known, None
    match = next((hub for hub, spdx in _SPDX.items() if spdx.lower() == known), None)
    return (match, None) if match else ("other", license_)


def spell_for_spdx(license_: str) -> str | None:
    """SPDX's identifier of a license; None where it has none that we know."""
    return _SPDX.get(spell_for_hub(license_)[0])


def _front_matter(path: Path) -> dict[str, Any]:
    try:
        found = _FRONT_MATTER.match(path.read_text(encoding="utf-8"))
        value = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
