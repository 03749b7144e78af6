"""Puts the parts together: what was found, what it means for training, and what is missing or doubtful.

Judging is apart from looking: `judge_devices` and `judge_recipe` are given facts, so that tests hand them those of
machines that are not at hand.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from flytewheel.doctor import services
from flytewheel.doctor.base import BaseModel, examine_base
from flytewheel.doctor.findings import Finding, doubtful, missing
from flytewheel.doctor.machine import Machine, in_gib, judge_machine, read_machine
from flytewheel.doctor.needs import estimate_disk, estimate_turn
from flytewheel.doctor.packages import (
    Package,
    Tracking,
    judge_packages,
    judge_tracking,
    read_packages,
    read_tracking,
)
from flytewheel.doctor.rates import judge_rates
from flytewheel.errors import FeedbackError, RecipeError
from flytewheel.local.stack import ServiceStatus
from flytewheel.profiles import Device, Facts, choose_device, read_facts
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import Recipe
from flytewheel.settings import Settings
from flytewheel.training.arguments import check_adapter, check_base
from flytewheel.training.memory import TrainingMemory
from flytewheel.turn import locate_cases, locate_logs

_NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"))
_LOOKS = "looks at this machine"


@dataclass(frozen=True, slots=True)
class Torch:
    """torch's version, and what it was built for: cpu, CUDA 13.0, ROCm 7.0, or macOS (Metal)."""

    version: str
    build: str


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found. `device` and `torch` are `None` where torch cannot be loaded, `base` without a recipe."""

    machine: Machine
    torch: Torch | None
    facts: Facts
    device: Device | None
    packages: tuple[Package, ...]
    tracking: Tracking
    base: BaseModel | None
    memory: TrainingMemory | None
    disk_bytes: int | None
    services: tuple[ServiceStatus, ...]
    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Whether a turn can be run: nothing that it needs is missing."""
        return not any(finding.level == "missing" for finding in self.findings)


def examine(
    settings: Settings, recipe: Recipe | None = None, *, progress: ProgressCallback | None = None
) -> Examination:
    """Looks at this machine, and at what `recipe` wants of it; starts, fetches and writes nothing. `progress` is told
    how many of its looks are over.
    """
    told = progress or _silent
    looks = 4 if recipe is None else 5
    told(_LOOKS, 0, looks)
    machine = read_machine(settings.home)
    findings = list(judge_machine(machine))
    found, said = services.look(settings)
    findings += said
    told(_LOOKS, 1, looks)
    tracking = services.within(services.DEADLINE_S, read_tracking) or Tracking("online", "wandb's server", False)
    findings += judge_tracking(tracking)
    told(_LOOKS, 2, looks)
    torch, facts, said = _look_at_torch()
    findings += said
    device = choose_device(facts) if torch is not None else None
    told(_LOOKS, 3, looks)
    packages = read_packages()
    findings += judge_packages(packages)
    told(_LOOKS, 4, looks)
    base, memory, disk = None, None, None
    if recipe is not None:
        base, said = examine_base(recipe.base)
        findings += said
        disk = estimate_disk(base, recipe)
        if device is not None:
            memory = estimate_turn(base, recipe, device.profile)
            findings += judge_recipe(recipe, device, facts, machine, memory, disk)
    told(_LOOKS, looks, looks)
    return Examination(
        machine=machine,
        torch=torch,
        facts=facts,
        device=device,
        packages=tuple(packages.values()),
        tracking=tracking,
        base=base,
        memory=memory,
        disk_bytes=disk,
        services=tuple(found),
        findings=tuple(findings),
    )


def _silent(what: str, done: int, total: int | None) -> None:
    pass


