"""The stack as one: started once, repaired, stopped in order, and taken back when it fails midway."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from flytewheel.api_keys import find_secret, is_well_formed, revoke_key
from flytewheel.database import connect
from flytewheel.errors import DatabaseError, RouterError, SettingsError, StackError, StoreError
from flytewheel.local import processes, stack, state
from flytewheel.settings import Settings
from flytewheel.signing_keys import KeyRing
from registry.keys import make_signing_key
from registry.store import ObjectStore

HEALTHY = """
import http.server, os, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(os.environ["FLYTEWHEEL_S3_BUCKET"].encode())
    def do_PUT(self):
        asked = self.rfile.read(int(self.headers["content-length"]))
        with open("asked", "a") as file:
            print(self.path, self.headers["authorization"], asked.decode(), file=file)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""

UP = """
import sys
from pathlib import Path
from flytewheel.local import stack
from flytewheel.settings import Settings
print(stack.up(Settings(home=Path(sys.argv[1])), announce=lambda line: None, with_router=False, durable=False).s3_url)
"""


def router_command(port: int) -> list[str | Path]:
    """Something with a `/healthz`, in place of the router."""
    return [sys.executable, "-c", HEALTHY, str(port)]


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def running(open_dir: Path) -> Iterator[Settings]:
    """A whole stack, in a folder with a space in its name; the tests of this module kill parts of it."""
    home = Path(tempfile.mkdtemp(prefix="a stack ", dir=open_dir))
    home.chmod(0o711)
    settings = Settings(home=home / ".flytewheel")
    up(settings)
    yield settings
    stack.remove(settings)
    assert not settings.home.exists()


def up(
    settings: Settings,
    *,
    announce: Callable[[str], None] = quiet,
    command: Callable[[int], Sequence[str | Path]] = router_command,
    deadline_s: float = 30,
) -> state.Services:
    return stack.up(settings, announce=announce, router_command=command, durable=False, deadline_s=deadline_s)


def fresh(open_dir: Path) -> Settings:
    folder = Path(tempfile.mkdtemp(dir=open_dir))
    folder.chmod(0o711)
    return Settings(home=folder / ".flytewheel")


def pids(settings: Settings) -> dict[str, int | None]:
    return {service.name: service.pid for service in stack.status(settings)}


def test_up_again_changes_nothing(running: Settings) -> None:
    up(running)
    before = pids(running)
    said: list[str] = []
    services = up(running, announce=said.append)
    assert pids(running) == before
    assert said == []
    assert [service.state for service in stack.status(running)] == ["running"] * 3
    with connect(services.database_url) as connection:  # migrated
        assert connection.execute("SELECT count(*) FROM feedback_events").fetchone() == (0,)


def test_the_record_is_for_this_user_only_and_is_kept_whole(running: Settings) -> None:
    services = up(running)
    path = running.home / state.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert services.admin_key in path.read_text()
    assert services.admin_key not in repr(services)
    assert services.database_url not in repr(services)
    assert [left.name for left in running.home.glob(".stack.json*")] == []


def test_our_own_clients_have_a_key_that_is_made_anew_when_it_ends(running: Settings) -> None:
    first = up(running).api_key
    assert up(running).api_key == first
    assert first not in repr(up(running))
    found = find_secret(up(running).database_url, first)
    assert found is not None
    assert found.scopes == {"serve", "feedback", "read"}
    revoke_key(up(running).database_url, found.key_id)
    second = up(running).api_key
    assert second != first
    path = running.home / state.FILE  # a record from before there was such a key
    document = json.loads(path.read_text())
    del document["keys"]["api_key"]
    path.write_text(json.dumps(document))
    before = pids(running)
    third = up(running).api_key
    assert is_well_formed(third)
    assert third not in (first, second)
    assert find_secret(up(running).database_url, third) is not None
    assert pids(running) == before  # no service is started again for it
    remote = running.model_copy(update={"router_url": "http://elsewhere", "admin_key": SecretStr("a")})
    assert state.assemble(remote, state.read_state(running.home)).api_key == ""  # ours is nobody else's


def test_versions_are_signed_with_a_key_of_this_machine_and_the_router_gets_no_private_one(running: Settings) -> None:
    key = up(running).key_ring.read_signing_key()
    assert (running.home / "keys" / "signing.pem").stat().st_mode & 0o777 == 0o600
    given = make_signing_key()
    settings = running.model_copy(update={"signing_key": SecretStr(given.pem.decode())})
    services = up(settings)  # another router, since it is to believe another key too
    assert services.key_ring.read_signing_key() == given
    pid = pids(running)["router"]
    environ = psutil.Process(pid).environ()
    assert "PRIVATE KEY" not in str(environ)
    assert "FLYTEWHEEL_SIGNING_KEY" not in environ
    believed = KeyRing(running.home, trusted_keys=environ["FLYTEWHEEL_TRUSTED_KEYS"]).read_trusted_keys()
    assert set(believed) == {given.public, key.public}
    up(running)
    assert "FLYTEWHEEL_TRUSTED_KEYS" not in psutil.Process(pids(running)["router"]).environ()


