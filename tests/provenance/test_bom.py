"""The bill of materials against the schema of CycloneDX, as cyclonedx-python-lib carries it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from flytewheel.provenance import BOM, CARD, describe_version
from registry.manifest import Manifest
from tests.provenance.made import FILES, build_bare, build_manifest


@pytest.fixture(scope="module")
def validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)


def write(manifest: Manifest, validator: JsonStrictValidator) -> dict[str, Any]:
    data = describe_version(manifest)[BOM].decode()
    assert validator.validate_str(data) is None
    found: dict[str, Any] = json.loads(data)
    return found


def by_ref(bom: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in bom["components"]}


def test_the_schema_notices_what_is_wrong(validator: JsonStrictValidator) -> None:
    wrong = json.loads(describe_version(build_manifest())[BOM])
    wrong["metadata"]["component"]["modelCard"]["modelParameters"]["approach"]["type"] = "magic"
    assert validator.validate_str(json.dumps(wrong)) is not None


def test_it_names_the_model_its_files_its_base_its_data_and_its_packages(validator: JsonStrictValidator) -> None:
    manifest = build_manifest()
    bom = write(manifest, validator)
    assert (bom["specVersion"], bom["metadata"]["timestamp"]) == ("1.6", "2026-11-28T06:30:15Z")
    model = bom["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "oncall", "v1.202648.1")
    hashes = {file["name"]: file["hashes"] for file in model["components"]}
    card = hashlib.sha256(describe_version(manifest)[CARD]).hexdigest()
    assert set(hashes) == {*FILES, CARD}
    assert hashes[CARD] == [{"alg": "SHA-256", "content": card}]
    assert hashes["Modelfile"] == [{"alg": "SHA-256", "content": manifest.files["Modelfile"].sha256}]
    (ancestor,) = model["pedigree"]["ancestors"]
    assert ancestor["purl"] == "pkg:huggingface/meta-llama/Llama-3.2-1B-Instruct@" + "a" * 40
    assert ancestor["licenses"] == [{"license": {"name": "llama3.2"}}]
    parts = by_ref(bom)
    assert parts["pypi:llama-cpp-python"]["purl"] == "pkg:pypi/llama-cpp-python@0.3.36"
    data = parts["data"]
    assert (data["type"], data["version"]) == ("data", "d" * 64)
    assert data["hashes"] == [{"alg": "SHA-256", "content": "e" * 64}]
    assert data["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    assert data["data"][0]["governance"]["custodians"] == [{"organization": {"name": "operator of oncall"}}]
    assert {"name": "rows:sft:train", "value": "1200"} in data["data"][0]["contents"]["properties"]
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "data"}]
    (metric,) = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metric["confidenceInterval"] == {"lowerBound": "1.05", "upperBound": "1.075"}
    depends = {entry["ref"]: entry.get("dependsOn") for entry in bom["dependencies"]}
    assert depends["model"] == ["base", "data", "pypi:llama-cpp-python", "pypi:torch"]
    assert {"name": "flytewheel:git_commit", "value": "c" * 40} in model["properties"]
    assert [service["name"] for service in bom["services"]] == ["flytewheel router"]


def test_every_reference_is_one_component(validator: JsonStrictValidator) -> None:
    bom = write(build_manifest(), validator)
    model = bom["metadata"]["component"]
    refs = [model["bom-ref"], *(part["bom-ref"] for part in [*model["components"], *bom["components"]])]
    assert len(refs) == len(set(refs))
    assert {entry["ref"] for entry in bom["dependencies"]} <= set(refs)


def test_the_serial_number_is_the_manifests(validator: JsonStrictValidator) -> None:
    one, other = write(build_manifest(), validator), write(build_manifest(seed=8), validator)
    assert one["serialNumber"] != other["serialNumber"]
    assert describe_version(build_manifest())[BOM] == describe_version(build_manifest())[BOM]


def test_a_local_base_has_no_package_url_and_a_known_license_its_identifier(validator: JsonStrictValidator) -> None:
    base = by_ref(
        write(build_manifest(base_model="pocket", base_digest="b" * 64, base_license="apache-2.0"), validator)
    )["base"]
    assert "purl" not in base
    assert base["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert base["version"] == "b" * 64


def test_whatever_the_facts_are_the_schema_holds(validator: JsonStrictValidator) -> None:
    assert "data" not in by_ref(write(build_bare(), validator))
    odd: list[Any] = ["ü\n|", 3, 1.5, [], ["y"], {"a": {"b": 1.5}}, True, "", {"x": None}]
    for shift in range(len(odd)):  # every fact meets every odd value
        write(
            build_manifest(**{name: odd[(at + shift) % len(odd)] for at, name in enumerate(build_manifest().facts)}),
            validator,
        )
