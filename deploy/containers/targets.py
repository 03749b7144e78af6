"""What a task's template says of its container: command, image, environment and limits.

A task has either a container or, where it has a pod template, a whole pod with one container that is Flyte's. Limits
are those that Flyte's propeller would set: a task that asks for memory without a limit gets what it asks for as its
limit (flyteplugins' `AdjustOrDefaultResource`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyteidl.core import tasks_pb2
from google.protobuf import json_format

from deploy.containers import ContainersError

_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9}
_PRIMARY = "primary_container_name"


@dataclass(frozen=True)
class Target:
    """The container of a task; `memory_bytes` and `cpus` are limits, 0 where there is none."""

    image: str
    args: Sequence[str]
    environ: Mapping[str, str]
    memory_bytes: int
    cpus: float
    gpus: int


def find_container(template: Any, resources: Any = None) -> Target:
    """The container of a task.

    Args:
        template: `flyteidl.core.TaskTemplate`.
        resources: that a node has instead of the template's.

    Raises:
        ContainersError: the task has none, or asks for an amount that cannot be read.
    """
    kind = template.WhichOneof("target")
    if kind == "container":
        container = template.container
        asked = _read_amounts(container.resources)
        environ = {one.key: one.value for one in container.env}
        image, args = container.image, [*container.command, *container.args]
    elif kind == "k8s_pod":
        image, args, environ, asked = _read_pod(template)
    else:
        raise ContainersError(f"task {template.id.name} has no container ({kind}): only container tasks run here")
    asked |= _read_amounts(resources) if resources is not None else {}
    gpus = next((int(amount) for name, amount in asked.items() if "gpu" in name), 0)
    return Target(image, args, environ, int(asked.get("memory", 0)), asked.get("cpu", 0.0), gpus)


def read_amount(text: str) -> float:
    """A Kubernetes quantity: `500m`, `2`, `64Gi`.

    Raises:
        ContainersError: it is none.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", text.strip())
    if found is None or found[2] not in {*_UNITS, "m"}:
        raise ContainersError(f"{text!r} is no amount: expected such as 500m, 2 or 64Gi")
    return float(found[1]) / 1000 if found[2] == "m" else float(found[1]) * _UNITS[found[2]]


def _read_amounts(resources: Any) -> dict[str, float]:
    names = tasks_pb2.Resources.ResourceName
    return {
        names.Name(entry.name).lower(): read_amount(entry.value)
        for entries in (resources.requests, resources.limits)
        for entry in entries
    }


def _read_pod(template: Any) -> tuple[str, list[str], dict[str, str], dict[str, float]]:
    pod = json.loads(json_format.MessageToJson(template.k8s_pod.pod_spec))
    primary = template.config.get(_PRIMARY, "")
    found = next((one for one in pod.get("containers", []) if one.get("name") == primary), None)
    if found is None:
        raise ContainersError(
            f"the pod of task {template.id.name} has no container {primary!r}, which its config names"
        )
    resources = found.get("resources") or {}
    asked = {
        name: read_amount(str(amount))
        for part in ("requests", "limits")
        for name, amount in (resources.get(part) or {}).items()
    }
    environ = {one["name"]: one["value"] for one in found.get("env") or [] if "value" in one}
    return found["image"], [*(found.get("command") or []), *(found.get("args") or [])], environ, asked
