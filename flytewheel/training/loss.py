"""The loss of completions, computed where they are and nowhere else.

A language model's head multiplies every position by the whole vocabulary, the prompt's too, where no loss is taken; on
a small model with 32,000 words that is most of the work. Here the head sees the positions that carry loss only. As the
head is frozen under LoRA, the gradient of its input can be taken together with the loss, a piece at a time: softmax
minus one-hot, times the weights (Hsu et al. 2024, arXiv:2410.10989, section 3.2). Two products instead of the three of
recomputing, and never more logits in memory than one piece has. Same loss and same gradients as the whole logits give
(tests/training/test_loss.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from flytewheel.training.rows import IGNORED

# Logits of a piece. On a CPU 2**20 to 2**25 took the same time within noise, 2**27 and all at once longer; on CUDA a
# product wants about a thousand rows, here of a vocabulary of 128,000 (512 MiB in float32; reckoned, not measured).
_PIECE = 2**23
_CUDA_PIECE = 2**27
_PROBE = 0.375  # exact in every dtype


def sum_completion_loss(model: Any, inputs: Mapping[str, Any], *, head: Any, fused: bool) -> tuple[Any, Any]:
    """Sums the loss over the tokens that carry one.

    Args:
        model: called with `inputs`, possibly wrapped.
        inputs: `input_ids` and `labels` (batch, seq), labels not shifted, and whatever else the model takes. Batches
            are padded at their end, so `attention_mask` is left out (`sequences`).
        head: the output embeddings of `model`.
        fused: whether gradients are taken with the loss: what `can_fuse` says.

    Returns:
        The sum in nats, differentiable, and the number of tokens, both scalar tensors.
    """
    from torch.nn import functional

    own = {name: value for name, value in inputs.items() if name not in ("labels", "attention_mask")}
    labels = inputs["labels"][:, 1:]
    carries = labels != IGNORED
    wanted = labels[carries]

    whole_head = head.forward

    def narrow(hidden: Any) -> Any:
        chosen = hidden[:, :-1][carries]
        return _frozen_head_loss().apply(chosen, head.weight, head.bias, wanted) if fused else whole_head(chosen)

    with _replace_forward(head, narrow):
        out = model(**own, use_cache=False).logits
    total = out.sum() if fused else functional.cross_entropy(out.float(), wanted, reduction="sum")
    return total, carries.sum()


def piece_rows(vocabulary: int, kind: str) -> int:
    """Positions whose logits are computed at once on a device of `kind`."""
    return max(1, (_CUDA_PIECE if kind == "cuda" else _PIECE) // vocabulary)


def can_fuse(model: Any) -> bool:
    """Whether `model` takes what its frozen head gives as the logits, without scaling or capping them afterwards."""
    import torch

    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or any(weight.requires_grad for weight in head.parameters()):
        return False
    was_training = model.training
    model.eval()
    ids = torch.zeros((1, 1), dtype=torch.long, device=head.weight.device)
    with torch.no_grad(), _replace_forward(head, lambda hidden: torch.full((1, 1, 1), _PROBE, device=hidden.device)):
        out = model(input_ids=ids, use_cache=False).logits
    model.train(was_training)
    return bool(out.shape == (1, 1, 1) and out.item() == _PROBE)


@contextmanager
def _replace_forward(head: Any, forward: Any) -> Iterator[None]:
    # Replaced inside the model, not called around it: wrappers (autocast, data parallel) and PEFT go on as they do.
    before = head.__dict__.get("forward")  # accelerate's hooks put one there
    head.forward = forward
    try:
        yield
    finally:
        if before is None:
            del head.forward
        else:
            head.forward = before


@cache
def _frozen_head_loss() -> Any:
    import torch

    class FrozenHeadLoss(torch.autograd.Function):  # type: ignore[misc,unused-ignore]
        """Loss of each token (n,) from hidden states (n, hidden) and a frozen head (vocabulary, hidden)."""

        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, labels: Any) -> Any:
            losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
            gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            piece = piece_rows(len(weight), hidden.device.type)
            for start in range(0, len(hidden), piece):
                at = slice(start, start + piece)
                logits = torch.nn.functional.linear(hidden[at].to(weight.dtype), weight, bias).float()
                total = torch.logsumexp(logits, dim=-1, keepdim=True)
                target = labels[at, None]
                losses[at] = (total - logits.gather(1, target)).squeeze(1)
                if gradient is not None:
                    share = logits.sub_(total).exp_()
                    share.scatter_add_(1, target, share.new_full(target.shape, -1.0))
                    gradient[at] = share.to(weight.dtype) @ weight
            ctx.save_for_backward(gradient)
            return losses

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            (gradient,) = ctx.saved_tensors
            return (gradients[0][:, None] * gradient).to(gradient.dtype), None, None, None

    return FrozenHeadLoss
