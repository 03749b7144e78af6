"""The table of profiles, and the way from facts to a row: machines that are not at hand are given as facts."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from flytewheel.models import load_model
from flytewheel.profiles import PROFILES, Card, Facts, choose_device, find_device, read_facts
from flytewheel.recipe import BaseModelSpec

GIB = 1 << 30
H100 = Card("NVIDIA H100", 80 * GIB, (9, 0), bf16=True)
T4 = Card("Tesla T4", 16 * GIB, (7, 5), bf16=False)
AMX = frozenset({"avx512_f", "avx512_bf16", "amx_bf16"})


@pytest.mark.parametrize(
    ("facts", "row", "said"),
    [
        (Facts(cards=(H100,), cpu_features=AMX), "cuda-bf16", "cuda (NVIDIA H100, bfloat16)"),
        (Facts(cards=(H100, T4)), "cuda-bf16", "cuda (NVIDIA H100, bfloat16)"),
        (Facts(cards=(T4,)), "cuda-fp16", "cuda (Tesla T4, float16)"),
        (Facts(mps=True, macos=14, machine="arm64"), "mps", "mps (arm64, bfloat16)"),
        (Facts(mps=True, macos=26, machine="arm64", threads=8), "mps", "mps (arm64, bfloat16)"),
        (Facts(mps=True, macos=13, machine="arm64"), "mps-fp32", "mps (arm64, float32)"),
        (Facts(threads=2, cpu_features=AMX), "cpu-bf16", "cpu (2 threads, float32)"),
        (Facts(threads=4, cpu_features=frozenset({"neon", "bf16"})), "cpu-bf16", "cpu (4 threads, float32)"),
        (Facts(threads=1, cpu_features=frozenset({"avx2", "avx512_f"})), "cpu", "cpu (1 thread, float32)"),
        (Facts(), "cpu", "cpu (1 thread, float32)"),
    ],
)
def test_facts_decide_the_row(facts: Facts, row: str, said: str) -> None:
    device = choose_device(facts)
    assert device.profile is PROFILES[row]
    assert str(device) == said


def _values(row: str) -> dict[str, Any]:
    return {name: choice.value for name, choice in PROFILES[row].choices().items()}


@pytest.mark.parametrize("row", [name for name in PROFILES if name.startswith("mps")])
def test_mps_never_trains_in_fp16(row: str) -> None:
    values = _values(row)
    assert values["autocast"] is None
    assert "float16" not in {values["dtype"], *values["dtypes"]}
    assert (values["workers"], values["pinned_memory"], values["packing"]) == (0, False, False)


def test_a_cpu_without_bf16_never_trains_in_it() -> None:
    values = _values("cpu")
    assert (values["dtype"], values["dtypes"], values["autocast"]) == ("float32", ("float32",), None)
    with_bf16 = _values("cpu-bf16")
    assert (with_bf16["dtype"], with_bf16["autocast"]) == ("float32", None)
    assert "9 times slower" in PROFILES["cpu-bf16"].dtype.reason


@pytest.mark.parametrize("row", PROFILES)
def test_each_row_is_whole_and_agrees_with_itself(row: str) -> None:
    profile, values = PROFILES[row], _values(row)
    assert profile.name == row
    assert row.startswith(profile.kind)
    assert all(choice.reason for choice in profile.choices().values())
    assert values["dtype"] in values["dtypes"]
    assert values["autocast"] in {None, values["dtype"]}
    assert values["attention"] in values["attentions"]
    assert ("flash_attention_2" in values["attentions"]) == (row == "cuda-bf16")
    assert values["qlora"] == (profile.kind == "cuda")
    assert values["packing"] == (profile.kind == "cuda")
    assert values["sampling"] == "group_by_length"


def test_this_machine_is_told_by_its_own_words() -> None:
    """The kernel's list of CPU flags is the oracle."""
    facts, device = read_facts(), find_device()
    assert device.kind == ("cuda" if facts.cards else "mps" if facts.mps else "cpu")
    assert facts.machine == platform.machine()
    flags = Path("/proc/cpuinfo")
    if flags.exists() and platform.machine() == "x86_64":
        present = set(flags.read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split())
        assert set(facts.cpu_bf16) == present & {"avx512_bf16", "amx_bf16"}


def test_what_transformers_takes_by_itself_is_what_the_table_says() -> None:
    model: Any = load_model(BaseModelSpec(model="pocket"))
    assert model.config._attn_implementation == find_device().profile.attention.value
