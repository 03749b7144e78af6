"""Lets candidate, champion and the bare base answer in turn, holding as little in memory as can be.

Adapters sit side by side on one copy of the base, whose bare self is the model with no adapter active. Full weights
stand for themselves: they are loaded for as long as they speak, one at a time, beside the base.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from flytewheel import models
from flytewheel.errors import BaseModelError, EvaluationError
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec


class Speakers:
    """The models of an evaluation, by name.

    Args:
        base: The model that all were trained from.
        trained: Folders that training wrote, by name; `None` is the bare base.
        device: Where to compute.

    Raises:
        BaseModelError: the base cannot be loaded.
        EvaluationError: a folder holds nothing that was trained, or an adapter does not fit the base.
    """

    def __init__(self, base: BaseModelSpec, trained: Mapping[str, Path | None], device: models.Device) -> None:
        self._base = base
        self._device = device
        self._full: dict[str, Path] = {}
        self._adapters: dict[str, Path] = {}
        for name, folder in trained.items():
            if folder is not None:
                kept = self._full if kind_of(folder) == "full" else self._adapters
                kept[name] = folder
        with quiet_libraries():
            bare: Any = models.load_model(base, dtype=self._dtype, device=device.kind)
            self.model: Any = _attach(bare, self._adapters).eval()

    @property
    def _dtype(self) -> str | None:
        dtype: str | None = self._device.profile.evaluation_dtype.value
        return dtype

    @contextmanager
    def speaking(self, name: str | None) -> Iterator[Any]:
        """Gives the model that answers as `name`; `None`, or a name without a folder, is the bare base."""
        if name in self._full:
            yield self._load_full(self._full[name])
        elif name in self._adapters:
            self.model.set_adapter(name)
            yield self.model
        elif self._adapters:
            with self.model.disable_adapter():
                yield self.model
        else:
            yield self.model

    def release(self) -> None:
        """Lets the weights go; nobody speaks afterwards."""
        self.model = None

    def _load_full(self, folder: Path) -> Any:
        try:
            with quiet_libraries():
                return models.load_full(self._base, folder, dtype=self._dtype, device=self._device.kind).eval()
        except BaseModelError as error:
            raise EvaluationError(str(error)) from None


def kind_of(folder: Path) -> Literal["adapter", "full"]:
    """Whether `folder` holds an adapter or full weights, whole.

    Raises:
        EvaluationError: neither, or a file of it is missing.
    """
    try:
        models.trained_files(folder)
        return models.trained_kind(folder)
    except BaseModelError as error:
        raise EvaluationError(str(error)) from None


def _attach(model: Any, adapters: Mapping[str, Path]) -> Any:
    """Loads adapters side by side on one base. PEFT only warns when weights are missing; here that is an error."""
    adapted = model
    for name, path in adapters.items():
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="Found missing adapter keys")
                adapted = models.attach_adapter(adapted, path, name=name)
        except (RuntimeError, ValueError, UserWarning) as error:
            cause = " ".join(str(error).split())[:200]
            raise EvaluationError(
                f"{name} adapter {path} does not fit the base model ({cause}); "
                "train it on the base that the recipe names"
            ) from None
    return adapted
