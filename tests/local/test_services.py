"""Where a command finds its services, and where it may not start any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel.errors import StackError
from flytewheel.local.services import Services, ensure_services, find_services
from flytewheel.settings import Settings, read_settings

SERVICES = Services(
    home=Path("/a home"),
    database_url="postgresql://u:p@127.0.0.1:5432/d",
    s3_url="http://127.0.0.1:9000",
    s3_access_key="access",
    s3_secret_key="secret",
    s3_region=None,
    s3_bucket="wheel",
    router_url="http://127.0.0.1:8080",
    admin_key="admin",
    assignment_key="assignment",
)


def test_a_child_process_reads_the_same_services_from_its_environment() -> None:
    settings = read_settings(SERVICES.environ())
    assert settings.home == SERVICES.home
    assert settings.database_url == SERVICES.database_url
    assert settings.s3_url == SERVICES.s3_url
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == "secret"
    assert find_services(settings) == SERVICES  # all configured: nothing embedded is asked for


def test_a_server_behind_the_router_is_told_to_the_router_s_process() -> None:
    services = replace(
        SERVICES, backend="vllm", backend_url="http://u:p@gpu:8000", backend_key="k", backend_folder="/mounted"
    )
    assert find_services(read_settings(services.environ())) == services
    assert services.environ()["FLYTEWHEEL_BACKEND"] == "vllm"
    assert "u:p" not in repr(services)


def test_no_stack_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        StackError, match=r"not running under .*: PostgreSQL, object store, router; start with"
    ) as caught:
        find_services(Settings(home=tmp_path))
    assert "\n" not in str(caught.value)


def test_nothing_is_started_inside_a_flyte_cluster(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url="postgresql://127.0.0.1/d")
    with pytest.raises(StackError, match=r"execution f3a1 runs on a Flyte cluster.* set FLYTEWHEEL_S3_URL,") as caught:
        ensure_services(settings, announce=print, environ={"FLYTE_INTERNAL_EXECUTION_ID": "f3a1"})
    assert "FLYTEWHEEL_DATABASE_URL" not in str(caught.value)
    assert not settings.home.exists()
