"""The parity gate on the bundled model: how often it refuses a right file, which planted faults it finds, and the
damage to a block that it sees.

Right files: adapters of other seeds and strengths, each in every kind, on other held-out texts. Faults: those that a
converter makes for the base as well (the gate shares its plan), in every kind. Damage: one bit of an encoded row.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Goal, report
from flytewheel.errors import ExportError
from flytewheel.export.convert import write_kinds
from flytewheel.export.families import llama, plan, rope
from flytewheel.export.ggml import encode_rows
from flytewheel.export.parity import ParityReport, check_parity, numbers
from flytewheel.export.parity.rounding import decode_rows, round_rows
from flytewheel.export.source import open_source
from flytewheel.models import load_model, load_tokenizer
from flytewheel.pocket.facts import TAUGHT, write_answer
from flytewheel.pocket.users import draw_questions
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import Message, build_prompt

POCKET = BaseModelSpec(model="pocket")
KINDS = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
SPEC = ExportSpec(parity_tokens=24, parity_positions=1024)
SCALE_BYTES = {"Q8_0": (0, 1), "Q4_K": (0, 1, 2, 3), "Q6_K": (208, 209)}  # f16 scales of a block
FLIPS = 4000


def measure(quick: bool) -> list[Goal]:
    """Right files, planted faults, flipped bits."""
    kinds = ("Q8_0", "Q4_K_M") if quick else KINDS
    refused, ratios, run = measure_right(2 if quick else 12, kinds)
    found, planted = measure_faults(kinds)
    goals = [
        Goal("right files refused", refused, 0),
        Goal("largest ratio to the base's noise, of 8 allowed", max(ratios), 8),
        Goal("largest share of the noise that execution takes, of 3 allowed", max(run), 3),
        Goal("planted faults found", found, planted, at_most=False),
        Goal("smallest error of the rotary base that is found in every kind, %", find_least_theta(kinds), 1000),
    ]
    for kind in SCALE_BYTES:
        goals += measure_flips(kind, 400 if quick else FLIPS)
    return goals


def measure_right(adapters: int, kinds: tuple[str, ...]) -> tuple[int, list[float], list[float]]:
    """How many right files are refused; and how near to the bounds the others are."""
    refused, ratios, run = 0, [], []
    for seed in range(adapters):
        with tempfile.TemporaryDirectory() as folder:
            adapter = make_adapter(Path(folder) / "adapter", seed, strength=(0.05, 0.2, 0.5)[seed % 3])
            for kind, path in write(adapter, Path(folder), kinds).items():
                try:
                    file = ask(adapter, {kind: path}, seed).files[kind]
                except ExportError as error:
                    print(f"  refused: {error}")
                    refused += 1
                    continue
                ratios.append(file.base_ratio)
                run.append(file.execution_kl_nats / file.noise_kl_nats)
                print(
                    f"  adapter {seed}, {kind}: {file.mean_kl_nats:.2e} nats, rounding alone {file.noise_kl_nats:.2e}, "
                    f"{file.base_ratio:.2f} times the base's, execution {run[-1]:.3f} of it"
                )
    return refused, ratios, run


def measure_faults(kinds: tuple[str, ...]) -> tuple[int, int]:
    """Faults that a converter would make for the base as well: how many are found, of how many."""
    one, other = "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"
    find, place = plan.find_name, llama.place_plainly
    faults: dict[str, tuple[Any, str, Callable[..., Any]]] = {
        "q and k not reordered": (llama, "interleave", lambda rows, heads: None),
        "rotary base 500,000 for 10,000": (rope, "rope_base", lambda config: 500_000.0),
        "two tensors exchanged": (
            plan, "find_name", lambda *at: {one: other, other: one}.get(find(*at), find(*at)),
        ),
        "norms shifted by 1": (
            llama, "place_plainly", lambda *at, **more: [
                replace(tensor, shift=1.0) if "norm" in tensor.name else tensor for tensor in place(*at, **more)
            ],
        ),
    }  # fmt: skip
    found = 0
    for name, (module, attribute, fault) in faults.items():
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder, planted(module, attribute, fault):
                adapter = make_adapter(Path(folder) / "adapter", 1, strength=0.2)
                try:
                    ask(adapter, write(adapter, Path(folder), (kind,)), 1)
                    print(f"  NOT FOUND: {name}, {kind}")
                except ExportError as error:
                    found += 1
                    print(f"  {name}, {kind}: {str(error)[:150]}")
    return found, len(faults) * len(kinds)


def find_least_theta(kinds: tuple[str, ...]) -> float:
    """How wrong the rotary base must be, in per cent, to be found in every kind."""
    for percent in (1, 10, 100, 1000):
        with (
            tempfile.TemporaryDirectory() as folder,
            planted(rope, "rope_base", lambda config, percent=percent: 10_000.0 * (1 + percent / 100)),
        ):
            adapter = make_adapter(Path(folder) / "adapter", 1, strength=0.2)
            files, found = write(adapter, Path(folder), kinds), 0
            for kind, path in files.items():
                try:
                    ask(adapter, {kind: path}, 1)
                except ExportError:
                    found += 1
        print(f"  rotary base {percent} % too large: found in {found} of {len(kinds)} kinds")
        if found == len(kinds):
            return percent
    return float("inf")


def measure_flips(kind: str, flips: int) -> list[Goal]:
    """One bit of a row at a time: the share that is found, and how large an error passes."""
    chance = random.Random(7)
    with open_source(POCKET, None) as source:
        rows = source.rows("model.layers.1.mlp.up_proj.weight", 0, 64)
    rounded, encoded = round_rows(rows, kind), encode_rows(rows, kind)
    assert encoded is not None
    whole = np.frombuffer(encoded, dtype=np.uint8).reshape(64, -1)
    block = {"Q8_0": 34, "Q4_K": 144, "Q6_K": 210}[kind]
    seen, scales, scales_seen, passed = 0, 0, 0, 0.0
    for _ in range(flips):
        row, byte, bit = chance.randrange(64), chance.randrange(whole.shape[1]), chance.randrange(8)
        spoilt = whole[row : row + 1].copy()
        spoilt[0, byte] ^= 1 << bit
        with np.errstate(all="ignore"):
            written = decode_rows(spoilt, kind).reshape(1, -1)
        is_scale = byte % block in SCALE_BYTES[kind]
        scales += is_scale
        try:
            numbers._measure_error(rows[row : row + 1], rounded[row : row + 1], written, kind, "", row)
        except ExportError:
            seen += 1
            scales_seen += is_scale
        else:
            changed = float(np.linalg.norm(written - rounded[row]) / np.linalg.norm(rounded[row]))
            passed = max(passed, changed)
    print(
        f"  {kind}: {seen} of {flips} flipped bits found, {scales_seen} of {scales} in f16 scales; the largest change "
        f"to a row that passes is {passed:.2g} of it"
    )
    return [Goal(f"{kind}: largest change to a row by a flipped bit that passes", passed, 0.05)]


@contextmanager
def planted(module: Any, attribute: str, fault: Callable[..., Any]) -> Iterator[None]:
    right = getattr(module, attribute)
    setattr(module, attribute, fault)
    try:
        yield
    finally:
        setattr(module, attribute, right)


def make_adapter(folder: Path, seed: int, *, strength: float) -> Path:
    """A random adapter; `strength` is the deviation of B."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    layers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model: Any = get_peft_model(load_model(POCKET, dtype="float32"), LoraConfig(r=8, target_modules=layers))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=strength)
    model.save_pretrained(folder)
    return folder


def write(adapter: Path, folder: Path, kinds: tuple[str, ...]) -> dict[str, Path]:
    files = {kind: folder / f"model-{kind}.gguf" for kind in kinds}
    with open_source(POCKET, adapter) as source:
        write_kinds(source, load_tokenizer(POCKET), files, name="pocket")
    return files


def ask(adapter: Path, files: dict[str, Path], seed: int) -> ParityReport:
    chance = random.Random(seed)
    talks = [
        (
            *build_prompt(question.query, system=question.system, context=question.context),
            Message(role="assistant", content=write_answer(question.fact, TAUGHT, chance)),
        )
        for question in draw_questions(10, 100 + seed)
    ]
    return check_parity(POCKET, adapter, load_tokenizer(POCKET), files, talks, spec=SPEC)


if __name__ == "__main__":
    sys.exit(report(measure, __doc__ or ""))
