from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flytewheel.errors import RegistryError
from registry.manifest import Manifest
from registry.store import ObjectStore
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class _KeyedHash:
    """The least that a seal can be: a hash over a secret and the manifest."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, manifest: Manifest, earlier: bytes | None = None) -> bytes:
        return hashlib.sha256(self._secret + manifest.to_bytes()).hexdigest().encode()

    def check(self, manifest: Manifest, signature: bytes | None) -> bytes:
        if signature is None or signature != self.sign(manifest):
            raise RegistryError(f"{manifest.name} {manifest.version} is {'wrongly' if signature else 'not'} signed")
        return signature


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "model.gguf").write_bytes(b"weights")
    return {"model.gguf": tmp_path / "model.gguf"}


def _register(registry: Registry, files: dict[str, Path]) -> Manifest:
    return registry.register("assistant", files, facts={}, key="run", now=NOW)


def test_what_a_seal_signed_is_read_with_it(store: ObjectStore, files: dict[str, Path], tmp_path: Path) -> None:
    registry = Registry(store, seal=_KeyedHash(b"ours"))
    made = _register(registry, files)
    assert store.list("signatures/") == [f"signatures/{made.digest}.json"]
    assert registry.list() == [registry.show("assistant", made.version)] == [made]
    assert [check.state for check in registry.verify("assistant", made.version)] == ["ok"]
    assert registry.download("assistant", made.version, tmp_path / "to")
    assert Registry(store).show("assistant", made.version) == made  # who has no seal asks for none


def test_nothing_is_read_that_the_seal_refuses(store: ObjectStore, files: dict[str, Path], tmp_path: Path) -> None:
    made = _register(Registry(store, seal=_KeyedHash(b"theirs")), files)
    registry = Registry(store, seal=_KeyedHash(b"ours"))
    for read in (
        lambda: registry.show("assistant", made.version),
        registry.list,
        lambda: registry.verify("assistant", made.version),
        lambda: registry.download("assistant", made.version, tmp_path / "to"),
        lambda: registry.set_alias("assistant", "champion", made.version),
    ):
        with pytest.raises(RegistryError, match="is wrongly signed"):
            read()
    assert not (tmp_path / "to").exists()
    store.delete(f"signatures/{made.digest}.json")
    with pytest.raises(RegistryError, match="is not signed"):
        registry.show("assistant", made.version)


def test_a_version_is_signed_before_it_can_be_seen(
    store: ObjectStore, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(store, seal=_KeyedHash(b"ours"))
    create, signed = store.put_if_absent, []

    def note(key: str, data: bytes) -> str | None:
        if key.startswith("versions/"):
            signed.extend(store.list("signatures/"))
        return create(key, data)

    monkeypatch.setattr(store, "put_if_absent", note)
    _register(registry, files)
    assert len(signed) == 1
