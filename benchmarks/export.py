"""One pass (read, merge, quantise by ranges of rows) against merge → save → convert → quantise.

A random Llama of 1.1 billion parameters in bf16 shards is exported with a LoRA adapter on all linear layers. The three
steps are those that people do, each a process of its own: PEFT's `merge_and_unload` and `save_pretrained`, a converter
(the same as here, which is faster than llama.cpp's own), `llama_model_quantize` for each kind with as many threads.
They are run in fp32 throughout, which is what the one pass computes, so the files must be the same byte for byte; and,
for comparison, as is customary: in the base's own bf16 by way of F16, which rounds twice and moves half the bytes.

The goal is for Q8_0, which the default recipe serves. A K-quant is nearly all llama.cpp's own arithmetic, which both
ways pay for alike, so with Q4_K_M beside it the race can only come out closer: there one pass must not be slower. With
`--quick` (84 million parameters) half of every process is the import of torch and transformers, hence another bound.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from operator import ne
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from flytewheel.recipe import ExportSpec
from flytewheel.records import file_digest

SERVED = ("Q8_0",)
FASTER = {False: 2.5, True: 1.4}
MEMORY_SHARE = 0.35  # of the model in bf16; the whole process, libraries and all
QUICK_MEMORY = 512 << 20
_SHAPE: dict[bool, dict[str, int]] = {
    False: {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "vocab_size": 32_000},
    True: {"hidden_size": 768, "intermediate_size": 2560, "num_hidden_layers": 8, "vocab_size": 16_384},
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and bytes that a way took: wall time and CPU summed over its steps, memory of the hungriest."""

    wall_s: float
    cpu_s: float
    memory: int
    anonymous: int


def measure(quick: bool) -> list[Goal]:
    """Both ways, for both sets of kinds."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-export-") as name:
        folder = Path(name)
        size = build(folder, quick)
        print(f"model {size / 2**20:.0f} MiB in bf16", flush=True)
        served, goals = race(folder, SERVED, FASTER[quick])
        usual = run(folder, ("merge", "bfloat16"), ("convert", "F16"), ("quantize", *SERVED))
        tell(f"{SERVED[0]}, three steps, bf16 and f16", usual)
        default, more = race(folder, ExportSpec().quantizations, 1.0)
    memory = max(served.memory, default.memory)
    held = Goal("memory of one pass, share of the model in bf16", memory / size, MEMORY_SHARE)
    if quick:
        held = Goal("memory of one pass, MiB", memory / 2**20, QUICK_MEMORY / 2**20)
    return [*goals, *more, held]


def race(folder: Path, kinds: Sequence[str], faster: float) -> tuple[Cost, list[Goal]]:
    """One pass against three steps in fp32, which must come to the same bytes; returns what the one pass took, too."""
    what = " + ".join(kinds)
    once = run(folder, ("once", *kinds))
    steps = run(folder, ("merge", "float32"), ("convert", "F32"), ("quantize", *kinds))
    ours, theirs = ([file_digest(folder / f"{way}-{kind}.gguf") for kind in kinds] for way in ("once", "steps"))
    tell(f"{what}, one pass", once)
    tell(f"{what}, three steps, fp32", steps)
    return once, [
        Goal(f"{what}: times faster than three steps, wall", steps.wall_s / once.wall_s, faster, at_most=False),
        Goal(f"{what}: files that differ from those of three steps", sum(map(ne, ours, theirs)), 0),
    ]


def tell(what: str, cost: Cost) -> None:
    """One line about a way."""
    print(
        f"{what:<34} {cost.wall_s:7.1f} s, {cost.cpu_s:7.1f} s CPU, {cost.memory / 2**20:6.0f} MiB "
        f"({cost.anonymous / 2**20:.0f} without files' pages)",
        flush=True,
    )


def run(folder: Path, *steps: Sequence[str]) -> Cost:
    """Runs steps one after the other, each in a process of its own."""
    costs = []
    for step, *rest in steps:
        command = [sys.executable, "-m", "benchmarks.export_child", step, str(folder), *rest]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        told = json.loads(done.stdout.splitlines()[-1])
        print(f"  {step} {' '.join(rest)}: {told['wall_s']:.1f} s, {told['cpu_s']:.1f} s CPU", flush=True)
        costs.append(told)
    return Cost(
        sum(each["wall_s"] for each in costs),
        sum(each["cpu_s"] for each in costs),
        max(each["memory"] for each in costs),
        max(each["anonymous"] for each in costs),
    )


def build(folder: Path, quick: bool) -> int:
    """Writes `base` (a random Llama in bf16, in shards, with pocket's tokenizer) and `adapter`; returns its bytes."""
    import torch
    from accelerate import init_empty_weights
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    from flytewheel.models import load_tokenizer
    from flytewheel.recipe import BaseModelSpec

    tokenizer: Any = load_tokenizer(BaseModelSpec(model="pocket"))
    config = LlamaConfig(
        **_SHAPE[quick],
        num_attention_heads=_SHAPE[quick]["hidden_size"] // 64,
        num_key_value_heads=_SHAPE[quick]["hidden_size"] // 256,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    with init_empty_weights():
        model: Any = LlamaForCausalLM(config)
    torch.manual_seed(0)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    groups: dict[str, list[str]] = {}
    for name in shapes:
        groups.setdefault(name.split(".")[2] if ".layers." in name else "rest", []).append(name)
    placed: dict[str, str] = {}
    for at, names in enumerate(groups.values(), 1):
        shard = f"model-{at:05d}-of-{len(groups):05d}.safetensors"
        drawn = {
            name: (torch.randn(shapes[name]) * 0.02 + (len(shapes[name]) == 1)).to(torch.bfloat16) for name in names
        }
        save_file(drawn, str(folder / "base" / shard), metadata={"format": "pt"})
        placed |= dict.fromkeys(names, shard)
    index = {"metadata": {}, "weight_map": placed}
    (folder / "base" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with init_empty_weights():
        adapted: Any = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    lora = {
        name.replace(".default", ""): torch.randn(tensor.shape) * 0.02
        for name, tensor in adapted.state_dict().items()
        if "lora_" in name
    }
    (folder / "adapter").mkdir()
    save_file(lora, str(folder / "adapter" / "adapter_model.safetensors"), metadata={"format": "pt"})
    adapted.peft_config["default"].save_pretrained(folder / "adapter")
    return 2 * sum(torch.Size(shape).numel() for shape in shapes.values())


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