@pytest.mark.parametrize("name", ["postgres", "objects", "router"])
def test_a_killed_service_comes_back_with_its_data(running: Settings, name: str) -> None:
    services = up(running)
    with connect(services.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (name text)")
        connection.execute("INSERT INTO kept VALUES (%s)", (name,))
    keys = (services.s3_access_key, services.s3_secret_key, services.s3_bucket)
    ObjectStore(services.s3_url, *keys).put_bytes(f"kept/{name}", b"bytes")
    before = state.read_state(running.home)
    assert before is not None
    victim = before.parts[name].process
    assert victim is not None
    os.kill(victim.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not processes.is_alive(victim), deadline_s=10)
    assert [service.state for service in stack.status(running) if service.name == state.NAMES[name]] == ["died"]

    said: list[str] = []
    assert up(running, announce=said.append) == services  # the same ports and keys
    after = state.read_state(running.home)
    assert after is not None
    assert after.parts[name].process != victim
    others = [other for other in state.PARTS if other != name]
    assert [after.parts[other] for other in others] == [before.parts[other] for other in others]
    assert all(state.NAMES[name] in line for line in said)
    assert said
    with connect(services.database_url) as connection:
        assert connection.execute("SELECT 1 FROM kept WHERE name = %s", (name,)).fetchone() == (1,)
    assert ObjectStore(services.s3_url, *keys).get_bytes(f"kept/{name}") == b"bytes"


def test_a_hanging_service_is_started_again(running: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "HANG_S", 0.1)
    up(running)
    pid = pids(running)["router"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setitem(stack._STOP, "router", lambda process, _: processes.stop(process, name="router", grace_s=0.1))
    assert stack.status(running)[2].state == "not answering"  # after two seconds
    up(running)
    assert pids(running)["router"] not in {None, pid}


def test_the_number_of_workers_is_remembered(running: Settings) -> None:
    assert up(running).workers == 0
    before = pids(running)
    asked = running.model_copy(update={"workers": 3})
    services = up(asked)
    pid = pids(running)["router"]
    assert pid == before["router"]  # it goes on answering: only workers come and go
    asked_of_it = (running.home / "asked").read_text()
    assert asked_of_it == f'/workers Bearer {services.admin_key} {{"count":3}}\n'
    assert (up(running), pids(running)["router"]) == (services, pid)
    stack.down(running)
    assert up(running).workers == 3


def test_other_settings_start_the_router_again(running: Settings) -> None:
    up(running)
    before = pids(running)
    services = up(running.model_copy(update={"admin_key": SecretStr("another")}))
    after = pids(running)
    assert services.admin_key == "another"
    assert after["router"] != before["router"]
    assert after["PostgreSQL"] == before["PostgreSQL"]
    assert psutil.Process(after["router"]).environ()["FLYTEWHEEL_ADMIN_KEY"] == "another"


def test_down_stops_all_and_up_finds_the_data_and_the_keys_again(running: Settings) -> None:
    services = up(running)
    with connect(services.database_url) as connection:
        connection.execute("CREATE TABLE lasting AS SELECT 5 AS value")
    alive = [pid for pid in pids(running).values() if pid]
    assert stack.down(running) == ["router", "object store", "PostgreSQL"]
    assert [psutil.Process(pid) for pid in alive if psutil.pid_exists(pid)] == []
    assert [service.state for service in stack.status(running)] == ["stopped"] * 3
    assert stack.down(running) == []
    assert up(running) == services
    with connect(services.database_url) as connection:
        assert connection.execute("SELECT value FROM lasting").fetchone() == (5,)


def test_down_with_dead_parts_and_foreign_pids(running: Settings) -> None:
    up(running)
    recorded = state.read_state(running.home)
    assert recorded is not None
    router = recorded.parts["router"].process
    store = recorded.parts["objects"].process
    assert router is not None
    assert store is not None
    os.kill(router.pid, signal.SIGKILL)
    # The record of the store now names a pid that belongs to this very test.
    os.kill(store.pid, signal.SIGKILL)
    document = json.loads((running.home / state.FILE).read_text())
    document["parts"]["objects"]["process"]["pid"] = os.getpid()
    (running.home / state.FILE).write_text(json.dumps(document))
    assert processes.wait_until(lambda: not processes.is_alive(router), deadline_s=10)
    assert stack.down(running) == ["PostgreSQL"]
    up(running)


def test_two_at_once_start_one_stack(open_dir: Path) -> None:
    settings = fresh(open_dir)
    environ = {**os.environ, "PYTHONPATH": str(Path(stack.__file__).resolve().parents[2])}
    commands = [
        subprocess.Popen([sys.executable, "-c", UP, settings.home], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [command.communicate(timeout=60)[0] for command in commands]
    try:
        assert [command.returncode for command in commands] == [0, 0]
        assert outputs[0] == outputs[1] != ""
        serving = [process for process in psutil.process_iter(["cmdline", "cwd"]) if _serves(process, settings.home)]
        assert len(serving) == 2  # one PostgreSQL, one object store
    finally:
        stack.remove(settings)


def _serves(process: psutil.Process, home: Path) -> bool:
    folder = process.info["cwd"] or ""
    # PostgreSQL's own children work in its folder too, under titles of their own.
    command = process.info["cmdline"] or [""]
    return folder.startswith(str(home)) and ("hypercorn" in command or command[0].endswith("/postgres"))


def test_what_was_started_is_stopped_when_a_later_part_fails(running: Settings) -> None:
    stack.down(running)
    with pytest.raises(StackError, match=r"the router ended while it started; .*router\.log ends with: no such model"):
        up(running, command=lambda port: [sys.executable, "-c", "raise SystemExit('no such model')"])
    assert [service.state for service in stack.status(running)] == ["stopped"] * 3
    assert not [process for process in psutil.process_iter(["cmdline", "cwd"]) if _serves(process, running.home)]


def test_a_failure_does_not_stop_what_ran_before(running: Settings) -> None:
    up(running)
    stack._STOP["router"](state.read_state(running.home).parts["router"].process, 1.0)  # type: ignore[union-attr, arg-type]
    before = pids(running)
    with pytest.raises(StackError, match="the router ended"):
        up(running, command=lambda port: [sys.executable, "-c", "raise SystemExit('no such model')"])
    after = pids(running)
    assert (after["PostgreSQL"], after["object store"]) == (before["PostgreSQL"], before["object store"])
    up(running)


def test_configured_services_are_used_and_not_started(running: Settings, open_dir: Path) -> None:
    there = up(running)
    settings = Settings(
        home=open_dir / "unused",
        database_url=there.database_url,
        s3_url=there.s3_url,
        s3_access_key=SecretStr(there.s3_access_key),
        s3_secret_key=SecretStr(there.s3_secret_key),
        s3_bucket="of-its-own",
        router_url=there.router_url + "/",
        admin_key=SecretStr(there.admin_key),
    )
    services = stack.up(settings, announce=quiet)
    assert (services.database_url, services.s3_url, services.router_url) == (
        there.database_url,
        there.s3_url,
        there.router_url,
    )
    assert services.s3_bucket == "of-its-own"
    assert [service.state for service in stack.status(settings)] == ["configured"] * 3
    assert there.database_url.split(":")[2].split("@")[0] not in str(stack.status(settings))  # no password
    assert stack.down(settings) == []
    assert not settings.home.exists()


@pytest.mark.parametrize(
    ("configured", "error", "message"),
    [
        ({"database_url": "postgresql://u:p@127.0.0.1:9/d"}, DatabaseError, r"127\.0\.0\.1:9/d is not reachable"),
        (
            {"s3_url": "http://127.0.0.1:9", "s3_access_key": "k", "s3_secret_key": "s"},
            StoreError,
            r"http://127\.0\.0\.1:9 is not reachable",
        ),
        ({"router_url": "http://127.0.0.1:9", "admin_key": "k"}, RouterError, "does not answer /healthz"),
        ({"s3_url": "http://127.0.0.1:9"}, SettingsError, "set FLYTEWHEEL_S3_ACCESS_KEY and FLYTEWHEEL_S3_SECRET_KEY"),
        ({"router_url": "http://127.0.0.1:9"}, SettingsError, "set FLYTEWHEEL_ADMIN_KEY too"),
    ],
)
def test_a_configured_service_that_is_away_is_one_line_and_starts_nothing(
    open_dir: Path, configured: dict[str, str], error: type[Exception], message: str
) -> None:
    settings = Settings.model_validate({"home": open_dir / "never", **configured})
    with pytest.raises(error, match=message) as caught:
        up(settings)
    assert "\n" not in str(caught.value)
    assert not settings.home.exists()


def test_a_lost_record_keeps_the_data(running: Settings) -> None:
    services = up(running)
    with connect(services.database_url) as connection:
        connection.execute("CREATE TABLE unrecorded AS SELECT 3 AS value")
    stack.down(running)
    (running.home / state.FILE).unlink()
    renewed = up(running)
    assert renewed.admin_key != services.admin_key
    with connect(renewed.database_url) as connection:
        assert connection.execute("SELECT value FROM unrecorded").fetchone() == (3,)


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / state.FILE).write_text('{"format": 1')
    with pytest.raises(
        StackError, match=r"stack\.json is not a record of a stack .* delete it: data is kept"
    ) as caught:
        stack.status(Settings(home=tmp_path))
    assert "\n" not in str(caught.value)


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match=r"cannot be written .* set FLYTEWHEEL_HOME"):
        up(Settings(home=tmp_path / "file" / ".flytewheel"))


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"),
    reason="needs root, and util-linux (apt-get)",
)
def test_it_starts_with_no_network_but_loopback(open_dir: Path) -> None:
    settings = fresh(open_dir)
    script = f'ip link set lo up && exec "{sys.executable}" -c "$1" "$2"'
    code = UP + "stack.remove(Settings(home=Path(sys.argv[1])))\n"
    environ = {**os.environ, "PYTHONPATH": str(Path(stack.__file__).resolve().parents[2])}
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, "sh", code, settings.home],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("http://127.0.0.1:")