def judge_devices(facts: Facts, torch: Torch, nvidia: bool) -> Iterator[Finding]:
    """An accelerator that is there and not used, or used in a way that nobody asked for."""
    if nvidia and not facts.cards:
        if torch.build == "cpu":
            yield doubtful(
                f"there is an NVIDIA card, and torch {torch.version} is built for the CPU",
                f"pip install torch=={torch.version.partition('+')[0]} from the index for CUDA (pytorch.org, Start)",
            )
        else:
            yield doubtful(
                f"there is an NVIDIA card, and torch (built for {torch.build}) finds none",
                "see that nvidia-smi works, that its CUDA version is not older, and that CUDA_VISIBLE_DEVICES is unset",
            )
    if len(facts.cards) > 1:
        yield doubtful(
            f"{len(facts.cards)} cards are visible, training takes as many as training.gpus_per_node says (or one)",
            f"set training.gpus_per_node: {len(facts.cards)}, with a batch that can be divided among them",
        )


def judge_recipe(
    recipe: Recipe, device: Device, facts: Facts, machine: Machine, memory: TrainingMemory | None, disk: int | None
) -> Iterator[Finding]:
    """What the recipe asks that this machine cannot do, or hardly can."""
    checks: tuple[Callable[[], object], ...] = (
        lambda: check_adapter(recipe.training, device),
        lambda: check_base(recipe.base, device),
        lambda: locate_logs(recipe.feedback),
        lambda: locate_cases(recipe.curation),
    )
    for check in checks:
        try:
            check()
        except RecipeError as error:
            for fault in error.faults:
                what, _, remedy = fault.rpartition("; ")
                yield missing(what, remedy)
        except FeedbackError as error:
            what, _, remedy = str(error).rpartition("; ")
            yield missing(what, remedy)
    yield from judge_rates(recipe)
    if device.kind == "cpu" and recipe.base.dtype == "bfloat16":
        yield doubtful("base.dtype: 'bfloat16' was measured 9 times slower than float32 on a CPU", "take 'auto'")
    if memory is not None:
        room = facts.cards[0].memory_bytes if facts.cards else machine.memory_free_bytes
        where = facts.cards[0].name if facts.cards else "memory"
        if memory.least > room:
            yield missing(
                f"training takes at least {in_gib(memory.least)}, {where} has {in_gib(room)}",
                "take a smaller base, or training.adapter: qlora on CUDA",
            )
        elif memory.most > room:
            yield doubtful(
                f"training may take {in_gib(memory.most)} where every row is {recipe.base.max_length} tokens long, "
                f"{where} has {in_gib(room)}",
                "lower base.max_length or the batch sizes (and raise gradient_accumulation)",
            )
    if disk is not None and disk > machine.disk_free_bytes:
        yield doubtful(
            f"a first turn may write {in_gib(disk)}, {in_gib(machine.disk_free_bytes)} are free under {machine.home}",
            "make room, name fewer export.quantizations, or set FLYTEWHEEL_HOME to another disk",
        )


def _look_at_torch() -> tuple[Torch | None, Facts, list[Finding]]:
    try:
        import torch

        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            facts = read_facts()
    except Exception as error:  # a driver or a library that does not fit throws whatever it likes
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return None, Facts(), [missing(f"torch cannot be loaded ({cause})", f"pip install torch=={_pinned_torch()}")]
    if torch.version.cuda:
        build = f"CUDA {torch.version.cuda}"
    elif torch.version.hip:
        build = f"ROCm {torch.version.hip}"
    else:
        build = "macOS (Metal)" if torch.backends.mps.is_built() else "cpu"
    found = Torch(str(torch.__version__), build)
    nvidia = any(path.exists() for path in _NVIDIA) or shutil.which("nvidia-smi") is not None
    findings = list(judge_devices(facts, found, nvidia))
    for each in said:
        if issubclass(each.category, UserWarning):
            text = " ".join(str(each.message).split())
            findings.append(doubtful(f"torch warns: {text[:300]}", "do as it says, or train on what was chosen"))
    return found, facts, findings


def _pinned_torch() -> str:
    try:
        wanted = (line for line in metadata.requires("flytewheel") or [] if line.startswith("torch=="))
    except metadata.PackageNotFoundError:
        return "2.13.0"
    return next(wanted, "torch==2.13.0").removeprefix("torch==")
