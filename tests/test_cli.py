"""The command line, in process where it can be, on a real PostgreSQL and object store; wrong inputs are one line."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from click.testing import CliRunner, Result

from flytewheel import runs
from flytewheel.cli import main
from flytewheel.feedback.quarantine import hold_events
from flytewheel.feedback.window import close_window
from flytewheel.local import stack
from flytewheel.recipe import Recipe
from flytewheel.settings import Settings, read_settings
from flytewheel.signed_registry import open_registry
from flytewheel.signing_keys import ensure_home_key
from registry.versions import Registry
from tests.router.spelling_model import write_spelling_model
from tests.services import TestServices

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CLOSED = "127.0.0.1:9"  # the port of `discard`, where nobody listens
DEMO = Path(__file__).parent.parent / "recipes" / "demo.yaml"


class Machine:
    """A home, its services, and the command line that finds them by environment."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.environ = {"FLYTEWHEEL_HOME": str(home), **environ}

    def call(self, *arguments: str | Path, **environ: str) -> Result:
        given = {**self.environ, **{f"FLYTEWHEEL_{key.upper()}": value for key, value in environ.items()}}
        return CliRunner(env=given).invoke(main, [str(argument) for argument in arguments])

    def json(self, *arguments: str | Path) -> Any:
        result = self.call(*arguments)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    @property
    def database_url(self) -> str:
        return self.environ["FLYTEWHEEL_DATABASE_URL"]

    @property
    def registry(self) -> Registry:
        settings = read_settings(self.environ)
        services = stack.up(settings, announce=lambda line: None, with_router=False)
        ensure_home_key(services.key_ring)
        return open_registry(services)


@pytest.fixture(scope="module")
def routed(open_dir: Path, services: TestServices) -> Iterator[Machine]:
    """A machine whose router is embedded; database and store are the session's."""
    home = Path(tempfile.mkdtemp(prefix="cli-", dir=open_dir))
    home.chmod(0o711)
    keys = {
        "FLYTEWHEEL_DATABASE_URL": services.database_url,
        "FLYTEWHEEL_S3_URL": services.s3_url,
        "FLYTEWHEEL_S3_ACCESS_KEY": services.s3_access_key,
        "FLYTEWHEEL_S3_SECRET_KEY": services.s3_secret_key,
        "FLYTEWHEEL_S3_BUCKET": "command-line",
    }
    found = Machine(home, keys)
    try:
        result = found.call("up")
        assert result.exit_code == 0, result.output
        yield found
    finally:
        assert found.call("down").exit_code == 0


@pytest.fixture
def machine(routed: Machine, database_url: str, store: Any) -> Machine:
    """That machine, all services configured, with a fresh database and a fresh bucket."""
    environ = {
        **routed.environ,
        "FLYTEWHEEL_DATABASE_URL": database_url,
        "FLYTEWHEEL_S3_BUCKET": store.bucket,
        "FLYTEWHEEL_ROUTER_URL": json.loads(routed.call("status", "--json").stdout)[2]["url"],
        "FLYTEWHEEL_ADMIN_KEY": "unused",
    }
    del environ["FLYTEWHEEL_HOME"]
    return Machine(routed.home / "other", environ)


