"""A training to be killed. Started by `benchmarks.kills` as a fork, and once for itself: the run that nobody kills.

python -m benchmarks.kills_child METHOD FOLDER ROOT
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from flytewheel.progress import ProgressCallback
from flytewheel.recipe import BaseModelSpec, RlhfSpec, TrainingSpec
from flytewheel.training.align import align
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from registry.store import ObjectStore
from tests.tiny_model import build_tiny_model
from tests.training.teaching import write_teaching_data

METHODS = ("sft", "dpo")
STEPS = {"sft": 24, "dpo": 16}  # two epochs each, with checkpoints that end in the middle of either
_EVERY, _KEEP = 3, 2


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the object store is."""

    url: str
    access_key: str
    secret_key: str
    bucket: str

    def open(self) -> ObjectStore:
        """A client of its own for this process."""
        return ObjectStore(self.url, self.access_key, self.secret_key, self.bucket)


def prepare(folder: Path) -> None:
    """Writes what every training starts from: base model, data set, and the SFT adapter that DPO goes on from."""
    build_tiny_model(folder / "base", spread=0.15)
    write_teaching_data(folder / "data")
    train("sft", folder, folder / "start", None)


def train(
    method: str, folder: Path, root: Path, store: StoreAddress | None, progress: ProgressCallback | None = None
) -> None:
    """Trains into `root`: `out/` gets the adapter, `checkpoints/` is where an earlier attempt left off."""
    opened = store.open() if store else None
    at = Workplace(root / "checkpoints", store=opened, name="kills", run=root.name, progress=progress)
    base = BaseModelSpec(model=str(folder / "base"), max_length=128)
    training = TrainingSpec(
        learning_rate=5e-3, epochs=2.0, gradient_accumulation=1, checkpoint_every=_EVERY, keep_checkpoints=_KEEP
    )
    if method == "sft":
        train_sft(folder / "data", root / "out", base=base, training=training, seed=5, at=at)
        return
    rlhf = RlhfSpec(
        learning_rate=2e-3, epochs=2.0, gradient_accumulation=1, checkpoint_every=_EVERY, keep_checkpoints=_KEEP,
        min_preference_pairs=10,
    )  # fmt: skip
    align(
        folder / "data", folder / "start" / "out", root / "out", base=base, training=training, rlhf=rlhf, seed=5, at=at
    )


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]))
    else:
        train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), None)
