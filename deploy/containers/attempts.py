"""One task in its container, tried again as Flyte would: inputs from the store, outputs, errors and decks back to it.

What happens after an end follows Flyte (flytepropeller and flyteplugins' `DemystifyFailure`): a recoverable error and
an `OOMKilled` container count against the task's retries; a container that was killed otherwise (exit 137) was
interrupted, which counts against the system's; a user's error is final. A task that ends with 0 and wrote neither
outputs nor an error is tried again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flyteidl.core import dynamic_job_pb2, errors_pb2, execution_pb2, literals_pb2

from deploy.containers import ContainersError
from deploy.containers.cri import Ended, Pod, Runtime
from deploy.containers.propeller import TaskCall, TaskFailedError
from deploy.containers.targets import Target, find_container
from registry.store import ObjectStore

SYSTEM_RETRIES = 3  # flytepropeller's `max-node-retries-system-failures`
KILLED = 137
RECOVERABLE, FATAL = "RECOVERABLE", "NON_RECOVERABLE"
_INDEX = "BATCH_JOB_ARRAY_INDEX_VAR_NAME"
_DEADLINE_S = 3600.0
SCRATCH = "/tmp"  # nosec B108: in the container, the one folder that it may write


@dataclass(frozen=True)
class Attempt:
    """One container that ran, and what it left behind.

    Attributes:
        task: its name.
        path: of its node.
        number: from 0.
        outcome: `outputs`, `nodes` (of a dynamic task), or the code of its error.
        kind: of an error: whether it may be tried again.
        message: of an error.
        ended: the container's end.
        memory_bytes: its limit.
        deck_bytes: size of its deck; 0: none.
        outputs: as bytes of a `LiteralMap`.
        prefix: where in the store all of it lies.
    """

    task: str
    path: str
    number: int
    outcome: str
    kind: str
    message: str
    ended: Ended = field(repr=False)
    memory_bytes: int
    deck_bytes: int
    outputs: Any = field(repr=False, default=None)
    prefix: str = ""

    @property
    def succeeded(self) -> bool:
        return self.outcome in ("outputs", "nodes")


@dataclass(frozen=True)
class Cluster:
    """What a cluster gives to a task's container.

    Attributes:
        store: of inputs, outputs, errors and decks.
        bucket_url: the store's bucket as `s3://…`.
        environ: for each container, such as where the store is.
        secrets: by their keys; a task gets those that it asks for.
        memory_bytes: more than this no container may have, whatever it asks for.
        cpus: likewise.
        project, domain, version: of the registration.
    """

    store: ObjectStore
    bucket_url: str
    environ: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    memory_bytes: int
    cpus: float
    project: str = "flytewheel"
    domain: str = "development"
    version: str = "containers"


Changed = Callable[[TaskCall, int, Pod], Pod]
Watched = Callable[[TaskCall, int], Callable[[str], bool]]


@dataclass
class Attempts:
    """Runs the tasks of one execution; every attempt is told to `seen`.

    Attributes:
        runtime: that runs containers.
        cluster: what they get.
        execution: its name.
        workflow: of the execution.
        scratch: folder for logs and what containers write.
        seen: is told each attempt.
        change: may change a pod before it runs, by attempt (a lower limit, a service that is away).
        watch: what looks on while it runs, and may have it killed.
    """

    runtime: Runtime
    cluster: Cluster
    execution: str
    workflow: str
    scratch: Path
    seen: Callable[[TaskCall, Attempt], None]
    change: Changed = lambda call, number, pod: pod
    watch: Watched = lambda call, number: lambda container: False

    def run_task(self, call: TaskCall) -> Any:
        """Runs a task until it has an outcome.

        Raises:
            TaskFailedError: it failed for good, or as often as it may.
        """
        key = f"metadata/{self.execution}/{call.path}/inputs.pb"
        self.cluster.store.put_bytes(key, literals_pb2.LiteralMap(literals=call.inputs).SerializeToString())
        tried = interrupted = number = 0
        before = ""
        while True:
            attempt = self.try_task(call, number, before)
            self.seen(call, attempt)
            if attempt.outcome == "nodes":
                return attempt.outputs
            if attempt.succeeded:
                return attempt.outputs.literals
            if attempt.outcome == "Interrupted":
                interrupted += 1
            else:
                tried += 1
            if attempt.kind == FATAL or tried > call.retries or interrupted > SYSTEM_RETRIES:
                raise TaskFailedError(call.path, attempt.outcome, attempt.message, attempt.kind)
            before, number = attempt.prefix, number + 1

    def try_task(self, call: TaskCall, number: int, before: str = "") -> Attempt:
        """Runs a task's container once, whatever comes of it.

        Args:
            call: the task; its inputs lie in the store.
            number: of the attempt.
            before: prefix of the attempt before, for Flyte's own checkpoints.
        """
        target = find_container(call.template, call.resources)
        prefix = f"metadata/{self.execution}/{call.path}/{number}"
        pod = self.change(call, number, self._describe(call, target, number, prefix, before))
        with tempfile.TemporaryDirectory(prefix="pod-", dir=self.scratch) as writable:
            folder = Path(writable)
            folder.chmod(0o1777)
            ended = self.runtime.run(
                replace(pod, writable={SCRATCH: folder}),
                self.scratch,
                deadline_s=call.template.metadata.timeout.seconds or _DEADLINE_S,
                meanwhile=self.watch(call, number),
            )
        return self._read(call, number, prefix, ended, pod.memory_bytes)

    def _describe(self, call: TaskCall, target: Target, number: int, prefix: str, before: str) -> Pod:
        bucket = self.cluster.bucket_url
        raw = f"{bucket}/data/{self.execution}/{call.path}/{number}"
        values = {
            "input": f"{bucket}/metadata/{self.execution}/{call.path}/inputs.pb",
            "outputPrefix": f"{bucket}/{prefix}",
            "rawOutputDataPrefix": raw,
            "checkpointOutputPrefix": f"{raw}/_flytecheckpoints",
            "prevCheckpointPrefix": f"{bucket}/{before}/_flytecheckpoints" if before else '""',
        }
        task = call.template.id
        environ = {
            **self.cluster.environ,
            **target.environ,
            **self._pick_secrets(call.template),
            "FLYTE_INTERNAL_EXECUTION_PROJECT": self.cluster.project,
            "FLYTE_INTERNAL_EXECUTION_DOMAIN": self.cluster.domain,
            "FLYTE_INTERNAL_EXECUTION_ID": self.execution,
            "FLYTE_INTERNAL_EXECUTION_WORKFLOW": self.workflow,
            "FLYTE_INTERNAL_TASK_PROJECT": task.project,
            "FLYTE_INTERNAL_TASK_DOMAIN": task.domain,
            "FLYTE_INTERNAL_TASK_NAME": task.name,
            "FLYTE_INTERNAL_TASK_VERSION": task.version,
            "FLYTE_ATTEMPT_NUMBER": str(number),
        }
        if call.index is not None:
            environ |= {_INDEX: "FLYTE_K8S_ARRAY_INDEX", "FLYTE_K8S_ARRAY_INDEX": str(call.index)}
        memory = min(target.memory_bytes or self.cluster.memory_bytes, self.cluster.memory_bytes)
        name = f"{self.execution}-{call.path}-{number}"
        cpus = min(target.cpus or self.cluster.cpus, self.cluster.cpus)
        return Pod(name, target.image, [_fill(arg, values) for arg in target.args], environ, memory, cpus)

    def _pick_secrets(self, template: Any) -> dict[str, str]:
        """As Flyte's webhook puts them into a pod: those asked for, under the names that the task gives them; one that
        there is not stays unset (its references are optional).
        """
        found = {}
        for secret in template.security_context.secrets:
            if secret.key in self.cluster.secrets:
                name = secret.env_var or f"_FSEC_{secret.group}_{secret.key}".upper()
                found[name] = self.cluster.secrets[secret.key]
        return found

    def _read(self, call: TaskCall, number: int, prefix: str, ended: Ended, memory_bytes: int) -> Attempt:
        outcome, kind, message, outputs = self._judge(prefix, ended)
        deck = self.cluster.store.size(f"{prefix}/deck.html") or 0
        name = call.template.id.name
        return Attempt(name, call.path, number, outcome, kind, message, ended, memory_bytes, deck, outputs, prefix)

    def _judge(self, prefix: str, ended: Ended) -> tuple[str, str, str, Any]:
        if ended.reason == "OOMKilled":
            return "OOMKilled", RECOVERABLE, f"exit {ended.exit_code}: the container needed more than its limit", None
        if ended.exit_code == KILLED:
            return "Interrupted", RECOVERABLE, f"exit {ended.exit_code}: the container was killed", None
        store = self.cluster.store
        if (found := store.read(f"{prefix}/error.pb")) is not None:
            error = errors_pb2.ErrorDocument.FromString(found.data).error
            kind = RECOVERABLE if error.kind == errors_pb2.ContainerError.RECOVERABLE else FATAL
            origin = execution_pb2.ExecutionError.ErrorKind.Name(error.origin)
            return f"{origin}:{error.code}", kind, error.message, None
        if (found := store.read(f"{prefix}/futures.pb")) is not None:
            return "nodes", "", "", dynamic_job_pb2.DynamicJobSpec.FromString(found.data)
        if (found := store.read(f"{prefix}/outputs.pb")) is not None and ended.exit_code == 0:
            return "outputs", "", "", literals_pb2.LiteralMap.FromString(found.data)
        said = " | ".join(ended.log.strip().splitlines()[-3:])
        return (
            ended.reason if ended.exit_code else "OutputsNotFound",
            RECOVERABLE,
            f"exit {ended.exit_code}: {said}",
            None,
        )


def _fill(arg: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        for form in ("{{." + key + "}}", "{{ ." + key + " }}"):
            arg = arg.replace(form, value)
    if "{{" in arg:
        raise ContainersError(f"the task's command has {arg!r}, which is not handled here: {', '.join(values)} are")
    return arg