def one_line(result: Result, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert result.stdout == ""
    return line


# -------------------------------------------------------------------------------------------- wrong inputs


def test_a_misspelt_recipe_names_the_path_and_creates_nothing(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: oncall\nbase: {model: pocket}\ntraining: {learning_rat: 1e-3}\n")
    home = tmp_path / "home"
    line = one_line(Machine(home, {}).call("run", recipe), 2)
    assert "training.learning_rat: unknown key" in line
    assert str(recipe) in line
    assert not home.exists()


def test_a_recipe_that_is_missing_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read (No such file" in one_line(Machine(tmp_path / "home", {}).call("run", "none.yaml"), 2)


def test_a_recipe_that_has_no_room_for_a_small_turn_is_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: oncall\nbase: {model: pocket}\ncuration: {min_interactions: 10, max_interactions: 500}\n")
    line = one_line(Machine(tmp_path / "home", {}).call("run", recipe, "--incremental"), 2)
    assert "automation.incremental.after_interactions 1000 must not exceed curation.max_interactions 500" in line
    assert not (tmp_path / "home").exists()


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    line = one_line(Machine(tmp_path / "home", {}).call("status", s3_ur="http://127.0.0.1:9000"), 2)
    assert "unknown setting FLYTEWHEEL_S3_UR" in line
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"s3_url": f"http://{CLOSED}", "s3_access_key": "k", "s3_secret_key": "s"}, f"http://{CLOSED} is not reach"),
        ({"database_url": f"postgresql://u:secret@{CLOSED}/d"}, f"PostgreSQL at {CLOSED}/d is not reachable"),
        ({"router_url": f"http://{CLOSED}", "admin_key": "k"}, f"http://{CLOSED}"),
    ],
)
@pytest.mark.parametrize(
    "command", [("run", DEMO), ("feedback", "stats"), ("models", "list")], ids=lambda words: words[0]
)
def test_a_service_that_is_away_is_one_line(
    command: tuple[Any, ...], environ: dict[str, str], message: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    line = one_line(Machine(tmp_path / "home", {}).call(*command, **environ))
    assert message in line
    assert "secret" not in line
    assert time.monotonic() - began < 10
    assert not (tmp_path / "home").exists()


def test_a_missing_log_is_found_before_anything_is_started(tmp_path: Path) -> None:
    line = one_line(Machine(tmp_path / "home", {}).call("feedback", "import", tmp_path / "none.jsonl", DEMO))
    assert "none.jsonl: cannot be read" in line
    assert not (tmp_path / "home").exists()


def test_a_base_model_that_does_not_exist_opens_no_run(machine: Machine, tmp_path: Path) -> None:
    """The whole way through pyflyte: one line, no run, no data set, no feedback stored."""
    tree = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    tree["base"]["model"] = str(tmp_path / "no-model")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree))
    command = [str(Path(sys.executable).with_name("flytewheel")), "run", str(recipe)]
    environ = {**os.environ, **machine.environ}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: station open_turn failed: base.model '{tmp_path}/no-model': no such folder (trace")
    assert runs.list_runs(machine.database_url) == []
    assert machine.json("feedback", "stats", "--json")["interactions"] == 0
    assert machine.registry._store.list("datasets/") == []


# -------------------------------------------------------------------------------------------------- feedback


def write_logs(folder: Path) -> tuple[Path, Path]:
    """Two interactions of three lines, and one good event of four lines."""
    said = [
        {"interaction_id": f"i{n}", "user_id": f"u{n}", "timestamp": NOW.isoformat(), "query": "q?", "response": "r."}
        for n in range(2)
    ]
    event = {"event_id": "e0", "interaction_id": "i0", "user_id": "u0", "feedback_type": "thumbs_up"}
    event["timestamp"] = NOW.isoformat()
    heard = [event, {**event, "event_id": "e1", "interaction_id": "gone"}, {**event, "event_id": "e2", "rating": 3}]
    interactions, events = folder / "interactions.jsonl", folder / "feedback.jsonl.gz"
    interactions.write_text("\n".join([*map(json.dumps, said), "{half"]) + "\n")
    events.write_bytes(gzip.compress("\n".join([*map(json.dumps, heard), "[]"]).encode()))
    return interactions, events


def test_a_file_where_a_folder_is_wanted_is_one_line(machine: Machine, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    interactions, events = write_logs(tmp_path)
    for command in (("simulate", taken), ("permute", interactions, events, taken), ("export", taken)):
        assert one_line(machine.call("feedback", *command)) == f"error: {taken}: File exists"
    assert taken.read_text() == "mine"


def test_half_a_log_is_not_dealt_out_anew(tmp_path: Path) -> None:
    interactions, events = write_logs(tmp_path)
    events.write_bytes(events.read_bytes()[:-12])
    line = one_line(Machine(tmp_path / "home", {}).call("feedback", "permute", interactions, events, tmp_path / "out"))
    assert line.startswith(f"error: {events}: expected a whole gzip file, but ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        "runs list --limit -1",
        "demo --requests 0",
        "feedback simulate out --users 3",
        "feedback simulate out --interactions 0",
    ],
)
def test_a_number_out_of_range_is_a_wrong_option(words: str, tmp_path: Path) -> None:
    result = Machine(tmp_path / "home", {}).call(*words.split())
    assert result.exit_code == 2
    assert "is not in the range x>=" in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_run_that_nobody_knows_is_one_line(machine: Machine) -> None:
    for words in (["runs", "show", "none"], ["runs", "show", "none", "--json"]):
        assert "no run 'none' in this database" in one_line(machine.call(*words))


def test_an_import_counts_what_it_holds_back(machine: Machine, tmp_path: Path) -> None:
    logs = write_logs(tmp_path)
    first = machine.json("feedback", "import", *logs, "--source", "web", "--json")
    assert {key: first["interactions"][key] for key in ("read", "stored", "duplicates")} == {
        "read": 3,
        "stored": 2,
        "duplicates": 0,
    }
    assert first["interactions"]["quarantined"] == {"not JSON": 1}
    assert first["events"]["stored"] == 1
    assert first["events"]["quarantined"] == {"not an object": 1, "rating on another type": 1, "unknown interaction": 1}
    held = Path(first["quarantine"]).read_text().splitlines()
    assert Path(first["quarantine"]).parent == machine.home / "quarantine"
    assert [json.loads(line)["reason"] for line in held].count("unknown interaction") == 1
    assert len(held) == 4

    again = machine.json("feedback", "import", *logs, "--source", "web", "--json")
    assert (again["interactions"]["stored"], again["interactions"]["duplicates"]) == (0, 2)
    assert (again["events"]["stored"], again["events"]["duplicates"]) == (0, 1)
    stats = machine.json("feedback", "stats", "--json")
    assert (stats["interactions"], stats["events"]) == (2, 1)
    said = machine.call("feedback", "import", *logs, "--source", "web")
    assert said.exit_code == 0
    assert "interactions: 3 read, 0 stored, 2 known already, 1 quarantined (not JSON: 1)" in said.stdout
    assert "feedback.sources: [web]" in said.stdout


def test_an_export_imports_again_to_the_same(machine: Machine, tmp_path: Path) -> None:
    assert machine.call("feedback", "import", *write_logs(tmp_path)).exit_code == 0
    one, two = tmp_path / "one", tmp_path / "two"
    assert machine.json("feedback", "export", one, "--json") == {"interactions": 2, "feedback": 1}
    again = machine.json("feedback", "import", one / "interactions.jsonl.gz", one / "feedback.jsonl.gz", "--json")
    assert (again["interactions"]["duplicates"], again["events"]["duplicates"], again["quarantine"]) == (2, 1, None)
    assert machine.call("feedback", "export", two).exit_code == 0
    for name in ("interactions.jsonl.gz", "feedback.jsonl.gz"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert machine.json("feedback", "export", tmp_path / "none", "--source", "elsewhere", "--json") == {
        "interactions": 0,
        "feedback": 0,
    }


def test_votes_are_listed_redacted_released_and_audited(machine: Machine, tmp_path: Path) -> None:
    """A mail address is in a line that could not be stored, in a comment and in a user's id: none is shown."""
    interactions, _ = write_logs(tmp_path)
    secret = "ann.lee@example.org"
    event = {"event_id": "e0", "interaction_id": "i0", "user_id": secret, "feedback_type": "thumbs_down"}
    event |= {"timestamp": NOW.isoformat(), "comment": f"write to {secret}, no: {secret}"}
    events = tmp_path / "votes.jsonl"
    events.write_text("\n".join([json.dumps(event), f"mail {secret}"]))
    assert machine.call("feedback", "import", interactions, events, "--source", "web").exit_code == 0
    window = close_window(machine.database_url, "oncall", ["web"]).window
    assert window is not None
    place = (window.series, window.number)
    hold_events(machine.database_url, place, [{"event_id": "e0", "reason": "burst", "rule": "20 in 60 s"}])

    listed = machine.call("feedback", "quarantine", "list")
    assert listed.exit_code == 0, listed.output
    assert secret not in listed.stdout
    rows = machine.json("feedback", "quarantine", "list", "--json")
    assert secret not in json.dumps(rows)
    assert sorted((row["kind"], row["reason"]) for row in rows) == [
        ("feedback", "not JSON"),
        ("interaction", "not JSON"),
        ("vote", "burst"),
    ]
    (vote,) = machine.json("feedback", "quarantine", "list", "--reason", "burst", "--json")
    assert (vote["id"], vote["where"], vote["rule"], vote["released"]) == (
        "e0",
        "oncall/web window 1",
        "20 in 60 s",
        "",
    )
    assert vote["text"].startswith("thumbs_down: write to <EMAIL_1>")
    fault = next(row["id"] for row in rows if row["kind"] == "feedback")

    assert machine.call("feedback", "quarantine", "release").exit_code == 2
    assert "mend the line" in one_line(machine.call("feedback", "quarantine", "release", fault))
    assert "no vote e7 is held" in one_line(machine.call("feedback", "quarantine", "release", "e7"))
    freed = machine.call("feedback", "quarantine", "release", "--user", secret)
    assert freed.stdout == "1 votes released: they enter the next window\n"
    again = machine.call("feedback", "quarantine", "release", "e0")
    assert (again.exit_code, again.stdout) == (0, "0 votes released; 1 had been released before\n")

    told = machine.call("feedback", "audit")
    assert told.exit_code == 0, told.output
    assert told.stdout.endswith("audit: holds\n")
    assert ["window", "1", "2", "1", "1", "1", "holds"] in [line.split() for line in told.stdout.splitlines()]
    with psycopg.connect(machine.database_url) as connection:
        connection.execute("DELETE FROM interactions WHERE interaction_id = 'i1'")
    told = machine.call("feedback", "audit")
    assert told.exit_code == 1
    assert "mismatch: oncall/web window 1: closed over 2 interactions, 1 are there" in told.stdout
    broken = machine.call("feedback", "audit", "--json")
    assert (broken.exit_code, json.loads(broken.stdout)["holds"]) == (1, False)


def test_a_simulated_week_needs_no_service(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", {})
    report = machine.json(
        "feedback", "simulate", tmp_path / "week", "--users", "8", "--interactions", "20", "--seed", "3", "--json"
    )
    assert report["interactions"] >= 20
    assert (tmp_path / "week" / "feedback.jsonl.gz").is_file()
    assert not machine.home.exists()


# ---------------------------------------------------------------------------------------------------- models


def test_models_are_listed_shown_downloaded_and_verified(machine: Machine, tmp_path: Path) -> None:
    assert machine.json("models", "list", "--json") == []
    write_spelling_model(tmp_path / "model.gguf", "abc")
    (tmp_path / "Modelfile").write_text("FROM ./model.gguf\n")
    files = {name: tmp_path / name for name in ("model.gguf", "Modelfile")}
    facts = {"kind": "candidate", "verdict": "promote_to_canary"}
    registry = machine.registry
    version = registry.register("oncall", files, facts=facts, key="run-1", now=NOW).version
    registry.set_alias("oncall", "challenger", version)
    registry.register("oncall", files, facts={}, key="base", now=NOW, base_version=True)
    both = machine.json("models", "list", "oncall", "--json")
    assert [each["version"] for each in both] == [version, "v1.202647.0"]  # the newest first

    found = both[0]
    assert (found["name"], found["version"], found["facts"]) == ("oncall", "v1.202647.1", facts)
    row = machine.call("models", "list", "oncall").stdout.splitlines()[1]
    assert row.split() == ["oncall", version, "challenger", "2026-11-21", "12:00", "candidate", "promote_to_canary"]
    assert machine.json("models", "show", "oncall", "challenger", "--json") == found

    got = machine.call("models", "download", "oncall", version, tmp_path / "got", "--only", "model.gguf")
    assert got.stdout.split() == [str(tmp_path / "got" / "model.gguf")]
    assert (tmp_path / "got" / "model.gguf").read_bytes() == (tmp_path / "model.gguf").read_bytes()
    checks = machine.json("models", "verify", "oncall", version, "--json")
    assert {check["path"]: check["state"] for check in checks} == {"Modelfile": "ok", "model.gguf": "ok"}

    blob = found["files"]["model.gguf"]["sha256"]
    registry._store.put_bytes(f"blobs/sha256/{blob}", b"wrong")
    broken = machine.call("models", "verify", "oncall", version)
    assert broken.exit_code == 1
    assert "Modelfile   ok" in broken.stdout
    assert broken.stdout.splitlines()[2].split() != ["model.gguf", "ok"]
    assert "no version 'v1.202601.1'" in one_line(machine.call("models", "show", "oncall", "v1.202601.1"))


# ----------------------------------------------------------------------------------------- runs, status, help


def test_runs_are_listed_and_shown_whatever_became_of_them(machine: Machine) -> None:
    recipe = Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}})
    run = runs.open_run(machine.database_url, recipe, {"high_xid": "1"}, now=NOW, execution="e")
    with (
        pytest.raises(ZeroDivisionError),
        runs.run_station(machine.database_url, machine.home, run.run_id, "curate"),
    ):
        raise ZeroDivisionError("no rows")
    runs.finish_run(machine.database_url, run.run_id, error="no rows", station="curate")

    (found,) = machine.json("runs", "list", "--json")
    assert (found["run_id"], found["status"], found["station"], found["error"]) == (
        run.run_id, "failed", "curate", "no rows",
    )  # fmt: skip
    assert run.run_id in machine.call("runs", "list").stdout
    assert machine.json("runs", "show", run.run_id, "--json")["curate"]["status"] == "failed"
    shown = machine.call("runs", "show", run.run_id)
    assert shown.exit_code == 0, shown.output
    assert "failed: ZeroDivisionError: no rows" in shown.stdout
    assert "no run 'other'" in one_line(machine.call("runs", "show", "other"))
    assert machine.json("experiments", "list", "--json") == []


