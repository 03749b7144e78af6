"""One base in memory, and versions as LoRA adapters on it: a version costs its adapter's megabytes, not the base's
gigabytes.

llama.cpp's server takes adapters when it starts and scales them per request. So a version that comes later gets a new
process with all adapters that are in use beside its own; once that serves, the versions of the old process are moved
there, and the old one ends after its last answer. The weights are mapped from the same file, so meanwhile only the
context is in memory twice. A version that goes leaves its adapter behind until the next one comes: a restart for its
sake would cost more than it frees. A process that does not start, such as for a bad adapter, changes nothing.

What it costs: the versions of a base share one process, so a crash takes all of them down for the time of a restart,
and requests for different adapters are not batched together (docs/adr/0035).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from router.backends.llama import LlamaHost, LlamaProcess
from router.backends.served import ServedModel

Make = Callable[[ServedModel, Path, tuple[Path, ...]], LlamaProcess]


class ResidentHost(LlamaHost):
    """One version on a base's process; `residents` says who else has to move there."""

    def __init__(
        self, model: ServedModel, process: LlamaProcess, residents: Residents, *, adapter: int | None = None
    ) -> None:
        super().__init__(model, process, adapter=adapter)
        self._residents = residents

    def list_moving(self) -> list[tuple[str, str]]:
        """The versions that are to be loaded again since this one serves: those on an older process of the base."""
        return self._residents.settle(self.process)


class Residents:
    """Every base's processes; `make` makes one for a version, its base's file, and adapters."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._latest: dict[Path, LlamaProcess] = {}
        self._all: list[LlamaProcess] = []

    def serve(self, model: ServedModel) -> ResidentHost:
        """The host of a version: on the base's process, or on a new one with one adapter more."""
        assert model.file is not None
        base = model.base or model.file
        adapter = None if model.base is None else model.file
        process = self._latest.get(base)
        if process is None or not process.hosts or not self._fits(process, model, adapter):
            wanted = dict.fromkeys([*self._list_adapters(base), *([] if adapter is None else [adapter])])
            process = self._make(model, base, tuple(wanted))
            self._all.append(process)
            self._latest.setdefault(base, process)
        return ResidentHost(model, process, self, adapter=None if adapter is None else process.adapters.index(adapter))

    def settle(self, process: LlamaProcess) -> list[tuple[str, str]]:
        """A process serves: the newest that does is the one for its base. Returns the versions that serve on others."""
        self._all = [one for one in self._all if one.hosts]
        same = [one for one in self._all if one.file == process.file and one.serving]
        latest = self._latest[process.file] = max([process, *same], key=lambda one: one.number)
        return [
            (host.model.name, host.model.version)
            for one in same
            for host in one.hosts
            if one.number < latest.number and host.status.generation and not host.leaving
        ]

    def _fits(self, process: LlamaProcess, model: ServedModel, adapter: Path | None) -> bool:
        return process.slot_tokens >= model.slot_tokens and (adapter is None or adapter in process.adapters)

    def _list_adapters(self, base: Path) -> list[Path]:
        hosts = [host for one in self._all if one.file == base for host in one.hosts if not host.leaving]
        return [host.model.file for host in hosts if host.model.base is not None and host.model.file is not None]
