"""What a whole recipe needs, worked out on Llama 3.1 8B."""

from __future__ import annotations

from flytewheel.doctor.base import BaseModel
from flytewheel.doctor.needs import estimate_disk, estimate_turn
from flytewheel.profiles import PROFILES
from tests.llama import LLAMA, make_recipe


def test_the_larger_part_of_the_training_counts() -> None:
    """Pairs are two sequences of 1,024 tokens each; a thumb is one."""
    cpu = PROFILES["cpu"]
    both = estimate_turn(LLAMA, make_recipe(), cpu)
    thumbs = estimate_turn(LLAMA, make_recipe(rlhf={"method": "kto", "batch_size": 2}), cpu)
    alone = estimate_turn(LLAMA, make_recipe(rlhf={"enable": False}, training={"batch_size": 2}), cpu)
    assert both is not None
    assert thumbs is not None
    assert alone is not None
    assert (both.tokens, thumbs.tokens, alone.tokens) == (8192, 4096, 2048)


def test_nothing_is_estimated_of_what_is_not_here() -> None:
    absent = BaseModel("someone/large", "")
    assert estimate_turn(absent, make_recipe(), PROFILES["cpu"]) is None
    assert estimate_disk(absent, make_recipe()) is None


def test_disk_counts_every_file_of_two_versions_in_two_places() -> None:
    recipe = make_recipe(export={"quantizations": ["Q8_0"], "serve": "Q8_0"})
    assert estimate_disk(LLAMA, recipe) == int(8_030_261_248 * (16 + 8.5) / 8 * 4)
    full = make_recipe(
        export={"quantizations": ["Q8_0"], "serve": "Q8_0"}, training={"adapter": "full", "keep_checkpoints": 2}
    )
    weights = (3 + 4) * 12 + 6 * 4  # checkpoints: SFT's two and alignment's three, and one more each
    assert estimate_disk(LLAMA, full) == int(8_030_261_248 * ((16 + 8.5) / 8 * 4 + weights))
