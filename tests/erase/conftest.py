"""A turned loop with one person in it, made once for the tests that only look, and anew for those that erase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.local.services import Services
from registry.store import ObjectStore
from tests.erase.stage import Stage


@pytest.fixture
def stage(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """An empty stage, with wandb switched off."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return make_stage(services, database_url, store, tmp_path)


def make_stage(services: Any, database_url: str, store: ObjectStore, folder: Path) -> Stage:
    here = Services(
        home=folder / "home",
        database_url=database_url,
        s3_url=services.s3_url,
        s3_access_key=services.s3_access_key,
        s3_secret_key=services.s3_secret_key,
        s3_region=None,
        s3_bucket=store.bucket,
        router_url="",
        admin_key="",
        assignment_key="",
        erasure_key="a secret of the tests, long enough",
    )
    (folder / "in").mkdir(parents=True)
    here.home.mkdir()
    return Stage(here, folder / "in")
