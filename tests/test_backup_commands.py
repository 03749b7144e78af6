from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel.cli import main
from flytewheel.erase.erasure import Place
from tests.backup.conftest import make_empty  # noqa: F401
from tests.releases import judge_run, place_services, register, write_export
from tests.services import TestServices


def test_backup_and_restore_by_hand(
    services: TestServices,
    make_empty: Callable[..., Place],  # noqa: F811
    database_url: str,
    store: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = place_services(database_url, store.bucket, services, tmp_path / "home")
    register(here, judge_run(here), write_export(tmp_path / "export"))

    def call(place: dict[str, str], *arguments: str, code: int = 0) -> Any:
        for name, value in place.items():
            monkeypatch.setenv(f"FLYTEWHEEL_{name}", value)
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == code, result.output
        return result

    keys = {"S3_ACCESS_KEY": services.s3_access_key, "S3_SECRET_KEY": services.s3_secret_key}
    old = {"HOME": str(here.home), "DATABASE_URL": database_url, "S3_URL": f"{services.s3_url}/{store.bucket}", **keys}
    made = json.loads(call(old, "backup", str(tmp_path / "b"), "--json").stdout)
    assert made["objects"] > 5
    assert "holds the backup of" in call(old, "backup", str(tmp_path / "b"), code=1).output
    assert "every byte as it was written" in call(old, "backup", str(tmp_path / "b"), "--check").output
    empty = make_empty()
    new = {
        "HOME": str(empty.home),
        "DATABASE_URL": empty.database_url,
        "S3_URL": f"{services.s3_url}/{empty.store.bucket}",
    }
    assert "holds no finished backup" in call(old | new, "restore", str(tmp_path), code=1).output
    new |= {"TRUSTED_KEYS": str(here.home / "keys" / "trusted")}
    told = json.loads(call(old | new, "restore", str(tmp_path / "b"), "--json").stdout)
    assert told["backup"] == made["digest"]
    assert told["faults"] == []
    assert told["verified"] > 0
