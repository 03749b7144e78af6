"""Deployments against real routers: a version gets its share or is taken back, a new router takes over or does not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import model, smoke, surge
from deploy.smoke import Router, SmokeError
from tests.ports import free_port
from tests.router.hosting import make_router
from tests.router.live import ADMIN_KEY, API_KEY, LiveRouter, wait_until
from tests.services import TestServices

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@pytest.fixture(scope="module")
def router(services: TestServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRouter]:
    running = make_router(services, tmp_path_factory.mktemp("router"))
    try:
        running.start()
        yield running
    finally:
        running.stop()
        running.client.close()


def _deploy(router: LiveRouter, version: str, share: float, name: str) -> str:
    admin = Router(router.url, ADMIN_KEY)
    return model.deploy_model(admin, name, version, share, key=f"test {name}", watch_s=0.2, ready_s=60)


def test_a_smoke_test_says_what_is_wrong(
    router: LiveRouter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = router.serve("smoked", "word")
    assert smoke.smoke(Router(router.url, API_KEY), "smoked") == version
    with pytest.raises(SmokeError, match="does not list flytewheel/other"):
        smoke.smoke(Router(router.url, API_KEY), "other")
    with pytest.raises(SmokeError, match="401"):
        smoke.smoke(Router(router.url, "wrong"), "smoked")
    with pytest.raises(SmokeError, match=r"not ready within 0 s: .*refused"):
        smoke.smoke(Router(f"http://127.0.0.1:{free_port()}"), "smoked", ready_s=0)
    with pytest.raises(SmokeError, match="chat with smoked: 40"):
        smoke.smoke(Router(router.url, ADMIN_KEY), "smoked", version="2020.1.1")
    key = tmp_path / "key"
    key.write_text(API_KEY + "\n", encoding="utf-8")
    assert smoke.main([router.url, "--model", "smoked", "--key-file", str(key)]) == 0
    assert f"smoked {version} answers" in capsys.readouterr().out
    assert smoke.main([router.url, "--model", "other", "--key-file", str(key)]) == 1
    assert capsys.readouterr().err.startswith("error: /v1/models does not list")


def test_a_version_gets_its_share_once_or_all(router: LiveRouter) -> None:
    old = router.serve("shared", "base")
    new = router.register("shared", "candy")
    told = _deploy(router, new, 0.25, "shared")
    assert f"gives {new} 25%, {old} the rest" in told
    assert _deploy(router, new, 0.25, "shared") == told  # the same deployment, asked for again
    (experiment,) = router.rows(
        "SELECT experiment_id, control, treatment, share FROM experiments WHERE name = 'shared'"
    )
    assert experiment[1:] == (old, new, 0.25)
    router.send("POST", f"/experiments/{experiment[0]}/stop", {"reason": "test"})
    assert _deploy(router, new, 1.0, "shared") == f"shared: champion {old} → {new}"
    assert router.registry.get_alias("shared", "champion") == new
    assert _deploy(router, new, 1.0, "shared") == f"shared: {new} is champion already"


def test_a_version_that_does_not_answer_is_taken_back(router: LiveRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    old = router.serve("taken", "base")
    new = router.register("taken", "candy")
    ask = model.ask_model
    asked: list[str] = []

    def fail(to: Router, name: str, *, stream: bool = False, version: str = "") -> str:
        asked.append(version)
        if version == new:
            raise SmokeError(f"chat with {name}: 502")
        return ask(to, name, stream=stream, version=version)

    monkeypatch.setattr(model, "ask_model", fail)
    for share in (0.5, 1.0):
        with pytest.raises(SmokeError, match="taken back: chat with taken: 502"):
            _deploy(router, new, share, "taken")
    assert asked == [new, new]
    assert router.registry.get_alias("taken", "champion") == old
    states = router.rows("SELECT state, reason FROM experiments WHERE name = 'taken'")
    assert states == [("stopped", "deployment: chat with taken: 502")]
    with pytest.raises(SmokeError, match="PUT /models/taken/champion: 4"):
        _deploy(router, "2020.1.1", 1.0, "taken")
    assert router.registry.get_alias("taken", "champion") == old
    with pytest.raises(SmokeError, match="has no model nobody"):
        _deploy(router, new, 0.5, "nobody")


@pytest.fixture
def site(router: LiveRouter, tmp_path: Path) -> Iterator[surge.Site]:
    """nginx before no router yet, as a machine has it."""
    if NGINX is None:
        pytest.skip("no nginx: apt-get install nginx brings it")
    port, upstream = free_port(), tmp_path / "upstream"
    upstream.write_text(f"server 127.0.0.1:{router.port};\n", encoding="utf-8")
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"""
        pid {tmp_path}/nginx.pid; error_log {tmp_path}/nginx.log; worker_processes 1; daemon off;
        events {{ worker_connections 256; }}
        http {{
            access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
            fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
            upstream routers {{ include {upstream}; }}
            server {{ listen 127.0.0.1:{port}; location / {{
                proxy_pass http://routers; proxy_buffering off;
                proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
        }}
        """,
        encoding="utf-8",
    )
    nginx = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(config)])
    made = surge.Site(
        upstream,
        [NGINX, "-p", str(tmp_path), "-c", str(config), "-s", "reload"],
        Router(f"http://127.0.0.1:{port}", API_KEY),
        "surged",
        tmp_path / "pids",
        watch_s=0.5,
        ready_s=90,
    )
    try:
        smoke.wait_ready(made.front, 30)
        yield made
    finally:
        made.end_strays(None)
        nginx.terminate()
        nginx.wait(timeout=30)


def _command(router: LiveRouter) -> list[str]:
    given = {**router.environ, "FLYTEWHEEL_HOME": f"{router.home}-new", "FLYTEWHEEL_DRAIN_NOTICE_S": "0.1"}
    words = [f"{key}={value}" for key, value in given.items()]
    return [
        "env",
        *words,
        f"PYTHONPATH={Path(__file__).parents[2]}",
        sys.executable,
        "-m",
        "router",
        "--port",
        "{port}",
    ]


def test_a_new_router_takes_over_and_one_that_does_not_answer_never_does(router: LiveRouter, site: surge.Site) -> None:
    router.serve("surged", "base")
    if (router.home / "keys").exists():
        shutil.copytree(router.home / "keys", Path(f"{router.home}-new") / "keys")
    stop, answers = threading.Event(), []

    def ask_all_the_time() -> None:
        while not stop.is_set():
            body = {"model": "flytewheel/surged", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}
            try:
                answers.append(site.front.send("POST", "/v1/chat/completions", body)[0])
            except SmokeError as error:
                answers.append(str(error))
            time.sleep(0.02)

    old = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    users = threading.Thread(target=ask_all_the_time)
    users.start()
    try:
        broken = [sys.executable, "-c", "import time; time.sleep(600)", "{port}"]
        with pytest.raises(SmokeError, match="not ready within 1 s"):
            surge.deploy(surge.Site(**{**_fields(site), "ready_s": 1.0}), broken)
        assert site.find_serving() == router.port
        assert list(site.pids.glob("*.pid")) == []
        with pytest.raises(SmokeError, match="reload"):  # nginx refuses: back to the old one, and the new one is ended
            surge.deploy(surge.Site(**{**_fields(site), "reload": _fail_once(site)}), _command(router))
        assert site.find_serving() == router.port
        assert list(site.pids.glob("*.pid")) == []
        (site.pids / f"{router.port}.pid").write_text(str(old.pid), encoding="utf-8")
        new = surge.deploy(site, _command(router))
        assert site.find_serving() == new != router.port
        assert site.front.ask("/readyz")["ready"] is True
        assert [path.stem for path in site.pids.glob("*.pid")] == [str(new)]
        assert old.wait(timeout=10) == -signal.SIGTERM  # what stood for the router of before was told to end
    finally:
        stop.set()
        users.join(timeout=90)
        old.kill()
        old.wait()
    assert len(answers) > 20
    assert set(answers) == {200}, json.dumps(answers)
    wait_until(lambda: router.status() == "ready", what="the first router is nobody's to end")


def _fields(site: surge.Site) -> dict[str, object]:
    return {name: getattr(site, name) for name in site.__dataclass_fields__}


def _fail_once(site: surge.Site) -> list[str]:
    """A reload that fails the first time."""
    mark = site.pids.parent / "failed"
    reload = " ".join(site.reload)
    return ["sh", "-c", f"# reload\ntest -e {mark} && exec {reload}; touch {mark}; exit 1"]


def test_what_a_killed_deployment_left_is_ended(site: surge.Site) -> None:
    site.pids.mkdir()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    reaper = threading.Thread(target=left.wait)  # as init does for whose parent has gone
    reaper.start()
    (site.pids / "1.pid").write_text(str(left.pid), encoding="utf-8")
    site.end_strays(None)
    reaper.join(timeout=30)
    assert left.returncode == -signal.SIGTERM
    assert list(site.pids.iterdir()) == []
