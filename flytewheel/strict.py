"""Strict, frozen pydantic: what every section of a recipe is made of.

Every key is known, every value typed, nothing is coerced, but for what YAML cannot say: lists stand for tuples, and
`2e-4`, which YAML 1.1 reads as text, is a number.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

_REFUSED = {
    "trust_remote_code": "never: a recipe cannot let code that came with a model run here; take a model that "
    "transformers has a class for"
}
_SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def _read_scientific(value: object) -> object:
    """YAML 1.1 reads `2e-4` as text, because it has no point; people write it all the same."""
    return float(value) if isinstance(value, str) and _SCIENTIFIC.fullmatch(value) else value


_Item = TypeVar("_Item")
Many = Annotated[tuple[_Item, ...], Strict(False)]  # YAML and JSON bring lists
Number = Annotated[float, BeforeValidator(_read_scientific)]
Share = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of every part: unknown keys are refused, values are not coerced, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def list_refused(data: object, path: str = "") -> dict[str, str]:
    """Keys that are refused wherever they stand, by path, with the reason."""
    if isinstance(data, list | tuple):
        data = dict(enumerate(data))
    if not isinstance(data, Mapping):
        return {}
    found: dict[str, str] = {}
    for key, value in data.items():
        here = f"{path}.{key}" if path else str(key)
        reason = _REFUSED.get(str(key).strip().lower().replace("-", "_"))
        found |= {here: f"{here}: {reason}"} if reason else list_refused(value, here)
    return found


def list_faults(error: ValidationError, refused: Collection[str] = ()) -> list[str]:
    """Each fault of a pydantic error as `path: what was expected, what came`, but for those at the paths `refused`."""
    faults = []
    for fault in error.errors():
        path = ".".join(str(part) for part in fault["loc"]) or "recipe"
        if path in refused:
            continue
        if fault["type"] == "extra_forbidden":
            faults.append(f"{path}: unknown key")
        elif fault["type"] == "missing":
            faults.append(f"{path}: required, but missing")
        elif fault["type"] == "value_error":
            faults.append(f"{path}: {str(fault['msg']).removeprefix('Value error, ')}")
        else:
            faults.append(f"{path}: {fault['msg']}, got {fault['input']!r}")
    return faults
