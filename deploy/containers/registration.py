"""What `pyflyte register` would send to a cluster: every workflow of a package with all its tasks, as protobuf."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from deploy.containers.propeller import Registered


@dataclass(frozen=True)
class Serialised:
    """`registered` by name, and the ImageSpec behind each image that a task names."""

    registered: Registered
    images: Mapping[str, Any]


def serialise_package(package: str, *, project: str, domain: str, version: str) -> Serialised:
    """Serialises every workflow that the modules of a package hold."""
    top = importlib.import_module(package)
    modules = [importlib.import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(top.__path__)]
    return serialise(_list_workflows(modules), project=project, domain=domain, version=version)


def serialise(workflows: Iterable[Any], *, project: str, domain: str, version: str) -> Serialised:
    """Serialises workflows with what they are made of; builds no image and asks for none.

    Args:
        workflows: flytekit's workflow objects.
        project, domain, version: of the registration.
    """
    from flytekit.configuration import Image, ImageConfig, SerializationSettings
    from flytekit.models.admin.workflow import WorkflowSpec
    from flytekit.models.task import TaskSpec
    from flytekit.tools.translator import get_serializable

    # flytekit asks Docker whether an image exists; where there is none it takes the image for given.
    os.environ["DOCKER_HOST"] = "tcp://127.0.0.1:9"
    default = Image(name="default", fqn="localhost/flytewheel/no-image", tag="0")
    settings = SerializationSettings(
        image_config=ImageConfig(default_image=default, images=[default]),
        project=project,
        domain=domain,
        version=version,
    )
    made: OrderedDict[Any, Any] = OrderedDict()
    for workflow in workflows:
        get_serializable(made, settings, workflow)
    tasks: dict[str, Any] = {}
    flows: dict[str, Any] = {}
    images: dict[str, Any] = {}
    for entity, serialised in made.items():
        if isinstance(serialised, TaskSpec):
            template = serialised.to_flyte_idl().template
            tasks[template.id.name] = template
            spec = getattr(getattr(entity, "python_function_task", entity), "container_image", None)
            if spec is not None and not isinstance(spec, str):
                images[spec.image_name()] = spec
        elif isinstance(serialised, WorkflowSpec):
            idl = serialised.to_flyte_idl()
            flows |= {one.id.name: one for one in (idl.template, *idl.sub_workflows)}
    return Serialised(Registered(tasks, flows), images)


def _list_workflows(modules: Iterable[ModuleType]) -> list[Any]:
    from flytekit.core.workflow import WorkflowBase

    found = [value for module in modules for value in vars(module).values() if isinstance(value, WorkflowBase)]
    return list({workflow.name: workflow for workflow in found}.values())
