"""deploy/ and the workflows against the schemas of those who read them; all of it bundled, no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def _check(schema: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_workflows_are_github_s() -> None:
    paths = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
    assert {path.stem for path in paths} >= {"ci", "deploy_model", "nightly_calibration"}
    told = _check("vendor.github-workflows", *paths)
    assert told.returncode == 0, told.stdout + told.stderr


def test_compose_is_compose_s_and_a_wrong_word_is_found(tmp_path: Path) -> None:
    told = _check("vendor.compose-spec", DEPLOY / "compose.yaml")
    assert told.returncode == 0, told.stdout + told.stderr
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text(encoding="utf-8").replace("cap_drop:", "cap_dorp:"), "utf-8")
    assert _check("vendor.compose-spec", wrong).returncode == 1


def test_manifests_are_kubernetes_s() -> None:
    validate: Any = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    found = 0
    for path in sorted((DEPLOY / "kubernetes" / "base").glob("*.yaml")):
        if path.name == "kustomization.yaml":
            continue
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            validate.validate(manifest, "1.34", strict=True)
            found += 1
    assert found >= 9
    with pytest.raises(validate.ValidationError):
        validate.validate({"apiVersion": "v1", "kind": "Service", "spec": {"prots": []}}, "1.34", strict=True)


def test_terraform_is_read_and_asks_for_little() -> None:
    hcl2: Any = pytest.importorskip("hcl2", reason="pip install python-hcl2")
    told: dict[str, str] = {}
    for path in sorted((DEPLOY / "terraform").glob("*.tf")):
        with path.open(encoding="utf-8") as stream:
            assert hcl2.load(stream)
        told[path.name] = path.read_text(encoding="utf-8")
    text = "\n".join(told.values())
    for name in re.findall(r'^variable "(\w+)"', told["variables.tf"], re.MULTILINE):
        assert f"var.{name}" in text.replace(told["variables.tf"], ""), f"variable {name} is used nowhere"
    used = set(re.findall(r"\bvar\.(\w+)", text))
    assert used == set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    for block in re.split(r"^variable ", told["variables.tf"], flags=re.MULTILINE)[1:]:
        assert "validation {" in block or block.startswith('"tags"'), block[:40]
    made = {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE)}
    for kind, name in re.findall(r"\b(aws_\w+)\.(\w+)\b", re.sub(r"data\.aws_\w+\.\w+", "", text)):
        assert f"{kind}.{name}" in made, f"{kind}.{name} is not made"
    allowed = re.findall(r"actions\s*=\s*\[([^\]]*)\]", text)
    wild = [each for each in allowed if "*" in each]
    assert wild == ['"s3:*"']  # of the statement that denies what comes without TLS
    flat = re.sub(" +", " ", text)
    for must in ("storage_encrypted = true", "publicly_accessible = false", "enable_key_rotation = true"):
        assert must in flat
    for must in ("block_public_policy = true", "rds.force_ssl", "manage_master_user_password = true"):
        assert must in flat


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: apt-get install prometheus brings it")
    key = tmp_path / "key"
    key.touch()
    told = (DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8")
    config = tmp_path / "prometheus.yaml"
    config.write_text(told.replace("/run/secrets/metrics_key", str(key)), encoding="utf-8")
    done = subprocess.run([promtool, "check", "config", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
