"""How to run a version, for the tools whose files it holds: llama.cpp, Ollama, vLLM, transformers with PEFT."""

from __future__ import annotations

from collections.abc import Iterator

from flytewheel.provenance.facts import kind_of, name_base, text
from registry.manifest import Manifest


def write_usage(manifest: Manifest) -> str:
    """The section of the card."""
    name, version = manifest.name, manifest.version
    parts = [
        "## How to run it",
        f"Bring the files, each of them hashed and the signature checked, and check the folder again at any time:\n\n"
        f"```sh\nflytewheel models download {name} {version} {name}\nflytewheel models verify --folder {name}\n```",
        *_list_ways(manifest),
    ]
    return "\n\n".join(parts)


def _list_ways(manifest: Manifest) -> Iterator[str]:
    name, base, kind = manifest.name, name_base(manifest), kind_of(manifest)
    ggufs = sorted(path for path in manifest.files if path.endswith(".gguf"))
    served = text(manifest.facts, "serve")
    loras = [path for path in ggufs if path.startswith("adapter")]
    whole = [path for path in ggufs if path not in loras]
    chosen = served if served in whole else next(iter(whole), None)
    if chosen is not None:
        yield f"llama.cpp:\n\n```sh\nllama-server -m {name}/{chosen} --alias {name}\n```"
    if loras:
        command = f"llama-server -m BASE.gguf --lora {name}/{loras[0]}"
        yield f"llama.cpp, beside other versions on one base:\n\n```sh\n{command}\n```"
    if "Modelfile" in manifest.files:
        yield f"Ollama:\n\n```sh\ncd {name} && ollama create {name} -f Modelfile && ollama run {name}\n```"
    if kind == "adapter":
        rank = _find_rank(manifest)
        yield (
            f"vLLM:\n\n```sh\nvllm serve {base} --enable-lora --max-lora-rank {rank} "
            f"--lora-modules {name}={name}/adapter\n```"
        )
        yield (
            "transformers with PEFT:\n\n```python\nfrom peft import AutoPeftModelForCausalLM\n"
            "from transformers import AutoTokenizer\n\n"
            f'model = AutoPeftModelForCausalLM.from_pretrained("{name}/adapter")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{base}")\n```'
        )
    if kind == "full":
        yield f"vLLM:\n\n```sh\nvllm serve {name}/weights --tokenizer {base} --served-model-name {name}\n```"
        yield (
            "transformers:\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{name}/weights")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{base}")\n```'
        )


def _find_rank(manifest: Manifest) -> int:
    recipe = manifest.facts.get("recipe")
    training = recipe.get("training") if isinstance(recipe, dict) else None
    rank = training.get("lora_rank") if isinstance(training, dict) else None
    least = rank if isinstance(rank, int) else 16
    return next((allowed for allowed in (8, 16, 32, 64, 128, 256, 320, 512) if allowed >= least), least)
