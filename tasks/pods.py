"""The pod that a task runs in: not root, no new privileges, and the domain that its workflows were registered for.

The image is the task's own, its resources are added by Flyte. What asks for a card gets shared memory as well, since
data loaders and NCCL exchange through it and a container has 64 MiB, and may stand on the domain's tainted nodes.
"""

from __future__ import annotations

import os
from typing import Any

from flytekit import PodTemplate

from images import DOMAIN, DOMAIN_NAME
from images.domain import VARIABLE, Domain

PRIMARY = "primary"
_SHARED = "shared-memory"
_CARRIED = ("FLYTEWHEEL_IMAGE_REGISTRY",)  # an image's name is told again in a dynamic workflow's pod


def make_pod(domain: Domain, name: str, *, large: bool) -> PodTemplate:
    """The template of small or large tasks in a domain."""
    from kubernetes import client as k8s

    security = k8s.V1SecurityContext(
        allow_privilege_escalation=False,
        capabilities=k8s.V1Capabilities(drop=["ALL"]),
        run_as_non_root=True,
        run_as_user=domain.run_as_user,
    )
    carried = {VARIABLE: name, **{key: os.environ[key] for key in _CARRIED if os.environ.get(key)}}
    container: dict[str, Any] = {
        "name": PRIMARY,
        "security_context": security,
        "env": [k8s.V1EnvVar(name=key, value=value) for key, value in carried.items()],
    }
    pod: dict[str, Any] = {
        "service_account_name": domain.service_account,
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=domain.run_as_user,
            fs_group=domain.run_as_user,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
    }
    if large:
        memory = k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit=domain.shared_memory)
        pod["volumes"] = [k8s.V1Volume(name=_SHARED, empty_dir=memory)]
        pod["tolerations"] = [
            k8s.V1Toleration(key=each.key, operator=each.operator, value=each.value, effect=each.effect)
            for each in domain.tolerations
        ]
        container["volume_mounts"] = [k8s.V1VolumeMount(name=_SHARED, mount_path="/dev/shm")]
    return PodTemplate(
        primary_container_name=PRIMARY,
        pod_spec=k8s.V1PodSpec(containers=[k8s.V1Container(**container)], **pod),
        labels={"app.kubernetes.io/part-of": "flytewheel"},
    )


POD = make_pod(DOMAIN, DOMAIN_NAME, large=False)
LARGE_POD = make_pod(DOMAIN, DOMAIN_NAME, large=True)
