from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from flytewheel.errors import SettingsError
from flytewheel.settings import read_settings
from router.app import create_app
from tests.router.live import LiveRouter, wait_until


def test_a_killed_router_takes_its_backends_along_and_a_new_one_goes_on(make_router: Callable[[], LiveRouter]) -> None:
    router = make_router().start()
    control, treatment = router.serve("kept", "stable"), router.register("kept", "candy")
    experiment = router.launch("kept", control, treatment, share=0.5).json()["experiment"]
    met = {
        user: router.ask("kept", user).headers["x-flytewheel-version"] for user in ("ada", "grace", "alan", "edsger")
    }
    pids = [backend["pid"] for version in (control, treatment) if (backend := router.backend("kept", version))]
    assert len(pids) == 2
    router.kill()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), what="the backends ended")

    router.start(ready=False)
    # The first requests meet a router that is still loading: they wait instead of failing.
    again = {user: router.ask("kept", user) for user in met}
    assert {user: answer.headers["x-flytewheel-version"] for user, answer in again.items()} == met
    assert all(answer.headers["x-flytewheel-experiment"] == experiment["experiment_id"] for answer in again.values())
    assert router.launch("kept", control, treatment, share=0.5).json()["created"] is False

    last = router.ask("kept").headers["x-flytewheel-interaction"]
    backends = psutil.Process(router.process.pid if router.process else 0).children()
    assert router.stop() == 0
    wait_until(lambda: not any(psutil.pid_exists(child.pid) for child in backends), what="its backends are gone")
    assert router.rows("SELECT count(*) FROM interactions WHERE interaction_id = %s", last) == [(1,)]


def test_an_alias_moved_in_the_registry_arrives(router: LiveRouter) -> None:
    router.serve("moved", "stable")
    second = router.register("moved", "candy")
    router.registry.set_alias("moved", "champion", second)
    wait_until(lambda: router.ask("moved").headers["x-flytewheel-version"] == second, what="the new champion")


def test_a_stopped_backend_does_not_hold_up_the_end(make_router: Callable[[], LiveRouter]) -> None:
    router = make_router().start()
    backend = router.backend("stuck", router.serve("stuck", "stable"))
    assert backend is not None
    os.kill(backend["pid"], signal.SIGSTOP)
    assert router.stop() == 0
    wait_until(lambda: not psutil.pid_exists(backend["pid"]), what="its backend is gone")


def test_missing_settings_are_all_named() -> None:
    with pytest.raises(SettingsError) as caught:
        create_app(read_settings({"FLYTEWHEEL_S3_URL": "http://127.0.0.1:9"}))
    said = str(caught.value)
    assert "FLYTEWHEEL_DATABASE_URL" in said
    assert "FLYTEWHEEL_ADMIN_KEY" in said
    assert "FLYTEWHEEL_S3_URL" not in said
