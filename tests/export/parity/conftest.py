"""The bundled model with a small adapter on it, as files: what faults are planted in. It serves because a fault must
show in what a model says, and random weights say the same with it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flytewheel.export.convert import write_kinds
from flytewheel.export.parity import AdapterFiles, ParityReport, check_parity
from flytewheel.export.source import open_source
from flytewheel.models import load_model, load_tokenizer
from flytewheel.pocket.facts import TAUGHT, write_answer
from flytewheel.pocket.users import draw_questions
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import Message, build_prompt

POCKET = BaseModelSpec(model="pocket")
KINDS = ("Q8_0", "Q4_K_M")
SPEC = ExportSpec(parity_tokens=12, parity_positions=320)


def draw_talks(number: int, seed: int) -> list[tuple[Message, ...]]:
    """Held-out conversations with their answers."""
    chance = random.Random(seed)
    return [
        (
            *build_prompt(question.query, system=question.system, context=question.context),
            Message(role="assistant", content=write_answer(question.fact, TAUGHT, chance)),
        )
        for question in draw_questions(number, seed)
    ]


def train_adapter(folder: Path, seed: int, *, strength: float = 0.12, **options: Any) -> Path:
    """A random adapter; `strength` is the deviation of B."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    layers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    options = {"r": 4, "lora_alpha": 8, "target_modules": layers, **options}
    model: Any = get_peft_model(load_model(POCKET, dtype="float32"), LoraConfig(**options))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "lora_embedding_A" in name:
                weight.normal_(std=strength)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


@dataclass(frozen=True)
class Candidate:
    """What was trained, the files of it, and held-out conversations."""

    tokenizer: Any
    adapter: Path | None
    files: Mapping[str, Path]
    talks: list[tuple[Message, ...]] = field(default_factory=lambda: draw_talks(4, 1))

    def copy(self, folder: Path, kind: str) -> Path:
        """A file to spoil."""
        return Path(shutil.copyfile(self.files[kind], folder / f"model-{kind}.gguf"))

    def write(self, folder: Path, *kinds: str, tokenizer: Any = None) -> dict[str, Path]:
        """Files as the converter writes them now."""
        files = {kind: folder / f"model-{kind}.gguf" for kind in kinds}
        with open_source(POCKET, self.adapter) as source:
            write_kinds(source, tokenizer or self.tokenizer, files, name="pocket")
        return files

    def check(
        self, files: Mapping[str, Path], *, spec: ExportSpec = SPEC, adapter: AdapterFiles | None = None, **other: Any
    ) -> ParityReport:
        """Asks the gate."""
        given = {"trained": self.adapter, "tokenizer": self.tokenizer, "conversations": self.talks, **other}
        trained, tokenizer, talks = given["trained"], given["tokenizer"], given["conversations"]
        return check_parity(POCKET, trained, tokenizer, files, talks, spec=spec, adapter=adapter)


@pytest.fixture(scope="package")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    folder = tmp_path_factory.mktemp("candidate")
    bare = Candidate(load_tokenizer(POCKET), train_adapter(folder / "adapter", 1), {})
    return Candidate(bare.tokenizer, bare.adapter, bare.write(folder, "F16", *KINDS))
