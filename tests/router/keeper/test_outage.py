"""A router whose database stops and whose object store is cut, while it runs and before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from flytewheel.api_keys import create_key
from flytewheel.database import migrate
from flytewheel.local import places
from tests.router.keeper.adapters import ask, post, register, serve
from tests.router.keeper.cut import Cut
from tests.router.live import API_KEY, LiveRouter, wait_until
from tests.services import StoppedPostgres

LIMIT_S = 4.0


@pytest.fixture(scope="module")
def database(open_dir: Path) -> Iterator[StoppedPostgres]:
    home = open_dir / "outage"
    home.mkdir()
    home.chmod(0o755)
    database = StoppedPostgres(places.choose_place(home, places.unprivileged_account()), home / "postgres.log")
    try:
        database.start()
        migrate(database.url)
        create_key(database.url, ("serve", "read"), secret=API_KEY)
        yield database
    finally:
        database.stop()
        places.remove_place(home)


@pytest.fixture(scope="module")
def store(services: Any) -> Iterator[Cut]:
    cut = Cut(urlsplit(services.s3_url).port or 0)
    yield cut
    cut.cut()


@pytest.fixture(scope="module")
def router(make_busy: Callable[..., LiveRouter], database: StoppedPostgres, store: Cut) -> LiveRouter:
    router = make_busy(control_only_after_s=LIMIT_S, database_url=database.url, s3_url=f"http://127.0.0.1:{store.port}")
    router.database_url = database.url
    return router


@pytest.fixture(autouse=True)
def _there(database: StoppedPostgres, store: Cut) -> Iterator[None]:
    yield
    database.start()
    store.cut()
    store.join()


def health(router: LiveRouter) -> dict[str, Any]:
    found: dict[str, Any] = router.get("/healthz").json()
    return found


def test_without_the_database_weights_stay_and_then_nobody_meets_a_treatment(
    router: LiveRouter, database: StoppedPostgres, store: Cut
) -> None:
    router.start()
    control, treatment = serve(router, "outage", "stable"), register(router, "outage", "candy")
    experiment = router.launch("outage", control, treatment, share=1.0).json()["experiment"]["experiment_id"]
    assert ask(router, "outage") == treatment
    database.stop()
    wait_until(lambda: health(router)["status"] == "degraded", what="the outage is noticed")
    assert ask(router, "outage") == treatment or health(router)["database"]["control_only"]  # it took that long
    assert router.send("PATCH", f"/experiments/{experiment}", {"share": 0.5}).status_code == 503
    wait_until(lambda: ask(router, "outage") == control, what="control only", timeout_s=LIMIT_S + 10)
    told = health(router)
    assert told["database"]["control_only"]
    assert any("nobody meets a treatment" in reason for reason in told["reasons"])
    assert "flytewheel_control_only 1.0" in router.get("/metrics").text
    assert router.get("/readyz").status_code == 200

    # A start without database and object store: the champion, by the files on this disk.
    router.stop()
    store.cut()
    router.start(ready=False)
    assert ask(router, "outage") == control
    told = health(router)
    assert (told["last_good"]["found"], told["database"]["control_only"], told["status"]) == ("good", True, "degraded")
    assert post(router, {"model": "flytewheel/nobody", "messages": []}, API_KEY)[0] in (400, 404)
    assert post(router, {"model": "flytewheel/outage", "messages": []}, "fw_wrong")[0] == 401

    # All as in the database once it is back, although the store is still away.
    database.start()
    wait_until(lambda: ask(router, "outage") == treatment, what="the experiment goes on", timeout_s=30)
    store.join()
    wait_until(lambda: health(router)["status"] == "ready", what="all is well")
    router.stop()


def test_a_restart_within_the_limit_keeps_a_share_and_brings_none_back(
    router: LiveRouter, database: StoppedPostgres
) -> None:
    router.environ["FLYTEWHEEL_CONTROL_ONLY_AFTER_S"] = "600"
    router.start()
    control, treatment = serve(router, "kept", "stable"), register(router, "kept", "candy")
    gone, other = serve(router, "gone", "stable"), register(router, "gone", "candy")
    router.launch("kept", control, treatment, share=1.0)
    stopped = router.launch("gone", gone, other, share=1.0).json()["experiment"]["experiment_id"]
    assert (ask(router, "kept"), ask(router, "gone")) == (treatment, other)
    assert router.send("POST", f"/experiments/{stopped}/stop", {"reason": "harm"}).status_code == 200
    router.kill()  # at once: what was taken back is on disk before the call returned
    database.stop()
    router.start(ready=False)
    assert (ask(router, "kept"), ask(router, "gone")) == (treatment, gone)
    router.stop()


def test_files_that_are_not_what_was_recorded_are_not_served(
    router: LiveRouter, database: StoppedPostgres, store: Cut
) -> None:
    router.environ["FLYTEWHEEL_CONTROL_ONLY_AFTER_S"] = "600"
    router.start()
    version = serve(router, "changed", "stable")
    router.stop()
    (weights,) = (router.home / "models" / "changed" / version).rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    store.cut()
    database.stop()
    router.start(ready=False)
    status, _, body = post(router, {"model": "flytewheel/changed", "messages": [{"role": "user", "content": "x"}]})
    assert status == 503, body
    assert any("changed@" in reason for reason in health(router)["reasons"])
    router.stop()

    # A table that was changed is refused, and the router starts without one.
    (table,) = router.home.glob("router-last-good.json")
    table.write_bytes(table.read_bytes().replace(b"champion", b"challenge").replace(b"v1", b"v2", 1))
    router.start(ready=False)
    assert health(router)["last_good"]["found"].startswith("refused: it is torn")
    assert router.get("/readyz").status_code == 503
    with suppress(psycopg.Error):
        router.stop()
