"""The whole examination on this machine, and judgements on machines that are not at hand, given as facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.doctor import examine
from flytewheel.doctor.examine import Torch, judge_devices, judge_recipe
from flytewheel.doctor.machine import GIB, Machine
from flytewheel.profiles import Card, Facts, choose_device, find_device
from flytewheel.recipe import Recipe
from flytewheel.settings import Settings
from flytewheel.training.memory import TrainingMemory

H100 = Card("NVIDIA H100", 80 * GIB, (9, 0), bf16=True)
T4 = Card("Tesla T4", 16 * GIB, (7, 5), bf16=False)
MAC = Facts(mps=True, macos=15, machine="arm64", threads=8)
AMX = Facts(threads=2, cpu_features=frozenset({"amx_bf16"}))
MACHINE = Machine("3.11.9", "Linux", 4, 4, 4, 16 * GIB, 8 * GIB, Path("/home"), 100 * GIB)
CPU_BUILD, CUDA_BUILD = Torch("2.13.0+cpu", "cpu"), Torch("2.13.0+cu130", "CUDA 13.0")


def _recipe(**sections: Any) -> Recipe:
    return Recipe.model_validate({"name": "made", "base": {"model": "pocket"}, **sections})


def _judged(recipe: Recipe, facts: Facts, memory: TrainingMemory | None = None, disk: int | None = None) -> list[str]:
    return [str(each) for each in judge_recipe(recipe, choose_device(facts), facts, MACHINE, memory, disk)]


@pytest.mark.parametrize(
    ("facts", "torch", "nvidia", "said"),
    [
        (Facts(), CPU_BUILD, True, ["built for the CPU; pip install torch==2.13.0 from the index for CUDA"]),
        (Facts(), CUDA_BUILD, True, ["(built for CUDA 13.0) finds none; see that nvidia-smi works"]),
        (Facts(), CPU_BUILD, False, []),
        (Facts(cards=(T4,)), CUDA_BUILD, True, []),
        (Facts(cards=(H100, H100)), CUDA_BUILD, True, ["2 cards are visible"]),
    ],
)
def test_an_accelerator_that_is_not_used_is_doubtful(facts: Facts, torch: Torch, nvidia: bool, said: list[str]) -> None:
    found = [str(finding) for finding in judge_devices(facts, torch, nvidia)]
    assert len(found) == len(said)
    for line, words in zip(found, said, strict=True):
        assert line.startswith("doubtful: ")
        assert words in line


@pytest.mark.parametrize(
    ("sections", "facts", "said"),
    [
        ({}, Facts(), None),
        ({"training": {"adapter": "qlora"}}, MAC, "missing: training.adapter: 'qlora' needs a CUDA device, found mps"),
        (
            {"training": {"adapter": "full"}, "rlhf": {"learning_rate": 5e-7}},
            Facts(cards=(H100,)),
            "doubtful: training.learning_rate: 0.0002 is a rate for LoRA, training.adapter is 'full'; take about",
        ),
        (
            {"training": {"adapter": "full", "learning_rate": 2e-5}},
            Facts(cards=(H100,)),
            "doubtful: rlhf.learning_rate: 5e-06 is a rate for LoRA, training.adapter is 'full'; take 5e-7",
        ),
        (
            {"training": {"adapter": "full", "learning_rate": 2e-5}, "rlhf": {"method": "orpo"}},
            Facts(cards=(H100,)),
            None,
        ),
        ({"base": {"model": "pocket", "dtype": "float16"}}, MAC, "missing: base.dtype: 'float16' is not for mps"),
        ({"base": {"model": "pocket", "dtype": "bfloat16"}}, MAC, None),
        (
            {"base": {"model": "pocket", "dtype": "bfloat16"}},
            AMX,
            "doubtful: base.dtype: 'bfloat16' was measured 9 times",
        ),
        (
            {"feedback": {"files": {"interactions": "none.jsonl", "feedback": "none.jsonl"}}},
            Facts(),
            "missing: feedback.files.interactions: no file 'none.jsonl' under",
        ),
        ({"curation": {"regression_cases": "none.jsonl"}}, Facts(), "missing: curation.regression_cases: no file"),
    ],
)
def test_what_a_recipe_asks_of_the_wrong_machine_is_missing(
    sections: dict[str, Any], facts: Facts, said: str | None
) -> None:
    found = _judged(_recipe(**sections), facts)
    if said is None:
        assert found == []
    else:
        (line,) = found
        assert line.startswith(said)
        assert "; " in line


def test_memory_is_that_of_the_device() -> None:
    """10 GiB at least, 20 at most: the machine has 8 free, a T4 16, an H100 80."""
    memory = TrainingMemory(9 * GIB, 0, 5 * GIB, 5 * GIB, GIB, 4096)
    (cpu,) = _judged(_recipe(), Facts(), memory)
    assert cpu.startswith("missing: training takes at least 10.0 GiB, memory has 8.0 GiB; ")
    (t4,) = _judged(_recipe(), Facts(cards=(T4,)), memory)
    assert t4.startswith("doubtful: training may take 20.0 GiB where every row is 1024 tokens long, Tesla T4 has 16.0")
    assert _judged(_recipe(), Facts(cards=(H100,)), memory) == []
    (disk,) = _judged(_recipe(), Facts(), None, 200 * GIB)
    assert disk.startswith("doubtful: a first turn may write 200.0 GiB, 100.0 GiB are free under /home; ")


def test_this_machine_is_examined_and_left_as_it_was(tmp_path: Path) -> None:
    found = examine(Settings(home=tmp_path / "home"), _recipe())
    assert [finding for finding in found.findings if finding.level == "missing"] == []
    assert found.ready
    assert found.device == find_device()
    assert found.torch is not None
    assert found.base is not None
    assert found.memory is not None
    assert found.memory.least < found.memory.most
    assert list(tmp_path.iterdir()) == []
    assert not replace(found, findings=(*found.findings, *_missing())).ready


def _missing() -> Any:
    return judge_recipe(_recipe(training={"adapter": "qlora"}), choose_device(Facts()), Facts(), MACHINE, None, None)
