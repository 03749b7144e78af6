"""The messages of Kubernetes' Container Runtime Interface (CRI) v1 that a task's pod needs, and no more of them.

Through this interface a kubelet asks containerd for pods; so do we, and get what a cluster would say of a task that ran
out of memory. The numbers are those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`. No package of an index carries
them for Python, and 25 messages are less to keep than a generated file of 400 kB; fields that are left out here are
skipped when they arrive.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "runtime.v1"
HOST, OWN = 2, 1  # NamespaceMode NODE and CONTAINER
EXITED = 2  # ContainerState
_SCALARS = {"bool": 8, "string": 9, "int32": 5, "int64": 3, "uint32": 13}  # FieldDescriptorProto.Type
_MESSAGE = 11

# name of a message: its fields, each with number and type; a star means that it repeats. Enumerations are int32.
_FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "Int64Value": {"value": (1, "int64")},
    "VersionRequest": {"version": (1, "string")},
    "VersionResponse": {"runtime_name": (2, "string"), "runtime_version": (3, "string")},
    "NamespaceOption": {"network": (1, "int32"), "pid": (2, "int32"), "ipc": (3, "int32")},
    "SecurityProfile": {"profile_type": (1, "int32"), "localhost_ref": (2, "string")},
    "PodSandboxMetadata": {
        "name": (1, "string"),
        "uid": (2, "string"),
        "namespace": (3, "string"),
        "attempt": (4, "uint32"),
    },
    "LinuxSandboxSecurityContext": {
        "namespace_options": (1, "NamespaceOption"),
        "run_as_user": (3, "Int64Value"),
        "readonly_rootfs": (4, "bool"),
        "run_as_group": (8, "Int64Value"),
        "seccomp": (9, "SecurityProfile"),
    },
    "LinuxPodSandboxConfig": {"cgroup_parent": (1, "string"), "security_context": (2, "LinuxSandboxSecurityContext")},
    "PodSandboxConfig": {
        "metadata": (1, "PodSandboxMetadata"),
        "hostname": (2, "string"),
        "log_directory": (3, "string"),
        "linux": (8, "LinuxPodSandboxConfig"),
    },
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, "string")},
    "PodSandbox": {"id": (1, "string")},
    "ListPodSandboxRequest": {},
    "ListPodSandboxResponse": {"items": (1, "*PodSandbox")},
    "StopPodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "StopPodSandboxResponse": {},
    "RemovePodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "RemovePodSandboxResponse": {},
    "ContainerMetadata": {"name": (1, "string"), "attempt": (2, "uint32")},
    "ImageSpec": {"image": (1, "string")},
    "KeyValue": {"key": (1, "string"), "value": (2, "string")},
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "bool")},
    "LinuxContainerResources": {
        "cpu_period": (1, "int64"),
        "cpu_quota": (2, "int64"),
        "cpu_shares": (3, "int64"),
        "memory_limit_in_bytes": (4, "int64"),
        "oom_score_adj": (5, "int64"),
        "memory_swap_limit_in_bytes": (10, "int64"),
    },
    "Capability": {"add_capabilities": (1, "*string"), "drop_capabilities": (2, "*string")},
    "LinuxContainerSecurityContext": {
        "capabilities": (1, "Capability"),
        "namespace_options": (3, "NamespaceOption"),
        "run_as_user": (5, "Int64Value"),
        "readonly_rootfs": (7, "bool"),
        "no_new_privs": (11, "bool"),
        "run_as_group": (12, "Int64Value"),
        "seccomp": (15, "SecurityProfile"),
    },
    "LinuxContainerConfig": {
        "resources": (1, "LinuxContainerResources"),
        "security_context": (2, "LinuxContainerSecurityContext"),
    },
    "ContainerConfig": {
        "metadata": (1, "ContainerMetadata"),
        "image": (2, "ImageSpec"),
        "command": (3, "*string"),
        "args": (4, "*string"),
        "working_dir": (5, "string"),
        "envs": (6, "*KeyValue"),
        "mounts": (7, "*Mount"),
        "log_path": (11, "string"),
        "linux": (15, "LinuxContainerConfig"),
    },
    "CreateContainerRequest": {
        "pod_sandbox_id": (1, "string"),
        "config": (2, "ContainerConfig"),
        "sandbox_config": (3, "PodSandboxConfig"),
    },
    "CreateContainerResponse": {"container_id": (1, "string")},
    "StartContainerRequest": {"container_id": (1, "string")},
    "StartContainerResponse": {},
    "StopContainerRequest": {"container_id": (1, "string"), "timeout": (2, "int64")},
    "StopContainerResponse": {},
    "ContainerStatusRequest": {"container_id": (1, "string")},
    "ContainerStatus": {
        "id": (1, "string"),
        "state": (3, "int32"),
        "created_at": (4, "int64"),
        "started_at": (5, "int64"),
        "finished_at": (6, "int64"),
        "exit_code": (7, "int32"),
        "reason": (10, "string"),
        "message": (11, "string"),
    },
    "ContainerStatusResponse": {"status": (1, "ContainerStatus")},
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="flytewheel/cri.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            bare = kind.removeprefix("*")
            described = message.field.add(name=field, number=number, label=3 if kind != bare else 1)
            described.type = _SCALARS.get(bare, _MESSAGE)
            if bare not in _SCALARS:
                described.type_name = f".{PACKAGE}.{bare}"
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_describe())


def get_message(name: str) -> Any:
    """The class of a message; its name is that of the interface."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
