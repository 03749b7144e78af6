"""A task that trains in as many processes as its input `training` says: `nodes` times `gpus_per_node`.

flytekit's `Elastic` fixes both when a task is registered, a recipe comes with each run. One process: the task runs as
any other. Several on one node: torch's elastic launcher starts them in the task's pod (or on this machine). Several
nodes: the task's template has to ask for a PyTorchJob, so that the numbers are put into it before it is sent, by
`with_overrides(task_config=RecipeElastic(…))` in a dynamic workflow; Kubeflow's training operator has to be there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flytekit import PythonFunctionTask, Resources
from flytekit.configuration import SerializationSettings
from flytekit.extend import TaskPlugins
from flytekitplugins.kfpytorch import Elastic
from flytekitplugins.kfpytorch.task import PytorchElasticFunctionTask

from flytewheel.recipe import TrainingSpec
from tasks import LARGE


@dataclass
class RecipeElastic(Elastic):  # type: ignore[misc]
    """As flytekit's, for tasks with an input `training`. Shared memory is the pod's (tasks/pods.py)."""

    increase_shared_mem: bool = False


def spread(training: TrainingSpec) -> dict[str, Any]:
    """What `with_overrides` takes so that a training task gets the machines and cards that the recipe names."""
    cards = str(training.gpus_per_node)
    return {
        "task_config": RecipeElastic(nnodes=training.nodes, nproc_per_node=training.gpus_per_node),
        "requests": Resources(cpu=LARGE.cpu, mem=LARGE.mem, gpu=cards),
        "limits": Resources(gpu=cards),
    }


class ElasticByRecipe(PytorchElasticFunctionTask):  # type: ignore[misc]
    """As flytekit's, with nodes and processes read from the recipe when the task runs."""

    def __init__(self, task_config: RecipeElastic, task_function: Callable[..., Any], **options: Any) -> None:
        # Not flytekit's: it imports torch, which workflows are described and registered without.
        PythonFunctionTask.__init__(
            self,
            task_config=task_config,
            task_type=self._ELASTIC_TASK_TYPE_STANDALONE,
            task_function=task_function,
            task_type_version=1,
            **options,
        )
        self.min_nodes = self.max_nodes = task_config.nnodes
        self.rdzv_backend = "c10d"

    @property
    def task_type(self) -> str:
        single = self.task_config.nnodes == 1
        return str(self._ELASTIC_TASK_TYPE_STANDALONE if single else self._ELASTIC_TASK_TYPE)

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any] | None:
        self.min_nodes = self.max_nodes = self.task_config.nnodes
        found: dict[str, Any] | None = super().get_custom(settings)
        return found

    def execute(self, **inputs: Any) -> Any:
        training: TrainingSpec = inputs["training"]
        if training.processes == 1:
            return PythonFunctionTask.execute(self, **inputs)
        self._task_config = replace(
            self.task_config, nnodes=training.nodes, nproc_per_node=training.gpus_per_node, monitor_interval=1
        )
        self.min_nodes = self.max_nodes = training.nodes
        return super().execute(**inputs)


TaskPlugins.register_pythontask_plugin(RecipeElastic, ElasticByRecipe)
