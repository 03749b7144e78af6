"""How a trainer computes on a CUDA card: nothing here changes what is learnt, to rounding; elsewhere nothing is done.

Measured on an H100 (8 B Llama of random weights, LoRA r 16, packs of 4,096 tokens, torch 2.11), milliseconds a step:

| step | ms | share of the card's bf16 peak, 4 FLOP a parameter and token |
|---|---|---|
| sdpa with a mask over all pairs | 595 | 0.21 |
| attention by rows (`row_attention`) | 354 | 0.36 |
| inputs of LoRA not cast to float32: autocast casts them back | 320 | 0.40 |
| layers compiled, 22 s once | 237 | 0.54 |

Layers are recomputed in the backward pass only as far as their activations would not fit: all of them, as TRL does,
costs a third more. Padded batches are computed flat (`flat`).
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from typing import Any

from flytewheel.models import Device
from flytewheel.training.flat import flatten_forward
from flytewheel.training.row_attention import NAME, suits_rows, use_rows

COMPILE_FROM = 200  # micro-batches: compiling takes about as long as it saves over these
_HELD_SHARE = 0.85  # of the memory that is free before the first step; the rest is for the head, kernels, fragments
_HEAD_BYTES = 2 << 30  # TRL's fused head works in tiles


def accelerate(trainer: Any, device: Device, *, tokens: int) -> None:
    """Makes `trainer` compute as its device does best. Call it before training.

    Args:
        trainer: TRL's, on a PEFT model or a bare one.
        device: what it trains on.
        tokens: of its largest micro-batch.
    """
    if device.kind != "cuda":
        return
    peft = hasattr(trainer.model, "get_base_model")
    base = trainer.model.get_base_model() if peft else trainer.model
    if trainer.args.bf16 or trainer.args.fp16:
        for module in trainer.model.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False
    if device.profile.flat.value and (base.config._attn_implementation == NAME or suits_rows(base)):
        use_rows(base)
        flatten_forward(base)
    trainer.add_callback(_first_step(trainer, base, tokens, compiled=device.profile.compiled.value))


def count_recomputed(layers: int, layer_bytes: float, input_bytes: float, free_bytes: float) -> int:
    """How many of `layers` have to be recomputed in the backward pass.

    Args:
        layers: of the model.
        layer_bytes: that one layer's activations take.
        input_bytes: that are kept of a layer which is recomputed.
        free_bytes: for all of them.
    """
    missing = layers * layer_bytes - free_bytes
    if missing <= 0:
        return 0
    # While a layer is recomputed its activations are whole.
    return min(layers, math.ceil((missing + layer_bytes) / (layer_bytes - input_bytes)))


def layer_values(config: Any) -> float:
    """Values that eager training with LoRA keeps of a layer for each token, in units of the hidden size.

    25 for Llama 3 8B, measured (a feed-forward part 3.5 times as wide as the rest); compiled layers kept 20.
    """
    return 11 + 4 * float(getattr(config, "intermediate_size", 4 * config.hidden_size)) / float(config.hidden_size)


def can_compile() -> bool:
    """Whether torch can compile for a card here: Triton, and a C compiler that builds its launchers."""
    compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    return compiler and importlib.util.find_spec("triton") is not None


def _first_step(trainer: Any, base: Any, tokens: int, *, compiled: bool) -> Any:
    """Decides what only the loaded model and the optimiser's plan tell, when training begins."""
    from transformers import TrainerCallback

    class FirstStep(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            _relax_recomputation(trainer.model, base, tokens)
            long = state.max_steps * args.gradient_accumulation_steps >= COMPILE_FROM
            if compiled and long and can_compile():
                for layer in _find_layers(base):
                    layer.compile()

    return FirstStep()


def _find_layers(base: Any) -> list[Any]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]


def _relax_recomputation(model: Any, base: Any, tokens: int) -> None:
    """Recomputes only as many layers as memory asks for, where the trainer would recompute all of them."""
    import torch

    layers = [layer for layer in _find_layers(base) if layer.gradient_checkpointing]
    if not layers:
        return
    config = base.config.get_text_config()
    free, _ = torch.cuda.mem_get_info()
    free += torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    # Gradients and both moments of what is trained come with the first step.
    trained = sum(3 * weight.numel() * weight.element_size() for weight in model.parameters() if weight.requires_grad)
    value = tokens * config.hidden_size * base.dtype.itemsize
    number = count_recomputed(
        len(layers), layer_values(config) * value, value, free * _HELD_SHARE - trained - _HEAD_BYTES
    )
    for layer in layers[number:]:
        layer.gradient_checkpointing = False
