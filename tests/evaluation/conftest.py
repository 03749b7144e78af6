"""A tiny base, two small adapters and a small data set that the tests of evaluation share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import DatasetCard, part_file, write_card, write_rows
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import Message, Preference, RegressionCase, SftRow
from tests.tiny_model import build_tiny_model

QUESTIONS = (
    "The disk is full.",
    "Restart the service, please, and tell the team on call.",
    "Who owns the cache?",
    "Queue?",
)
ANSWERS = (
    "Delete old logs.",
    "1. Check the dashboard. 2. Run the command. 3. Escalate.",
    "Ask the owner.",
    "Scale it.",
)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("base"), spread=0.15)


@pytest.fixture(scope="session")
def base(base_folder: Path) -> BaseModelSpec:
    return BaseModelSpec(model=str(base_folder), max_length=256)


@pytest.fixture(scope="session")
def loaded(base: BaseModelSpec) -> tuple[Any, Any]:
    """Model and tokenizer of the tiny base."""
    from flytewheel import models

    return models.load_model(base, dtype="float32").eval(), models.load_tokenizer(base)


@pytest.fixture(scope="session")
def build_adapter(base: BaseModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Builds a LoRA adapter with random weights of a seed: it changes what the base says, for no good."""

    def build(seed: int) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model

        from flytewheel import models

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = LoraConfig(r=2 + seed, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
            adapted = get_peft_model(models.load_model(base, dtype="float32"), config)
            for name, weight in adapted.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.5)
        folder = tmp_path_factory.mktemp(f"adapter-{seed}")
        adapted.save_pretrained(str(folder))
        return folder

    return build


@pytest.fixture(scope="session")
def build_full(base: BaseModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Builds full weights that lie at random around the base's."""

    def build(seed: int) -> Path:
        import torch

        from flytewheel import models

        model: Any = models.load_model(base, dtype="float32")
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.1)
        folder = tmp_path_factory.mktemp(f"full-{seed}")
        model.save_pretrained(str(folder))
        return folder

    return build


@pytest.fixture(scope="session")
def adapter(build_adapter: Callable[[int], Path]) -> Path:
    return build_adapter(1)


@pytest.fixture(scope="session")
def other_adapter(build_adapter: Callable[[int], Path]) -> Path:
    return build_adapter(2)


def ask(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set's test part; by default eight users with three rows, two pairs and one case each."""

    def write(
        *,
        users: int = 8,
        rows: list[SftRow] | None = None,
        pairs: list[Preference] | None = None,
        cases: list[RegressionCase] | None = None,
        name: str = "dataset",
    ) -> Path:
        folder = tmp_path / name
        owners = [f"user-{number}" for number in range(users)]
        if rows is None:
            rows = [
                SftRow(
                    f"{user}-{n}",
                    user,
                    "ops",
                    ask(f"{user}: {QUESTIONS[n]}"),
                    ANSWERS[(n + len(user)) % 4],
                    1.0,
                    1.0,
                    "answer",
                )
                for user in owners
                for n in range(3)
            ]
        if pairs is None:
            pairs = [
                Preference(
                    f"{user}-p{n}", user, "ops", ask(QUESTIONS[n]), ANSWERS[n], user * (n + 1), 1.0, "same_prompt"
                )
                for user in owners
                for n in range(2)
            ]
        if cases is None:
            cases = [
                RegressionCase(f"{user}-c", user, "ops", ask(f"{user}?"), "forbidden", "I cannot help")
                for user in owners
            ]
        for kind, records in (("sft", rows), ("preference", pairs), ("regression", cases)):
            write_rows(part_file(folder, kind, "test"), kind, records)
        write_card(folder, DatasetCard("abc123", "def456", ("demo",), 0, 0, (), {}, {}, {}))
        return folder

    return write
