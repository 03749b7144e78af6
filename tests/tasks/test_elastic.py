"""A task's processes are counted by its recipe: one runs in place, two are started by torch's launcher, on a CPU."""

from __future__ import annotations

import os
from pathlib import Path

from flytekit import task
from flytekit.configuration import ImageConfig, SerializationSettings

from flytewheel.recipe import TrainingSpec
from tasks.elastic import RecipeElastic


@task(task_config=RecipeElastic())
def count(training: TrainingSpec, seen: str) -> str:
    import torch

    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if world != "1":
        torch.distributed.init_process_group("gloo")
        total = torch.tensor([1.0])
        torch.distributed.all_reduce(total)
        assert total.item() == float(world)
        torch.distributed.destroy_process_group()
    Path(seen, rank).write_text(f"{os.getpid()}", encoding="utf-8")
    return f"{rank} of {world}"


def test_one_process_runs_in_place(tmp_path: Path) -> None:
    assert count(training=TrainingSpec(), seen=str(tmp_path)) == "0 of 1"
    assert (tmp_path / "0").read_text(encoding="utf-8") == str(os.getpid())


def test_two_processes_meet_and_the_first_one_answers(tmp_path: Path) -> None:
    assert count(training=TrainingSpec(gpus_per_node=2), seen=str(tmp_path)) == "0 of 2"
    pids = {path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids


def test_several_nodes_ask_for_a_job_of_the_training_operator() -> None:
    settings = SerializationSettings(image_config=ImageConfig.auto_default_image())
    assert count.task_type == "python-task"
    previous = count._task_config
    try:
        count._task_config = RecipeElastic(nnodes=3, nproc_per_node=8)
        assert count.task_type == "pytorch"
        custom = count.get_custom(settings)
        assert custom["workerReplicas"]["replicas"] == 3
        assert custom["elasticConfig"]["nprocPerNode"] == 8
    finally:
        count._task_config = previous
