"""The bill of materials of a version: CycloneDX 1.6 as JSON (https://cyclonedx.org/docs/1.6/json/), an ML-BOM.

The model is the component that it is about, of type `machine-learning-model` with a model card; inside it are its
files with their hashes, before it (pedigree) the base model, beside it the data set with who answers for it, and the
packages that made it. Written by hand: cyclonedx-python-lib 11 knows no model card; its schema checks ours in the
tests. The serial number is made of the manifest's content and the time is the manifest's, so that the same version
gives the same bytes.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC
from typing import Any
from urllib.parse import quote

from flytewheel.licenses import spell_for_spdx
from flytewheel.provenance.facts import kind_of, list_figures, list_parity, name_base, section, spell, text
from flytewheel.provenance.metadata import TASK
from flytewheel.records import canonical_json
from registry.manifest import Manifest

SPEC_VERSION = "1.6"
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/flytewheel")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PROPERTIES = (
    "kind", "run_id", "mode", "started_from", "recipe_digest", "git_commit", "code_version", "seed", "device",
    "judged_against", "verdict", "gate_verdict", "serve", "candidate",
)  # fmt: skip


def write_bom(manifest: Manifest) -> bytes:
    """The file: JSON with sorted keys."""
    return canonical_json(describe_bom(manifest))


def describe_bom(manifest: Manifest) -> dict[str, Any]:
    """The document as plain values."""
    base, dataset, packages = _describe_base(manifest), _describe_dataset(manifest), _list_packages(manifest)
    components = [*([dataset] if dataset else []), *packages]
    needed = [component["bom-ref"] for component in (base, *components)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, manifest.digest)}",
        "version": 1,
        "metadata": {
            "timestamp": f"{manifest.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [_describe_tool(manifest)]},
            "component": _describe_model(manifest, base),
        },
        "components": [base, *components],
        "services": [_describe_service(manifest)],
        "dependencies": [{"ref": "model", "dependsOn": needed}, *({"ref": ref} for ref in needed)],
    }


def _describe_model(manifest: Manifest, base: dict[str, Any]) -> dict[str, Any]:
    facts = manifest.facts
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": manifest.name,
        "version": manifest.version,
        "description": f"{kind_of(manifest)} of {name_base(manifest)}, made by flytewheel",
        "licenses": _list_licenses(text(facts, "base_license")),
        "pedigree": {"ancestors": [{key: value for key, value in base.items() if key != "bom-ref"}]},
        "modelCard": _describe_card(manifest),
        "components": [_describe_file(path, manifest) for path in sorted(manifest.files)],
        "properties": [
            {"name": f"flytewheel:{name}", "value": text(facts, name)} for name in _PROPERTIES if text(facts, name)
        ]
        + [{"name": f"flytewheel:parity:{name}", "value": value} for name, value in list_parity(facts)],
    }
    return {key: value for key, value in found.items() if value}


def _describe_card(manifest: Manifest) -> dict[str, Any]:
    facts = manifest.facts
    parameters: dict[str, Any] = {
        "approach": {"type": "supervised"},
        "task": TASK,
        "architectureFamily": "transformer",
        "datasets": [{"ref": "data"}] if text(facts, "dataset_digest") else [],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    metrics = [
        {
            "type": figure.name,
            "value": spell(figure.value),
            "slice": "held-out users",
            **(
                {"confidenceInterval": {"lowerBound": spell(figure.low), "upperBound": spell(figure.high)}}
                if figure.low is not None and figure.high is not None
                else {}
            ),
        }
        for figure in list_figures(facts)
        if figure.value is not None
    ]
    considerations = {
        "users": ["those of the service that this model was trained for"],
        "useCases": [f"answering the users of {manifest.name}"],
        "technicalLimitations": [
            "judged on held-out users of one stream of traffic; elsewhere it may do worse",
            "may state what is not so, and may repeat what it was trained on",
        ],
    }
    card: dict[str, Any] = {
        "modelParameters": {key: value for key, value in parameters.items() if value},
        "considerations": considerations,
    }
    return card | ({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {})


def _describe_base(manifest: Manifest) -> dict[str, Any]:
    facts, name = manifest.facts, name_base(manifest)
    digest = text(facts, "base_digest")
    where = "/".join(quote(part, safe="") for part in name.split("/"))
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "base",
        "name": name,
        "version": digest or text(facts, "base_revision"),
        "purl": f"pkg:huggingface/{where}@{digest}" if is_commit(digest) else "",
        "licenses": _list_licenses(text(facts, "base_license")),
        "properties": [{"name": "flytewheel:base_digest", "value": digest}] if digest else [],
    }
    return {key: value for key, value in found.items() if value}


def is_commit(digest: str) -> bool:
    """Whether a base's digest is a commit of the hub, 40 digits; a folder's has 64 (`models.base_digest`)."""
    return bool(re.fullmatch(r"[0-9a-f]{40}", digest))


def _describe_dataset(manifest: Manifest) -> dict[str, Any] | None:
    facts = manifest.facts
    digest, dataset = text(facts, "dataset_digest"), section(facts, "dataset")
    if not digest:
        return None
    content = text(dataset, "content_digest")
    counts = [
        {"name": f"rows:{kind}:{part}", "value": str(count)}
        for kind, parts in sorted(section(dataset, "counts").items())
        if isinstance(parts, dict)
        for part, count in sorted(parts.items())
    ]
    operator = {"organization": {"name": f"operator of {manifest.name}"}}
    data = {
        "type": "dataset",
        "name": digest,
        "classification": "confidential",
        "sensitiveData": ["what users of the service wrote; what was found of personal data in it was replaced"],
        "description": "curated reactions of users to answers; train, validation and test parts by user",
        "governance": {"custodians": [operator], "owners": [operator]},
        **({"contents": {"properties": counts}} if counts else {}),
    }
    found: dict[str, Any] = {
        "type": "data",
        "bom-ref": "data",
        "name": f"data set {digest[:12]}",
        "version": digest,
        "hashes": [{"alg": "SHA-256", "content": content}] if _SHA256.fullmatch(content) else [],
        "licenses": _list_licenses(text(dataset, "license")),
        "data": [data],
    }
    return {key: value for key, value in found.items() if value}


def _list_packages(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "type": "library",
            "bom-ref": f"pypi:{name}",
            "name": name,
            "version": str(version),
            "purl": f"pkg:pypi/{quote(name.lower().replace('_', '-'), safe='')}@{quote(str(version), safe='')}",
        }
        for name, version in sorted(section(manifest.facts, "packages").items())
    ]


def _describe_file(path: str, manifest: Manifest) -> dict[str, Any]:
    file = manifest.files[path]
    return {
        "type": "file",
        "bom-ref": f"file:{path}",
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "properties": [{"name": "flytewheel:size", "value": str(file.size)}],
    }


def _describe_tool(manifest: Manifest) -> dict[str, Any]:
    version = text(manifest.facts, "code_version")
    return {"type": "application", "name": "flytewheel", **({"version": version} if version else {})}


def _describe_service(manifest: Manifest) -> dict[str, Any]:
    return {
        "bom-ref": "service:router",
        "name": "flytewheel router",
        "description": f"serves {manifest.name} to its users",
        "endpoints": ["/v1/chat/completions", "/v1/completions", "/api/chat", "/api/generate"],
        "data": [{"flow": "bi-directional", "classification": "prompts and answers of users"}],
    }


def _list_licenses(license_: str) -> list[dict[str, Any]]:
    if not license_:
        return []
    spdx = spell_for_spdx(license_)
    return [{"license": {"id": spdx} if spdx else {"name": license_}}]
