"""Decides which experiments an allocation is wanted for; where there is none, nothing of it is even loaded.

An experiment with a fixed split is not in `running`: its requests meet one look into an empty dict. NumPy and what
learns come with the first experiment that asks for them (80 ms, 25 MB).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.design import Design, read_design
from router.table import Route

if TYPE_CHECKING:
    from router.allocation.giving import Given
    from router.allocation.learning import Learning
    from router.proxy.call import Call
    from router.state import RouterState

logger = logging.getLogger("router.allocation")


class Allocation:
    """The allocations of one process.

    Args:
        worker: the router's home and the process's state; None in a process that gives no arms.
    """

    def __init__(self, worker: tuple[Path, RouterState] | None = None) -> None:
        self.running: Mapping[str, Design] = {}  # by experiment
        self._worker = worker
        self._learning: Learning | None = None

    def follow(self, routes: Mapping[str, Route]) -> None:
        """Goes by these routes from now on; to be called inside the event loop."""
        wanted: dict[str, Design] = {}
        for route in routes.values() if self._worker is not None else ():
            if (experiment := route.experiment) is None:
                continue
            try:
                design = read_design(experiment.body, tuple(experiment.arms))
            except ExperimentError as error:  # refused when one is opened; this row somebody wrote by hand
                logger.error("%s: the split is fixed: %s", experiment.experiment_id, error)
                continue
            if design is not None:
                wanted[experiment.experiment_id] = design
        self.running = wanted
        if wanted and self._learning is None and self._worker is not None:
            from router.allocation.learning import Learning

            self._learning = Learning(*self._worker)
        if self._learning is not None:
            self._learning.follow(wanted)

    async def give(self, call: Call) -> Given | None:
        """The arm of a call's user, None where no allocation gives it; a call that cannot be given one leaves its
        experiment.
        """
        return None if self._learning is None else await self._learning.give(call)

    async def close(self) -> None:
        """Ends what runs in the background; what is known is kept."""
        if self._learning is not None:
            await self._learning.close()
