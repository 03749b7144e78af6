"""What is decided for a card, as pure functions; the card itself is measured by `benchmarks.training_gpu`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.profiles import Card, Facts, choose_device
from flytewheel.training.acceleration import accelerate, count_recomputed, layer_values


def test_layers_are_recomputed_only_where_memory_asks() -> None:
    """32 layers of 10, inputs of 1: with 320 free none, with 200 free ceil((120 + 10) / 9) = 15, with nothing all."""
    assert count_recomputed(32, 10, 1, 320) == 0
    assert count_recomputed(32, 10, 1, 200) == 15
    assert count_recomputed(32, 10, 1, 0) == 32


@given(layers=st.integers(1, 100), free=st.floats(0, 5000), layer=st.floats(2, 50))
def test_what_is_kept_fits_unless_all_are_recomputed(layers: int, free: float, layer: float) -> None:
    number = count_recomputed(layers, layer, 1, free)
    held = (layers - number) * layer + number + (layer if number else 0)
    assert number == layers or held <= free + 1e-6
    # and not one layer more than that
    assert number == 0 or (layers - number + 1) * layer + (number - 1) + layer > free - 1e-6 or number == 1


def test_a_wider_feed_forward_keeps_more() -> None:
    assert layer_values(SimpleNamespace(hidden_size=4096, intermediate_size=14336)) == 25.0
    assert layer_values(SimpleNamespace(hidden_size=512)) == 27.0


@pytest.mark.parametrize("facts", [Facts(threads=2), Facts(mps=True, macos=15, machine="arm64")])
def test_other_devices_are_left_alone(facts: Facts) -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            pytest.fail(f"{name} of the trainer was asked for")

    accelerate(Untouched(), choose_device(facts), tokens=100)
    assert choose_device(Facts(cards=(Card("H100", 80 << 30, (9, 0), True),))).kind == "cuda"
