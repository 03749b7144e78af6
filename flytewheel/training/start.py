"""Where a small turn's training begins: the champion's adapter, in a folder that says whose it is.

`start.json` stands in every such folder, the adapter in `adapter/`, and in `earlier/` the validation rows of the data
set that it learnt from: what a small turn must not forget is measured on them. One that names no version has none of
it, and training begins with a fresh adapter.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flytewheel.dataset import digest_content, part_file, read_rows
from flytewheel.errors import BaseModelError
from flytewheel.models import ADAPTER_FILES, attach_adapter, locate_base
from flytewheel.recipe import BaseModelSpec
from flytewheel.training.fit import digest_adapter
from flytewheel.training.rows import thin

START, EARLIER = "start.json", "earlier"


@dataclass(frozen=True, slots=True)
class Start:
    """An adapter to go on from.

    Attributes:
        folder: holds the adapter.
        version: the champion's name in the registry; only told.
        adapter: digest of the adapter (`digest_adapter`).
        base: content of the base that it was trained on (`models.base_digest`); empty: not known.
        tolerance: share of the start's validation loss by which a checkpoint's may be above it (`takeback`).
        share: of the validation rows that are earlier ones, as of the training rows (`curation.replay_share`).
        earlier: digest of the earlier validation rows; empty: there are none.
    """

    folder: Path
    version: str
    adapter: str
    base: str
    tolerance: float
    share: float = 0.0
    earlier: str = ""

    def name(self) -> dict[str, Any]:
        """What a training's manifest says of it beside the adapter: what decides which step is published."""
        return {"tolerance": self.tolerance, "share": self.share, "earlier": self.earlier}

    def mix(self, kind: str, rows: Sequence[Any]) -> list[Any]:
        """Adds earlier validation rows of a kind to `rows`, evenly spaced, until they are the share of the result."""
        file = part_file(self.folder.parent / EARLIER, kind, "validation")
        if not self.earlier or not file.is_file():
            return list(rows)
        known = {row.id for row in rows}
        earlier = [row for row in read_rows(file, kind) if row.id not in known]
        wanted = len(earlier) if self.share >= 1 else round(self.share / (1 - self.share) * len(rows))
        return [*rows, *thin(earlier, wanted)]


def write_start(folder: Path, start: Start | None = None) -> None:
    """Notes in `folder` which adapter lies in its `adapter/`; `None`: none does."""
    told: dict[str, Any] = {"version": ""} if start is None else asdict(start)
    told.pop("folder", None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / START).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def keep_earlier(dataset: Path, folder: Path) -> str:
    """Copies the validation rows of a data set to where `Start.mix` looks; returns their digest."""
    for kind in ("sft", "preference", "unpaired"):
        file, kept = (part_file(place, kind, "validation") for place in (dataset, folder / EARLIER))
        if file.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
    return digest_content(folder / EARLIER)


def read_start(folder: Path) -> Start | None:
    """The start that `write_start` noted, its adapter's bytes held against their digest; `None` where there is none.

    Raises:
        BaseModelError: there is no note, or the adapter is not the one that was noted.
    """
    try:
        told = json.loads((folder / START).read_text(encoding="utf-8"))
        start = Start(folder=folder / "adapter", **told) if told["version"] else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseModelError(f"{folder}: expected {START} ({error}); open the turn again") from None
    if start is None:
        return None
    missing = [name for name in ADAPTER_FILES if not (start.folder / name).is_file()]
    found = "no " + missing[0] if missing else digest_adapter(start.folder)
    if found != start.adapter:
        raise BaseModelError(
            f"{start.folder}: expected the adapter {start.adapter[:12]} of {start.version}, found {found[:32]}; "
            "open the turn again"
        )
    if start.earlier and digest_content(folder / EARLIER) != start.earlier:
        raise BaseModelError(f"{folder / EARLIER}: expected the rows {start.earlier[:12]}; open the turn again")
    return start


def attach_start(model: Any, adapter: Path, base: BaseModelSpec) -> Any:
    """Puts the adapter in a folder on `model`, to be trained further.

    Raises:
        BaseModelError: it does not fit.
    """
    try:
        adapted = attach_adapter(model, adapter, trainable=True)
    except (ValueError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise BaseModelError(f"{adapter}: does not fit base.model {base.model!r} ({cause}); train SFT again") from None
    # Published adapters name their base in the recipe's words; PEFT reads a config under this name at each checkpoint.
    adapted.peft_config["default"].base_model_name_or_path = locate_base(base)
    return adapted
