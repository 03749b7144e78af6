"""A teachable tiny base model and its data set, made once for all training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytewheel.training.reward import train_reward
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
from tests.training.teaching import base_spec, reward_spec, rlhf_spec, training_spec, write_teaching_data


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("base"), spread=0.15)


@pytest.fixture(scope="session")
def teaching_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teaching_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def sft_adapter(base_model: Path, teaching_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter trained on the SFT rows; do not write into it."""
    root = tmp_path_factory.mktemp("sft")
    train_sft(
        teaching_data, root / "out", base=base_spec(base_model), training=training_spec(), seed=3,
        at=Workplace(root / "checkpoints"),
    )  # fmt: skip
    return root / "out"


@pytest.fixture(scope="session")
def reward_model(base_model: Path, teaching_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model trained on the pairs; do not write into it."""
    root = tmp_path_factory.mktemp("reward")
    train_reward(
        teaching_data, root / "out", base=base_spec(base_model), training=training_spec(), reward=reward_spec(),
        rlhf=rlhf_spec(), seed=3, at=Workplace(root / "checkpoints"),
    )  # fmt: skip
    return root / "out"
