"""One of several processes that train together, started by torch's launcher (tests/training/test_together.py)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from flytewheel.training.align import align
from flytewheel.training.processes import find_processes
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec


def train(model: str, dataset: str, root: str, stop_at: int | None) -> dict[str, Any]:
    """SFT, then DPO; `stop_at`: the first process breaks off at this step of SFT."""
    import torch

    torch.set_num_threads(1)
    place, first = Path(root), find_processes().first

    def count(what: str, done: int, total: int | None) -> None:
        if what == "sft" and done == stop_at:
            raise RuntimeError("broken off")

    at = Workplace(place / "checkpoints", progress=count if first else None)
    out = place / f"out-{find_processes().rank}"
    options: dict[str, Any] = {
        "base": base_spec(Path(model)), "training": training_spec(lora_dropout=0.0), "seed": 5, "at": at,
    }  # fmt: skip
    tuned = train_sft(Path(dataset), out / "sft", **options)
    if first:
        (place / "sft").symlink_to(out / "sft")
    find_processes().wait()
    aligned = align(Path(dataset), place / "sft", out / "dpo", rlhf=rlhf_spec(), **options)
    return {"sft": asdict(tuned), "dpo": asdict(aligned), "published": sorted(path.name for path in out.glob("*"))}
