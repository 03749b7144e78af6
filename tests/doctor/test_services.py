"""Services looked at: real ones, closed ports, and none; nothing is started."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from flytewheel.doctor.services import look, within
from flytewheel.errors import StoreError
from flytewheel.settings import Settings
from registry.store import ObjectStore
from tests.services import TestServices

CLOSED = "127.0.0.1:9"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_embedded_services_that_never_ran_are_no_fault(tmp_path: Path) -> None:
    found, findings = look(Settings(home=tmp_path / "home"))
    assert [service.state for service in found] == ["stopped"] * 3
    assert findings == []
    assert not (tmp_path / "home").exists()


def test_configured_services_are_asked_and_left_as_they_are(services: TestServices, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home", database_url=services.database_url, s3_url=services.s3_url, s3_bucket="not-made-yet",
        s3_access_key=SecretStr(services.s3_access_key), s3_secret_key=SecretStr(services.s3_secret_key),
    )  # fmt: skip
    found, findings = look(settings)
    assert [service.state for service in found] == ["answering", "answering", "stopped"]
    assert findings == []
    store = ObjectStore(services.s3_url, services.s3_access_key, services.s3_secret_key, "not-made-yet")
    assert store.has_bucket() is False  # looking has not made it
    with pytest.raises(StoreError):
        store.read("anything")


def test_what_is_configured_and_away_is_missing(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home", database_url=f"postgresql://u:secret@{CLOSED}/d", s3_url=f"http://{CLOSED}",
        s3_access_key=SecretStr("k"), s3_secret_key=SecretStr("s"), router_url=f"http://{CLOSED}",
        admin_key=SecretStr("a"),
    )  # fmt: skip
    found, findings = look(settings)
    assert [service.state for service in found] == ["not answering"] * 3
    lines = [str(finding) for finding in findings]
    assert [line.split(":")[0] for line in lines] == ["missing"] * 3
    assert "PostgreSQL at 127.0.0.1:9/d is not reachable" in lines[0]
    assert lines[0].endswith("; start it, or unset FLYTEWHEEL_DATABASE_URL for the embedded one")
    assert "/healthz; start it" in lines[2]
    assert "secret" not in "".join(lines)


def test_a_service_that_says_nothing_costs_the_deadline_only(silent: str, tmp_path: Path) -> None:
    began = time.monotonic()
    _, (finding,) = look(Settings(home=tmp_path, router_url=f"http://{silent}", admin_key=SecretStr("a")))
    assert finding.level == "missing"
    _, (finding,) = look(
        Settings(home=tmp_path, router_url=f"http://{silent}", admin_key=SecretStr("a")), deadline_s=0.1
    )
    assert "gives no answer within" in finding.what
    assert time.monotonic() - began < 6


def test_keys_that_are_not_set_are_missing(tmp_path: Path) -> None:
    _, (finding,) = look(Settings(home=tmp_path, s3_url="http://store:9000"))
    assert finding.what == "FLYTEWHEEL_S3_URL is set (http://store:9000), its keys are not"
    assert finding.remedy == "set FLYTEWHEEL_S3_ACCESS_KEY and FLYTEWHEEL_S3_SECRET_KEY too"


def test_a_question_may_take_too_long_or_fail() -> None:
    never = threading.Event()
    assert within(0.05, never.wait) is None
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)
    never.set()
