"""What Flyte is told: `pyflyte package` in a child process, its protobuf read back."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyteidl.admin.launch_plan_pb2 import LaunchPlan
from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.admin.workflow_pb2 import WorkflowSpec
from google.protobuf.json_format import MessageToDict

REPOSITORY = Path(__file__).resolve().parents[2]
_KINDS: dict[str, type[Any]] = {"1": TaskSpec, "2": WorkflowSpec, "3": LaunchPlan}


@dataclass(frozen=True)
class Package:
    """Everything in a package by its name, and its bytes."""

    tasks: Mapping[str, TaskSpec]
    workflows: Mapping[str, WorkflowSpec]
    plans: Mapping[str, LaunchPlan]
    raw: bytes


def read_package(folder: Path, environ: Mapping[str, str]) -> Package:
    """Packages the workflows as `make package` does, with `environ` on top of this process's."""
    output = folder / "package.tgz"
    pyflyte = [sys.executable, "-m", "flytekit.clis.sdk_in_container.pyflyte"]  # finds this folder's code first
    command = [*pyflyte, "--config", "flyte.config.yaml", "--pkgs", "workflows", "package", "--output", str(output)]
    given = {key: value for key, value in os.environ.items() if not key.startswith("FLYTEWHEEL_")}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**given, "DOCKER_HOST": "tcp://127.0.0.1:9", "PYTHONWARNINGS": "ignore", **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    raw = b""
    with tarfile.open(output) as archive:
        for member in archive.getmembers():
            data = archive.extractfile(member)
            assert data is not None
            content = data.read()
            raw += content
            kind = member.name.removesuffix(".pb").rpartition("_")[2]
            message = _KINDS[kind].FromString(content)
            name = message.id.name if kind == "3" else message.template.id.name
            found[kind][name] = message
    return Package(found["1"], found["2"], found["3"], raw)


def to_pod(spec: TaskSpec) -> dict[str, Any]:
    """The pod of a task, as Kubernetes' JSON."""
    return dict(MessageToDict(spec.template.k8s_pod.pod_spec))
