"""Several processes that train one adapter together, each on its share of every batch.

torch's elastic launcher starts them (Flyte's `Elastic` task, or `torchrun`) and tells each its number by `RANK` and
`WORLD_SIZE`. The first keeps the checkpoints, is watched, and publishes; the others follow what it tells. Gradients are
averaged by torch's DistributedDataParallel, over gloo on a CPU and NCCL on cards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flytewheel.errors import RecipeError
from flytewheel.models import Device

_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together: `rank` from 0, of `count`; `local_rank` on its machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that keeps checkpoints and publishes."""
        return self.rank == 0

    @property
    def fetches(self) -> bool:
        """Whether it brings a checkpoint onto a machine that the first process is not on."""
        return self.local_rank == 0 and not self.first

    def tell(self, value: Any) -> Any:
        """What the first process has as `value`, for all of them; each has to call it."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def find_processes(environ: Mapping[str, str] | None = None) -> Processes:
    """Reads from the environment which process this is; nothing is connected."""
    environ = os.environ if environ is None else environ
    rank, count, local = (int(environ.get(name, default)) for name, default in _VARIABLES)
    return Processes(rank, count, local)


def join_processes(device: Device) -> Processes:
    """Connects this process with the others, where there are any."""
    found = find_processes()
    if found.count > 1:
        from accelerate import PartialState

        PartialState(cpu=device.kind == "cpu")
    return found


def divide_batch(batch_size: int, gradient_accumulation: int, processes: int) -> tuple[int, int]:
    """Divides the rows of an optimizer step among processes, so that a step learns from as many as the recipe says.

    Args:
        batch_size: rows of a micro-batch.
        gradient_accumulation: micro-batches of an optimizer step.
        processes: that share them.

    Returns:
        The same two for each process: the largest micro-batch up to `batch_size` that makes the step come out even.

    Raises:
        RecipeError: the rows cannot be divided evenly.
    """
    rows = batch_size * gradient_accumulation
    if rows % processes:
        raise RecipeError(
            "recipe",
            [
                f"batch_size × gradient_accumulation = {batch_size} × {gradient_accumulation} = {rows} rows cannot "
                f"be divided among {processes} processes (nodes × gpus_per_node); make it a multiple of {processes}"
            ],
        )
    own = rows // processes
    size = max(size for size in range(1, min(batch_size, own) + 1) if own % size == 0)
    return size, own // size


def on_one_card(arguments: Any) -> Any:
    """Keeps a process to one card. With several visible ones transformers would spread each batch over all of them
    (`nn.DataParallel`): steps as many times as large as the recipe says, and TRL refuses it. More cards are taken by
    `training.gpus_per_node`.

    Args:
        arguments: of a trainer; changed and returned.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments
