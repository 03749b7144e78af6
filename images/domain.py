"""What differs between Flyte's domains: machines, accelerator, where images lie, whether schedules run.

One file a domain, `images/domains/<name>.yaml`, chosen by `FLYTEWHEEL_DOMAIN` when workflows are registered. Every key
is required and known: two domains differ in what stands in their files and nowhere else. The choice travels in each
task's environment, so that a dynamic workflow, which describes its tasks in a pod, describes the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from flytewheel.errors import SettingsError
from flytewheel.strict import AtLeastOne, Many, Positive, Section, list_faults

FOLDER = Path(__file__).resolve().parent / "domains"
DEFAULT = "development"
VARIABLE = "FLYTEWHEEL_DOMAIN"
_NAME = re.compile(r"[a-z0-9-]{1,63}")
Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|[KMGT]i?)?$")]


class Machine(Section):
    """What a task asks for, as Kubernetes writes quantities; the same is its limit for memory and cards."""

    cpu: Quantity
    mem: Quantity
    gpu: Annotated[str, Field(pattern=r"^\d+$")] | None


class Toleration(Section):
    """A taint that tasks with a card may stand on."""

    key: str
    operator: Literal["Exists", "Equal"]
    value: str | None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Domain(Section):
    """Settings of one domain; see the files for what each is for."""

    image_registry: str = Field(pattern=r"^[a-z0-9.:/_-]+$")
    cuda_image: str = Field(pattern=r"^[a-z0-9.:/_-]+$")
    recipe: str
    schedules: bool
    small: Machine
    large_memory: Machine
    large: Machine
    accelerator: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None
    interruptible: bool
    training_retries: AtLeastOne
    short_hours: Positive
    long_hours: Positive
    shared_memory: Quantity
    tolerations: Many[Toleration]
    run_as_user: Annotated[int, Field(ge=1)]
    service_account: str | None
    secret_group: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


def name_domain(environ: Mapping[str, str]) -> str:
    """The domain that the environment names."""
    return environ.get(VARIABLE) or DEFAULT


def read_domain(name: str, folder: Path = FOLDER) -> Domain:
    """Reads a domain's file.

    Raises:
        SettingsError: there is none of this name, or it lacks a key, has an unknown one or a wrong value; every fault
            is said.
    """
    path = folder / f"{name}.yaml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise SettingsError(f"{VARIABLE}={name!r}: expected one of {known}, or a file {path.name} in images/domains")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Domain.model_validate(given)
    except ValidationError as error:
        raise SettingsError(f"images/domains/{path.name}: {'; '.join(list_faults(error))}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"images/domains/{path.name}: no YAML ({' '.join(str(error).split())})") from None
