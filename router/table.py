"""What workers serve by: one table, made by the keeper, replaced as a whole and read once a request.

It crosses to the workers as msgpack (`router.channel`), and its part that outlives the process is kept on disk
(`router.keeper.lastgood`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flytewheel.experiment.experiments import Experiment

MODEL_PREFIX = "flytewheel/"  # of the routed model names

Key = tuple[str, str]  # name and version of a loaded model


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers for one model name: the champion, or the arms of the running experiment."""

    name: str
    champion: str
    experiment: Experiment | None = None

    @property
    def versions(self) -> set[str]:
        if self.experiment is None:
            return {self.champion}
        return {self.champion, self.experiment.control, self.experiment.treatment}


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """What a request needs to know of a loaded version (`router.backends.backend.Backend` says what each means)."""

    name: str
    version: str
    digest: str
    url: str
    alias: str
    headers: Mapping[str, str]
    endpoints: frozenset[str]
    state: str
    ready: bool
    served_before: bool

    @property
    def key(self) -> Key:
        return (self.name, self.version)


@dataclass(frozen=True, slots=True)
class Table:
    """Everything at one moment. `loading`: versions that are on their way in; `loaded`: it was read once at least."""

    routes: dict[str, Route] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)  # model name: why its champion does not answer
    backends: tuple[BackendFacts, ...] = ()
    loading: tuple[Key, ...] = ()
    loaded: bool = False

    def to_wire(self) -> bytes:
        """The table as a worker reads it."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_wire(cls, data: bytes) -> Table:
        """The table that a keeper sent."""
        return msgspec.msgpack.decode(data, type=cls)


def spell_names(routes: Mapping[str, Any]) -> str:
    """The served model names, for a person who named another."""
    return ", ".join(MODEL_PREFIX + name for name in sorted(routes)) or "none yet"
