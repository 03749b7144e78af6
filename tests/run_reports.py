"""Reports as the stations of a turn leave them, small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Point = tuple[float, float]


def curated(digest: str, *, sft: int = 300, interactions: int = 1000) -> dict[str, Any]:
    return {
        "digest": digest * 64, "interactions": interactions, "events": 2 * interactions,
        "counts": {"sft": {"train": sft, "validation": 40}, "preference": {"train": 100}},
    }  # fmt: skip


def trained(
    losses: Iterable[Point], *, method: str = "sft", validation: float | None = 0.5, **more: Any
) -> dict[str, Any]:
    """A training of these `(step, loss)`; the rate falls, the norm is twice the loss, 100 tokens a step."""
    curve: list[dict[str, float]] = [
        {
            "step": step,
            "loss": loss,
            "learning_rate": 1e-3 / (step + 1),
            "grad_norm": 2 * loss,
            "num_tokens": 100 * step,
        }
        for step, loss in losses
    ]
    known = [point["loss"] for point in curve]
    if validation is not None:
        curve.append({"step": curve[-1]["step"], "eval_loss": validation})
    return {
        "method": method, "reason": "as the recipe says", "rows": 300, "steps": int(curve[-1]["step"]),
        "first_loss": known[0], "last_loss": known[-1], "eval_loss": validation, "curve": curve,
        "device": "cpu (1 thread, float32)", "seconds": 1.5, "resumed_from_step": 0, "truncated_rows": 0, **more,
    }  # fmt: skip


def evaluated(perplexity: float, *, champion: float = 1.2) -> dict[str, Any]:
    def interval(value: float) -> dict[str, float]:
        return {"estimate": value, "low": value - 0.05, "high": value + 0.05, "level": 0.95}

    metric = {"candidate": interval(perplexity), "champion": interval(champion)}
    return {"metrics": {"perplexity": {**metric, "difference": interval(perplexity - champion), "rows": 9, "users": 3}}}
