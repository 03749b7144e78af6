"""Pods of one container each, asked of containerd through Kubernetes' Container Runtime Interface.

The way of a kubelet: a sandbox in the host's network (the services are on its loopback), a container in it with a
memory limit, a user that is not root, a root that cannot be written, no capabilities, the runtime's own seccomp filter.
Why a container ended is what containerd says (`OOMKilled`), not what we think. Its highest memory use is read from its
memory group again and again: containerd removes the group as soon as a container has ended.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from deploy.containers import ContainersError
from deploy.containers.messages import EXITED, HOST, OWN, PACKAGE, get_message

GROUP = "flytewheel"  # memory group that the pods are under
USER = 1000
_POLL_S = 0.05
_PEAKS = ("memory/{group}/{id}/memory.max_usage_in_bytes", "{group}/{id}/memory.peak")  # cgroup v1 and v2
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Pod:
    """One container to run.

    Attributes:
        name: for people, in lower case.
        image: with its tag.
        args: program and arguments.
        environ: its environment; may hold secrets.
        memory_bytes: limit; a container that needs more is killed. 0: none.
        cpus: limit of processor time. 0: none.
        writable: folders of this machine by the path at which the container may write them; all else is read-only.
    """

    name: str
    image: str
    args: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    memory_bytes: int = 0
    cpus: float = 0
    writable: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a container ended: `reason` is containerd's word (`Completed`, `Error`, `OOMKilled`), `peak_bytes` the most
    memory that it used at once (with the page cache; 0: not told), `log` the lines that it wrote.
    """

    exit_code: int
    reason: str
    seconds: float
    peak_bytes: int
    log: str


class Runtime:
    """containerd behind its socket; closes the connection at the end of a `with` block."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def describe(self) -> str:
        """Name and version of what runs the containers.

        Raises:
            ContainersError: it does not answer.
        """
        said = self._call("Version", "VersionRequest")
        return f"{said.runtime_name} {said.runtime_version}"

    def run(
        self, pod: Pod, logs: Path, *, deadline_s: float, meanwhile: Callable[[str], bool] = lambda container: False
    ) -> Ended:
        """Runs a container to its end; what it was made of is removed also when we are interrupted.

        Args:
            pod: what to run.
            logs: folder for its output.
            deadline_s: after which it is stopped, as `timeout` of a task does it.
            meanwhile: called again and again while it runs; once it says yes, the container is killed.

        Raises:
            ContainersError: containerd refused, or the container outlived its deadline.
        """
        sandbox = _describe_sandbox(pod, logs)
        where = self._call("RunPodSandbox", "RunPodSandboxRequest", config=sandbox).pod_sandbox_id
        try:
            container = self._call(
                "CreateContainer",
                "CreateContainerRequest",
                pod_sandbox_id=where,
                config=_describe_container(pod),
                sandbox_config=sandbox,
            ).container_id
            self._call("StartContainer", "StartContainerRequest", container_id=container)
            status, peak = self._wait(pod, container, deadline_s, meanwhile)
            seconds = (status.finished_at - status.started_at) / 1e9
            reason = status.reason or ("Completed" if status.exit_code == 0 else "Error")
            return Ended(status.exit_code, reason, seconds, peak, _read_log(logs / _log_name(pod)))
        finally:
            self._remove(where)

    def clear(self) -> int:
        """Removes every pod that there is, such as those of a run that was killed; returns how many there were."""
        left = self._call("ListPodSandbox", "ListPodSandboxRequest").items
        for sandbox in left:
            self._remove(sandbox.id)
        return len(left)

    def _remove(self, sandbox: str) -> None:
        self._call("StopPodSandbox", "StopPodSandboxRequest", pod_sandbox_id=sandbox)
        self._call("RemovePodSandbox", "RemovePodSandboxRequest", pod_sandbox_id=sandbox)

    def _wait(self, pod: Pod, container: str, deadline_s: float, meanwhile: Callable[[str], bool]) -> tuple[Any, int]:
        end = time.monotonic() + deadline_s
        killed = False
        peak = 0
        while True:
            peak = max(peak, _read_peak(container))
            status = self._call("ContainerStatus", "ContainerStatusRequest", container_id=container).status
            if status.state == EXITED:
                return status, peak
            if time.monotonic() > end:
                raise ContainersError(f"{pod.name} still ran after its {deadline_s:.0f} s and was stopped")
            if not killed and meanwhile(container):
                killed = True
                self._call("StopContainer", "StopContainerRequest", container_id=container, timeout=0)
            time.sleep(_POLL_S)

    def _call(self, method: str, message: str, **fields: Any) -> Any:
        call = self._channel.unary_unary(
            f"/{PACKAGE}.RuntimeService/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=get_message(message.replace("Request", "Response")).FromString,
        )
        try:
            return call(get_message(message)(**fields), timeout=120, wait_for_ready=False)
        except grpc.RpcError as error:
            raise ContainersError(f"containerd refused {method}: {error.details()}") from error


def _describe_sandbox(pod: Pod, logs: Path) -> Any:
    config = get_message("PodSandboxConfig")()
    config.metadata.name, config.metadata.uid = pod.name, uuid.uuid4().hex
    config.metadata.namespace = GROUP
    config.log_directory = str(logs)
    config.linux.cgroup_parent = f"/{GROUP}"
    context = config.linux.security_context
    _set_namespaces(context.namespace_options)
    context.run_as_user.value = context.run_as_group.value = USER
    context.readonly_rootfs = True
    context.seccomp.profile_type = 0  # RuntimeDefault
    return config


def _describe_container(pod: Pod) -> Any:
    config = get_message("ContainerConfig")()
    config.metadata.name = "task"
    config.image.image = pod.image
    config.command.extend(pod.args)
    for key, value in sorted(pod.environ.items()):
        config.envs.add(key=key, value=value)
    for inside, outside in sorted(pod.writable.items()):
        config.mounts.add(container_path=inside, host_path=str(outside))
    config.log_path = _log_name(pod)
    resources = config.linux.resources
    resources.memory_limit_in_bytes = resources.memory_swap_limit_in_bytes = pod.memory_bytes
    if pod.cpus:
        resources.cpu_period, resources.cpu_quota = 100_000, round(pod.cpus * 100_000)
    resources.oom_score_adj = 900  # the kernel is to take a task before anything of the machine
    context = config.linux.security_context
    context.capabilities.drop_capabilities.append("ALL")
    _set_namespaces(context.namespace_options)
    context.run_as_user.value = context.run_as_group.value = USER
    context.readonly_rootfs = context.no_new_privs = True
    context.seccomp.profile_type = 0
    return config


def _set_namespaces(options: Any) -> None:
    options.network, options.pid, options.ipc = HOST, OWN, 0


def _log_name(pod: Pod) -> str:
    return f"{pod.name}.log"


def _read_log(path: Path) -> str:
    """The text of a CRI log, whose lines are `time stream F|P text`; P is a line that goes on."""
    if not path.exists():
        return ""
    text = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split(" ", 3)
        if len(parts) == 4:
            text.append(parts[3] + ("\n" if parts[2] == "F" else ""))
    return "".join(text)


def _read_peak(container: str) -> int:
    for pattern in _PEAKS:
        with contextlib.suppress(OSError):  # another version of memory groups, or gone already
            return int((_CGROUPS / pattern.format(group=GROUP, id=container)).read_text())
    return 0
