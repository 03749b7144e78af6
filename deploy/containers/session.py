"""Where the scenes play: the services on loopback, containerd with the images, and what the tasks are registered as."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deploy.containers import build, daemon, tools
from deploy.containers.attempts import SCRATCH, Attempt, Attempts, Changed, Cluster, Watched
from deploy.containers.cri import Runtime
from deploy.containers.layers import Tell, pack_image
from deploy.containers.propeller import Propeller, Registered, RunTask, TaskCall
from deploy.containers.registration import Serialised, serialise_package
from flytewheel.local import stack
from flytewheel.local.services import Services, ensure_services
from flytewheel.settings import Settings
from registry.store import ObjectStore

PROJECT, DOMAIN, VERSION = "flytewheel", "development", "containers"
BUCKET = "flyte"
MEMORY_SHARE = 0.5  # of this machine's, that one container may have at most
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}
_WRITABLE = {"HOME": SCRATCH, "TMPDIR": SCRATCH, "FLYTEWHEEL_HOME": f"{SCRATCH}/flytewheel"}


@dataclass
class Session:
    """All that a scene needs; `attempts` grows with every container that ran. `twice`: whether tasks are run again."""

    runtime: Runtime
    cluster: Cluster
    services: Services
    registered: Registered
    scratch: Path
    say: Callable[[str], None]
    twice: bool = True
    attempts: list[Attempt] = field(default_factory=list)

    def open_execution(
        self,
        name: str,
        workflow: str,
        *,
        change: Changed = lambda call, number, pod: pod,
        watch: Watched = lambda call, number: lambda container: False,
    ) -> Attempts:
        """One execution, whose attempts are kept and told."""
        return Attempts(
            self.runtime, self.cluster, name, workflow, self.scratch, self._note, change=change, watch=watch
        )

    def run(self, workflow: str, inputs: Mapping[str, Any], run_task: RunTask) -> dict[str, Any]:
        """Runs a workflow to its end.

        Raises:
            TaskFailedError: a task failed for good.
        """
        return Propeller(self.registered, run_task).run_workflow(workflow, inputs)

    def _note(self, call: TaskCall, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        ended = attempt.ended
        last = attempt.message.strip().splitlines()[-1].strip()[:160] if attempt.message.strip() else ""
        said = (
            attempt.outcome
            if attempt.succeeded
            else f"{attempt.outcome} ({attempt.kind}, exit {ended.exit_code}: {last})"
        )
        deck = f", deck {attempt.deck_bytes >> 10} KiB" if attempt.deck_bytes else ""
        memory = f"{ended.peak_bytes >> 20:,} of {attempt.memory_bytes >> 20:,} MiB"
        self.say(f"  {attempt.path} {attempt.task} #{attempt.number}: {said}, {ended.seconds:.1f} s, {memory}{deck}")


@contextmanager
def open_session(home: Path, *, say: Callable[[str], None], tell: Tell, rebuild: bool = False) -> Iterator[Session]:
    """Builds what is missing and starts everything; it is all stopped at the end, whatever happens.

    Args:
        home: state of this; images are kept there.
        say: is told what happens, in lines.
        tell: how far a long step is.
        rebuild: forget the kept layers.

    Raises:
        ContainersError: containers cannot be built or run here.
    """
    tools.check_machine()
    programs = tools.find_tools(home / "tools")
    if rebuild:
        for layer in (home / "layers").glob("*.tar"):
            layer.unlink()
    serialised = serialise_package("workflows", project=PROJECT, domain=DOMAIN, version=VERSION)
    say(f"{len(serialised.registered.tasks)} tasks of {len(serialised.registered.workflows)} workflows are serialised")
    own = Settings(home=home / "services")
    with ExitStack() as cleanup:
        first = next(iter(serialised.images))
        runtime = cleanup.enter_context(daemon.run_containerd(home, programs, first))
        say(f"{runtime.describe()} answers, with data under {home}")
        _import_images(serialised, home, programs, say, tell)
        stack.remove(own)
        cleanup.callback(stack.down, own)
        services = ensure_services(own, announce=lambda line: None)
        store = ObjectStore(services.s3_url, services.s3_access_key, services.s3_secret_key, BUCKET)
        store.ensure_bucket()
        scratch = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flytewheel-containers-")))
        yield Session(runtime, describe_cluster(services, store), services, serialised.registered, scratch, say)


def describe_cluster(services: Services, store: ObjectStore) -> Cluster:
    """What a cluster's administrator would have set up for these services."""
    ring = services.key_ring
    secrets = {key: str(value) for key, value in vars_of(services).items()}
    secrets["signing_key"] = ring.read_signing_key().pem.decode()
    secrets["trusted_keys"] = "\n".join(key.pem.decode() for key in ring.read_trusted_keys())
    environ = {
        **_QUIET,
        **_WRITABLE,
        "FLYTE_AWS_ENDPOINT": services.s3_url,
        "FLYTE_AWS_ACCESS_KEY_ID": services.s3_access_key,
        "FLYTE_AWS_SECRET_ACCESS_KEY": services.s3_secret_key,
    }
    memory = int(psutil.virtual_memory().total * MEMORY_SHARE)
    return Cluster(store, f"s3://{BUCKET}", environ, secrets, memory, float(psutil.cpu_count() or 1), PROJECT, DOMAIN)


def vars_of(services: Services) -> dict[str, Any]:
    """The services' addresses and keys by their names."""
    return {name: getattr(services, name) for name in services.__dataclass_fields__}


def _import_images(
    serialised: Serialised, home: Path, programs: Mapping[str, Path], say: Callable[[str], None], tell: Tell
) -> None:
    code = build.pack_code(home / "layers" / "code.tar")
    for image, spec in serialised.images.items():
        definition = build.read_definition(spec)
        layers = [*build.build_layers(definition, home / "layers", programs, tell), code]
        wanted = hashlib.sha256(repr([layer.digest for layer in layers]).encode()).hexdigest()
        record = home / "images" / f"{definition.name}.imported"
        size = sum(layer.size for layer in layers) >> 20
        without = f", without {', '.join(definition.left_out)}" if definition.left_out else ""
        if not record.exists() or record.read_text(encoding="utf-8") != f"{image} {wanted}":
            archive = home / "images" / f"{definition.name}.oci.tar"
            pack_image(archive, image, layers, build.configure(definition), tell)
            daemon.import_image(programs, home, archive)
            archive.unlink()  # as large as its layers, which are kept
            record.write_text(f"{image} {wanted}", encoding="utf-8")
        say(f"image {image}: {size:,} MiB in {len(layers)} layers{without}")
