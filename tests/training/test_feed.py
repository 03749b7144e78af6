from __future__ import annotations

from pathlib import Path

import pytest

from flytewheel.profiles import PROFILES, Device
from flytewheel.training.feed import feed_rows
from flytewheel.training.rows import IGNORED, Rows
from tests.training.teaching import base_spec, training_spec

LENGTHS = [10, 20, 30, 40] * 10


def _rows() -> Rows:
    from datasets import Dataset

    records = [
        {"input_ids": [1] * length, "labels": [IGNORED] * (length - 4) + [1] * 4, "length": length}
        for length in LENGTHS
    ]
    return Rows(Dataset.from_list(records), len(records), 0)


@pytest.mark.parametrize(
    ("profile", "packing", "sequences"),
    [("cuda-bf16", "auto", 10), ("cuda-fp16", "auto", 10), ("cpu", "auto", 40), ("mps", "auto", 40),
     ("cuda-bf16", False, 40), ("cpu", True, 10)],
)  # fmt: skip
def test_the_profile_says_whether_rows_are_packed_and_the_recipe_may_say_otherwise(
    profile: str, packing: bool, sequences: int
) -> None:
    """Forty rows of 10 to 40 tokens fill ten sequences of 100."""
    base = base_spec(Path("base"), max_length=100)
    feed = feed_rows(_rows(), base, training_spec(packing=packing), seed=1, device=Device("one", PROFILES[profile]))
    assert len(feed.sequences) == sequences
    assert sum(feed.sequences.lengths) == sum(LENGTHS)


def test_the_figures_are_those_of_the_recipes_steps() -> None:
    """Batches of 4 and accumulation 2: 40 rows make 5 steps; packed by fours 8 rows are 2 sequences, 5 steps again."""
    base = base_spec(Path("base"), max_length=100)
    device = Device("one", PROFILES["cpu"])
    for packing, batches in ((False, 10), (True, 5)):
        training = training_spec(batch_size=4, gradient_accumulation=2, packing=packing)
        figures = feed_rows(_rows(), base, training, seed=1, device=device).figures
        assert (figures.rows, figures.tokens, figures.loss_tokens) == (40, 1000, 160)
        assert (figures.batches, figures.steps_per_epoch) == (batches, 5)
        assert figures.useful_share == (1.0 if packing else pytest.approx(0.95, abs=0.05))