def test_status_starts_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", {})
    assert [(part["name"], part["state"]) for part in machine.json("status", "--json")] == [
        ("PostgreSQL", "stopped"),
        ("object store", "stopped"),
        ("router", "stopped"),
    ]
    assert machine.call("status").stdout.count("stopped") == 3
    assert "nothing runs under" in machine.call("down").stdout
    assert not machine.home.exists()


def test_status_tells_the_configured_from_our_own(routed: Machine) -> None:
    found = {part["name"]: part["state"] for part in json.loads(routed.call("status", "--json").stdout)}
    assert found == {"PostgreSQL": "configured", "object store": "configured", "router": "running"}


def test_doctor_looks_at_this_machine_and_changes_nothing(tmp_path: Path) -> None:
    """The real command in a process of its own: every part is said, a turn could run, within seconds."""
    home = tmp_path / "home"
    command = [sys.executable, "-m", "flytewheel.cli", "doctor", "--recipe", str(DEMO)]
    environ = {**os.environ, "FLYTEWHEEL_HOME": str(home)}
    began = time.monotonic()
    done = subprocess.run(
        command, env=environ, cwd=DEMO.parent.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.splitlines()) == (0, [f"looks at this machine {n}/5" for n in (0, 5)])
    assert time.monotonic() - began < 30  # about 5 s alone; the tests share their cores
    lines = done.stdout.splitlines()
    rows = {line.split()[0] for line in lines if line}
    assert rows >= {
        "Python", "system", "cores", "memory", "disk", "torch", "cpu", "xllamacpp", "llama-cpp-python", "bitsandbytes",
        "flash-attn", "tracking", "PostgreSQL", "router", "base", "training", "profile", "dtype", "attention",
        "packing", "workers", "pinned_memory",
    }  # fmt: skip
    assert lines[-1] == "ready: a turn can be run"
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_is_missing_to_programs_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", {})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: mine\nbase: {model: ./none}\ntraining: {adapter: qlora}\n")
    result = machine.call("doctor", "--recipe", recipe, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["ready"] is False
    assert [each["what"].split(":")[0] for each in found["findings"] if each["level"] == "missing"] == [
        "base.model './none'",
        "training.adapter",
    ]
    assert found["device"]["profile"]["dtype"]["reason"]
    assert machine.call("doctor", "--recipe", recipe).stdout.endswith("not ready: see what is missing above\n")
    recipe.write_text("name: mine\nbase: {modell: pocket}\n")
    assert "base.modell: unknown key" in one_line(machine.call("doctor", "--recipe", recipe), 2)
    assert not machine.home.exists()


def test_doctor_says_the_rest_where_torch_is_broken(tmp_path: Path) -> None:
    """A torch that cannot find its libraries, as a child of this test finds it before the real one."""
    broken = tmp_path / "path" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')")
    command = [sys.executable, "-m", "flytewheel.cli", "doctor", "--recipe", str(DEMO)]
    environ = {**os.environ, "FLYTEWHEEL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(broken.parent)}
    done = subprocess.run(
        command, env=environ, cwd=DEMO.parent.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.splitlines()) == (1, [f"looks at this machine {n}/5" for n in (0, 5)])
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("missing: torch")]
    assert "cannot be loaded (OSError: libcudart.so.13: cannot open" in line
    assert line.endswith("; pip install torch==2.13.0")
    assert "PostgreSQL        stopped" in done.stdout
    assert "profile" not in done.stdout


def test_help_answers_at_once() -> None:
    command = [str(Path(sys.executable).with_name("flytewheel")), "--help"]
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    after = os.times()
    assert "Commands:" in done.stdout
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 1.0  # CPU seconds; flytekit or torch alone would take more


def test_every_command_explains_itself() -> None:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*path, name))

    for path in walk(main, ()):
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0
        assert result.stdout.splitlines()[2].strip(), path
    assert Settings().home == Path(".flytewheel")
