"""A small frozen data set with something to learn, and recipe parts that learn it in seconds, for the tests here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.dataset import DatasetCard, digest_content, part_file, write_card, write_rows
from flytewheel.recipe import BaseModelSpec, GrpoSpec, RewardSpec, RlhfSpec, TrainingSpec
from flytewheel.records import Message, Preference, SftRow, Unpaired

LIKED = "1. restart it"
DISLIKED = "no idea"


def ask(number: int) -> tuple[Message, ...]:
    return (
        Message(role="system", content="You are an assistant."),
        Message(role="user", content=f"what about alert {number}?"),
    )


def write_teaching_data(folder: Path, *, rows: int = 48, pairs: int = 32, unpaired: int = 32) -> Path:
    """Writes a data set: SFT answers of five lengths, pairs and thumbs that prefer `LIKED` to `DISLIKED`."""
    for part, share in (("train", 1.0), ("validation", 0.25)):
        write_rows(
            part_file(folder, "sft", part),
            "sft",
            [
                SftRow(f"s{n}", f"u{n}", "alerts", ask(n), "restart " * (1 + n % 5) + "now", 1.0, 0.9, "answer")
                for n in range(int(rows * share))
            ],
        )
        write_rows(
            part_file(folder, "preference", part),
            "preference",
            [
                Preference(f"p{n}", f"u{n}", "alerts", ask(n), LIKED, DISLIKED, 2.0, "same_prompt")
                for n in range(int(pairs * share))
            ],
        )
        write_rows(
            part_file(folder, "unpaired", part),
            "unpaired",
            [
                Unpaired(f"t{n}", f"u{n}", "alerts", ask(n), LIKED if n % 4 else DISLIKED, bool(n % 4))
                for n in range(int(unpaired * share))
            ],
        )
    content = digest_content(folder)
    card = DatasetCard(
        digest=content, content_digest=content, sources=("test",), interactions=rows, events=rows, steps=(), counts={},
        users={}, topics={},
    )  # fmt: skip
    write_card(folder, card)
    return folder


def base_spec(model: Path, **fields: Any) -> BaseModelSpec:
    return BaseModelSpec(**{"model": str(model), "max_length": 128, **fields})


def training_spec(**fields: Any) -> TrainingSpec:
    defaults = {"learning_rate": 5e-3, "epochs": 2.0, "gradient_accumulation": 1, "checkpoint_every": 5}
    return TrainingSpec(**{**defaults, **fields})


def rlhf_spec(**fields: Any) -> RlhfSpec:
    defaults = {
        "learning_rate": 2e-3, "gradient_accumulation": 1, "batch_size": 4, "checkpoint_every": 3,
        "min_preference_pairs": 10, "min_unpaired": 10,
        "grpo": GrpoSpec(group_size=4, max_answer_tokens=12),
    }  # fmt: skip
    return RlhfSpec(**{**defaults, **fields})


def reward_spec(**fields: Any) -> RewardSpec:
    defaults = {
        "enable": True, "learning_rate": 1e-2, "gradient_accumulation": 1, "checkpoint_every": 3, "min_pairs": 10,
    }  # fmt: skip
    return RewardSpec(**{**defaults, **fields})
