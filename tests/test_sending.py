"""`flytewheel models send` over a real store, into servers that check every byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flytewheel.errors import FlytewheelError
from flytewheel.modelfile import Modelfile
from flytewheel.models_commands import models
from registry.store import ObjectStore
from tests.router.spelling_model import write_spelling_model
from tests.sealed import sealed_registry
from tests.servers.loopback import running
from tests.servers.ollama import OllamaStandIn
from tests.servers.vllm import VllmStandIn, write_adapter

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def version(
    services: Any, store: ObjectStore, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A registered version with two GGUFs, a Modelfile and an adapter, and the settings that lead to it."""
    folder = tmp_path / "export"
    write_adapter(folder / "adapter", "word")
    write_spelling_model(folder / "model-F16.gguf", "stable")
    write_spelling_model(folder / "model-Q8_0.gguf", "candy")
    (folder / "Modelfile").write_text(Modelfile("model-F16.gguf", parameters={"num_ctx": 512}).to_text())
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    registry = sealed_registry(store, tmp_path / "home")
    registered = registry.register("demo", files, facts={"serve": "model-F16.gguf"}, key="k", now=NOW)
    bare = {"model-F16.gguf": folder / "model-F16.gguf"}
    registry.register("demo", bare, facts={}, key="b", now=NOW, base_version=True)
    for key, value in {
        "HOME": str(tmp_path / "home"),
        "DATABASE_URL": database_url,
        "S3_URL": services.s3_url,
        "S3_ACCESS_KEY": services.s3_access_key,
        "S3_SECRET_KEY": services.s3_secret_key,
        "S3_BUCKET": store.bucket,
        "ADMIN_KEY": "a",
        "ASSIGNMENT_KEY": "b",
    }.items():
        monkeypatch.setenv(f"FLYTEWHEEL_{key}", value)
    return registered.version


def send(*arguments: str) -> Result:
    return CliRunner().invoke(models, ["send", "demo", *arguments])


def test_a_version_is_sent_to_ollama(version: str, tmp_path: Path) -> None:
    with running(OllamaStandIn(tmp_path)) as server:
        done = send(version, "--url", server.url, "--json")
        assert done.exit_code == 0, done.output
        sent = json.loads(done.stdout)
        assert (sent["served_as"], sent["file"]) == (f"demo:{version}", "model-F16.gguf")
        model = server.models[f"demo:{version}"]
        assert model["files"] == [f"sha256:{sent['sha256']}"]
        assert model["parameters"] == {"num_ctx": 512}
        other = send(version, "--url", server.url, "--as", "mine/other", "--file", "model-Q8_0.gguf")
        assert f"serves demo {version} as mine/other" in other.stdout
        assert server.models["mine/other"]["files"] != model["files"]
        assert server.faults == []


def test_a_version_is_sent_to_vllm(version: str, tmp_path: Path) -> None:
    with running(VllmStandIn()) as server:
        done = send(version, "--to", "vllm", "--url", server.url)
        assert done.exit_code == 0, done.output
        assert server.adapters == {f"demo@{version}": f"{tmp_path}/home/models/demo/{version}/adapter"}
        assert server.faults == []
        bare = send("v1.202647.0", "--to", "vllm", "--url", server.url)
        assert "holds no adapter: it is the bare base" in str(bare.exception)


def test_what_is_missing_is_said(version: str, tmp_path: Path) -> None:
    with running(OllamaStandIn(tmp_path)) as server:
        for arguments, said in (
            ((version,), "give --url or FLYTEWHEEL_BACKEND_URL"),
            ((version, "--url", "http://127.0.0.1:9"), "is not reachable"),
            ((version, "--url", server.url, "--as", "a b"), "takes no model name 'a b'"),
            ((version, "--url", server.url, "--file", "model-Q4_0.gguf"), "no file 'model-Q4_0.gguf'"),
            (("v1.200001.1", "--url", server.url), "no version 'v1.200001.1'"),
        ):
            done = send(*arguments)
            assert done.exit_code != 0
            assert isinstance(done.exception, FlytewheelError)
            assert said in str(done.exception)
        assert server.models == {}
    assert "leave it out" in send(version, "--to", "vllm", "--url", "http://127.0.0.1:9", "--file", "x").output
