from __future__ import annotations

from pathlib import Path

import pytest
from flytekit.bin.entrypoint import setup_execution
from flytekit.exceptions.user import FlyteRecoverableException

from flytewheel.errors import DatabaseError
from tasks.services import connect, name_execution, name_fresh_start
from tests.ports import free_port


def test_a_fresh_start_is_named_by_its_execution_so_that_a_retry_is_the_same_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FLYTEWHEEL_FRESH", raising=False)
    assert name_fresh_start() is None
    monkeypatch.setenv("FLYTEWHEEL_FRESH", "1")
    assert name_fresh_start() == name_fresh_start() == name_execution()


def test_a_service_that_is_away_may_be_tried_again_on_a_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Flyte takes a user's error for final, whatever `retries` says, unless it is told otherwise."""
    nowhere = f"127.0.0.1:{free_port()}"
    for name, value in {
        "HOME": str(tmp_path),
        "DATABASE_URL": f"postgresql://x:y@{nowhere}/z",
        "S3_URL": f"http://{nowhere}",
        "S3_ACCESS_KEY": "a",
        "S3_SECRET_KEY": "b",
        "ROUTER_URL": f"http://{nowhere}",
        "ADMIN_KEY": "c",
    }.items():
        monkeypatch.setenv(f"FLYTEWHEEL_{name}", value)
    with pytest.raises(DatabaseError, match=nowhere):
        connect()
    monkeypatch.setattr("flytekit.bin.entrypoint._get_stats", lambda **_: None)  # its socket is never closed
    monkeypatch.setenv("FLYTE_INTERNAL_EXECUTION_ID", "abc")
    with setup_execution(str(tmp_path)), pytest.raises(FlyteRecoverableException, match=nowhere):
        connect()
