"""What workers serve by: one table, made by the keeper, replaced as a whole and read once a request.

It crosses to the workers as msgpack (`router.channel`), and its part that outlives the process is kept on disk
(`router.keeper.lastgood`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from flytewheel.api_keys import ApiKey
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.shadows import Shadow
from router.paths import MODEL_PREFIX as MODEL_PREFIX

Key = tuple[str, str]  # name and version of a loaded model


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers for one model name: the champion, or the arms of the running experiment; before both, the control of
    a holdback for those who are held back.
    """

    name: str
    champion: str
    experiment: Experiment | None = None
    holdback: Experiment | None = None
    shadow: Shadow | None = None
    rehearsal: bool = False  # of a drill: what it answers is remembered nowhere

    @property
    def versions(self) -> set[str]:
        found = {self.champion}
        if self.experiment is not None:
            found.update(self.experiment.arms.values())
        if self.holdback is not None:
            found.add(self.holdback.control)
        if self.shadow is not None:
            found.add(self.shadow.candidate)
        return found


@dataclass(frozen=True, slots=True)
class Table:
    """Everything at one moment, except the loaded versions, which are told one by one (`router.backends`).

    `loaded`: the sources were read once at least, or a good table of the last process was.
    """

    routes: dict[str, Route] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)  # model name: why its champion does not answer
    keys: tuple[ApiKey, ...] | None = None  # None: not read yet
    loaded: bool = False
    probes: dict[str, Route] = field(default_factory=dict)  # of drills, by a name that nobody else knows
    replicas: int = 1  # machines that divide what a key is allowed

    def to_wire(self) -> bytes:
        """The table as a worker reads it."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_wire(cls, data: bytes) -> Table:
        """The table that a keeper sent."""
        return msgspec.msgpack.decode(data, type=cls)
