"""Attempts of a task: its real command against a real store, in a process that stands where a container would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.containers.attempts import FATAL, RECOVERABLE, Attempt, Attempts, Cluster
from deploy.containers.cri import Ended, Pod
from deploy.containers.propeller import Registered, TaskCall, TaskFailedError
from deploy.containers.registration import serialise
from deploy.containers.scenes import as_literal
from tests.containers import flows
from tests.services import TestServices

ROOT = Path(__file__).resolve().parents[2]
STUMBLE = "tests.containers.flows.stumble"
Run = Callable[[Pod], Ended]


def run_process(pod: Pod) -> Ended:
    """The pod's own command as a process of this machine."""
    program = Path(sys.executable).with_name(pod.args[0])
    environ = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
    environ |= {**pod.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [program, *pod.args[1:]], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    return Ended(done.returncode, "Completed" if done.returncode == 0 else "Error", 1.0, 0, done.stdout + done.stderr)


class Machine:
    """A runtime that does what a test says at each attempt."""

    def __init__(self, *steps: Run) -> None:
        self.steps, self.pods = list(steps), list[Pod]()

    def run(self, pod: Pod, logs: Path, *, deadline_s: float, meanwhile: Callable[[str], bool]) -> Ended:
        self.pods.append(pod)
        return self.steps.pop(0)(pod)


@pytest.fixture(scope="module")
def registered() -> Registered:
    return serialise([flows.fall], project="p", domain="d", version="v").registered


@pytest.fixture
def cluster(services: TestServices, store: Any) -> Cluster:
    environ = {
        "FLYTE_AWS_ENDPOINT": services.s3_url,
        "FLYTE_AWS_ACCESS_KEY_ID": services.s3_access_key,
        "FLYTE_AWS_SECRET_ACCESS_KEY": services.s3_secret_key,
    }
    store_url = f"s3://{store.bucket}"
    return Cluster(store, store_url, environ, {"database_url": "postgresql://x", "other": "secret"}, 1 << 30, 2.0)


def attempts_of(cluster: Cluster, folder: Path, machine: Machine, seen: list[Attempt]) -> Attempts:
    return Attempts(machine, cluster, "e1", "w", folder, lambda call, one: seen.append(one))  # type: ignore[arg-type]


def call_of(registered: Registered, word: str, retries: int = 1) -> TaskCall:
    return TaskCall(registered.tasks[STUMBLE], "n0", retries, {"word": as_literal(word)})


def test_a_recoverable_error_is_tried_again_and_the_outputs_are_read(
    registered: Registered, cluster: Cluster, tmp_path: Path
) -> None:
    seen: list[Attempt] = []
    fine = call_of(registered, "fine")

    def mend(pod: Pod) -> Ended:  # what the caller corrects between two attempts
        cluster.store.put_bytes("metadata/e1/n0/inputs.pb", as_inputs(fine))
        return run_process(pod)

    machine = Machine(run_process, mend)
    outputs = attempts_of(cluster, tmp_path, machine, seen).run_task(call_of(registered, "away"))
    assert outputs["o0"].scalar.primitive.string_value == "fine"
    first, second = seen
    assert (first.outcome.split(":")[0], first.kind, first.ended.exit_code) == ("USER", RECOVERABLE, 0)
    assert "the database is away" in first.message
    assert (second.outcome, second.number) == ("outputs", 1)
    assert [pod.environ["FLYTE_ATTEMPT_NUMBER"] for pod in machine.pods] == ["0", "1"]
    assert machine.pods[0].args[machine.pods[0].args.index("--output-prefix") + 1].endswith("/metadata/e1/n0/0")


def test_a_user_s_error_is_final(registered: Registered, cluster: Cluster, tmp_path: Path) -> None:
    seen: list[Attempt] = []
    with pytest.raises(TaskFailedError, match="ValueError: a word is wrong") as failure:
        attempts_of(cluster, tmp_path, Machine(run_process), seen).run_task(call_of(registered, "wrong", retries=5))
    assert failure.value.kind == FATAL
    assert len(seen) == 1


def as_inputs(call: TaskCall) -> bytes:
    from flyteidl.core import literals_pb2

    return bytes(literals_pb2.LiteralMap(literals=call.inputs).SerializeToString())


def ends(code: int, reason: str) -> Run:
    return lambda pod: Ended(code, reason, 1.0, 0, "some\nlast words")


@pytest.mark.parametrize(
    ("code", "reason", "outcome", "times"),
    [
        (137, "OOMKilled", "OOMKilled", 3),  # counts against the task's two retries
        (247, "OOMKilled", "OOMKilled", 3),  # a child of the container's first process was what was killed
        (137, "Error", "Interrupted", 4),  # counts against the system's three
        (1, "Error", "Error", 3),
        (0, "Completed", "OutputsNotFound", 3),
    ],
)
def test_ends_without_an_error_of_flyte(
    registered: Registered, cluster: Cluster, tmp_path: Path, code: int, reason: str, outcome: str, times: int
) -> None:
    seen: list[Attempt] = []
    machine = Machine(*[ends(code, reason)] * 9)
    with pytest.raises(TaskFailedError) as failure:
        attempts_of(cluster, tmp_path, machine, seen).run_task(call_of(registered, "x", retries=2))
    assert (failure.value.code, failure.value.kind, len(seen)) == (outcome, RECOVERABLE, times)
    assert f"exit {code}" in seen[0].message


def test_a_task_gets_the_secrets_that_it_asks_for_and_no_others(
    registered: Registered, cluster: Cluster, tmp_path: Path
) -> None:
    call = call_of(registered, "x", retries=0)
    template = type(call.template).FromString(call.template.SerializeToString())
    asked = template.security_context.secrets.add(group="flytewheel", key="database_url")
    for name, wanted in (("FLYTEWHEEL_DATABASE_URL", "FLYTEWHEEL_DATABASE_URL"), ("", "_FSEC_FLYTEWHEEL_DATABASE_URL")):
        asked.env_var = name
        machine = Machine(ends(1, "Error"))
        with pytest.raises(TaskFailedError):
            attempts_of(cluster, tmp_path, machine, []).run_task(replace(call, template=template))
        assert machine.pods[0].environ[wanted] == "postgresql://x"
        assert "secret" not in machine.pods[0].environ.values()
    asked.key = "unknown"
    machine = Machine(ends(1, "Error"))
    with pytest.raises(TaskFailedError):
        attempts_of(cluster, tmp_path, machine, []).run_task(replace(call, template=template))
    assert not [name for name in machine.pods[0].environ if "UNKNOWN" in name or "DATABASE_URL" in name]


def test_limits_are_what_is_asked_for_and_never_more_than_there_is(
    registered: Registered, cluster: Cluster, tmp_path: Path
) -> None:
    template = type(registered.tasks[STUMBLE]).FromString(registered.tasks[STUMBLE].SerializeToString())
    for memory, wanted in (("256Mi", 256 << 20), ("64Gi", 1 << 30)):
        del template.container.resources.requests[:]
        template.container.resources.requests.add(name=3, value=memory)
        machine = Machine(ends(1, "Error"))
        call = replace(call_of(registered, "x", retries=0), template=template)
        with pytest.raises(TaskFailedError):
            attempts_of(cluster, tmp_path, machine, []).run_task(call)
        assert machine.pods[0].memory_bytes == wanted


def test_no_secret_is_shown_with_what_holds_it(cluster: Cluster) -> None:
    assert "secret" not in repr(cluster).replace("secrets", "")
    assert "x" not in repr(Pod("n", "i", [], {"KEY": "xxx"})).replace("Pod", "")
