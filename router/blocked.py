"""Decides what may be served of a model some of whose versions learnt from people who were erased since.

A tainted version whose deadline has passed (`privacy.erased_serve_days`) is not loaded, and is unloaded where it is.
The newest earlier champion that is not blocked answers in its place, the bare base at last; where there is none,
nothing answers, and requests are told why. The alias stays where it is: a person moves it, or the retrained version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from registry.taints import Tainted, find_fallback, list_taints
from registry.versions import Registry


@dataclass(frozen=True, slots=True)
class Served:
    """Who may answer for a model's name: `version` (`None`: nobody), and in words why it is not the champion."""

    version: str | None
    reason: str = ""


class Blocked:
    """The versions that may not be served at one moment."""

    def __init__(self, registry: Registry, now: datetime) -> None:
        """Reads every taint once."""
        self._registry = registry
        taints: Mapping[tuple[str, str], Tainted] = list_taints(registry.store)
        self._blocked = {key: tainted for key, tainted in taints.items() if tainted.blocked(now)}

    def find(self, name: str, versions: Iterable[str]) -> Tainted | None:
        """The first of these versions that may not be served."""
        return next((self._blocked[name, each] for each in versions if (name, each) in self._blocked), None)

    def choose(self, name: str, champion: str) -> Served:
        """The champion, or what answers in its place."""
        tainted = self.find(name, [champion])
        if tainted is None:
            return Served(champion)
        kept_out = [version for model, version in self._blocked if model == name]
        instead = find_fallback(self._registry, name, champion, kept_out)
        if instead is None:
            return Served(None, f"{tainted}, and no earlier champion may serve: train from the base and promote that")
        return Served(instead, f"{tainted}: {instead} serves in its place")
