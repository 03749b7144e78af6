"""What a router serves where its champion may not serve any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flytewheel.errors import RegistryError
from registry.store import ObjectStore
from registry.taints import Taint, mark_tainted
from registry.versions import Registry
from router.backends.served import fetch_model
from router.blocked import Blocked, Served

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PAST = Taint("erasure-1", NOW - timedelta(days=31), "trained", NOW - timedelta(days=1))


def write_gguf(file: Path) -> None:
    """A sound file with one tensor."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(file, "llama")
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def registry(store: ObjectStore, tmp_path: Path) -> Registry:
    found = Registry(store)
    file = tmp_path / "model.gguf"
    write_gguf(file)
    for key, facts in (("base", {"kind": "base"}), ("one", {}), ("two", {})):
        made = found.register("oncall", {"model.gguf": file}, facts=facts, key=key, now=NOW, base_version=key == "base")
        found.set_alias("oncall", "champion", made.version)
    return found


def test_an_earlier_champion_answers_and_the_reason_is_said(registry: Registry) -> None:
    base, one, two = (each.version for each in registry.list("oncall"))
    assert Blocked(registry, NOW).choose("oncall", two) == Served(two)
    mark_tainted(registry.store, "oncall", two, PAST)
    served = Blocked(registry, NOW).choose("oncall", two)
    assert (served.version, served.reason.endswith(f": {one} serves in its place")) == (one, True)
    assert Blocked(registry, NOW - timedelta(days=2)).choose("oncall", two).version == two, "not before its deadline"
    mark_tainted(registry.store, "oncall", one, PAST)
    assert Blocked(registry, NOW).choose("oncall", two).version == base


def test_where_nothing_may_serve_it_is_said(registry: Registry) -> None:
    versions = [each.version for each in registry.list("oncall")]
    for version in versions:
        mark_tainted(registry.store, "oncall", version, PAST)
    served = Blocked(registry, NOW).choose("oncall", versions[-1])
    assert served.version is None
    assert "no earlier champion may serve: train from the base and promote that" in served.reason


def test_an_experiment_with_a_blocked_arm_is_found(registry: Registry) -> None:
    _, one, two = (each.version for each in registry.list("oncall"))
    mark_tainted(registry.store, "oncall", one, PAST)
    blocked = Blocked(registry, NOW)
    assert blocked.find("oncall", (two, one)) is not None
    assert blocked.find("oncall", (two,)) is None
    assert blocked.find("other", (one,)) is None


def test_a_blocked_version_is_not_brought_onto_the_disk(registry: Registry, tmp_path: Path) -> None:
    two = registry.list("oncall")[-1].version
    assert fetch_model(registry, tmp_path / "models", "oncall", two).file.is_file()
    mark_tainted(registry.store, "oncall", two, PAST)
    with pytest.raises(RegistryError, match="may not serve from 2026-11-27"):
        fetch_model(registry, tmp_path / "models", "oncall", two)
