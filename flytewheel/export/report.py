"""What an export leaves behind, in `export.json`: written last, so a folder without it holds no finished export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.records import to_jsonable

NAME = "export.json"


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One GGUF. `fallbacks` are the matrices whose shape did not allow the type asked for, with the type they got."""

    kind: str
    sha256: str
    size: int
    tensor_types: dict[str, int]
    fallbacks: dict[str, str]


@dataclass(frozen=True, slots=True)
class ParitySummary:
    """The figures of `parity.json` in short, the last five by file kind; `parity` tells what they mean. A prompt counts
    as `greedy_equal` where every file wrote what the weights would have, and as `looping` where an answer to it loops.
    """

    prompts: int
    positions: int
    greedy_equal: int
    near_ties: int
    looping: int
    top1: dict[str, float]
    mean_kl_nats: dict[str, float]
    noise_kl_nats: dict[str, float]
    base_ratio: dict[str, float]
    largest_logit_difference: dict[str, float]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An export. `files` by name, `serve` is the one that the router is to take, `seconds` by step. `adapter_file` is
    the adapter alone, for a server that has the base; where there is none, `adapter_obstacle` says why. `limits` say
    for which text alone llama.cpp gives the tokenizer's ids; none: for all.
    """

    base_model: str
    adapter_digest: str | None
    architecture: str
    pre_tokenizer: str
    limits: tuple[str, ...]
    serve: str
    files: dict[str, ExportedFile]
    adapter_file: ExportedFile | None
    adapter_obstacle: str | None
    template_in_modelfile: bool
    parity: ParitySummary
    seconds: dict[str, float]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the files, one line each."""
        found = [
            f"{name}: {len(file.fallbacks)} matrices are {', '.join(sorted(set(file.fallbacks.values())))}: "
            f"{file.kind} only where the tensor shapes allow"
            for name, file in self.files.items()
            if file.fallbacks
        ]
        if self.limits:
            found.append(f"llama.cpp gives the tokenizer's ids for {'; '.join(self.limits)}")
        if self.adapter_obstacle:
            found.append(f"no adapter file: {self.adapter_obstacle}")
        if self.parity.looping:
            found.append(
                f"{self.parity.looping} of {self.parity.prompts} greedy answers loop, as the trained weights' do"
            )
        return tuple(found)


def write_report(out: Path, report: ExportReport) -> None:
    """Writes `export.json` into `out`, by way of a temporary name."""
    write_json(out / NAME, report)


def read_report(out: Path) -> ExportReport:
    """Reads the report of a finished export.

    Raises:
        ExportError: there is none in `out`, or it cannot be read.
    """
    try:
        raw: dict[str, Any] = json.loads((out / NAME).read_text(encoding="utf-8"))
        raw["files"] = {name: ExportedFile(**file) for name, file in raw["files"].items()}
        raw["limits"] = tuple(raw["limits"])
        raw["parity"] = ParitySummary(**raw["parity"])
        raw["adapter_file"] = raw["adapter_file"] and ExportedFile(**raw["adapter_file"])
        return ExportReport(**raw)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{out}: no finished export ({error}); export again") from None


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON under a temporary name and renames it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(to_jsonable(value), indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    part.replace(path)
