"""TRL's SFT trainer, fed with our batches and taking its loss where completions are.

Departs from TRL in four things. The loss is that of `loss.sum_completion_loss`. Token accuracy and entropy are not
computed at each step: they cost another pass over the logits and nobody reads them. The validation loss is the mean
over all tokens, not over batches, so that it does not depend on which rows met in a batch. Checkpoints get no model
card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flytewheel.training.grouping import group_batches
from flytewheel.training.loss import can_fuse, sum_completion_loss
from flytewheel.training.sequences import Sequences


def make_completion_trainer(
    train: Sequences, validation: Sequences | None, *, lay_out: Callable[[list[Any]], Any], **options: Any
) -> Any:
    """Builds the trainer.

    Args:
        train: what is trained on.
        validation: what is validated on.
        lay_out: makes a batch of sequences (`sequences.lay_out`).
        options: of TRL's `SFTTrainer`, its data sets included: it looks at their columns.
    """
    import torch
    from transformers import Trainer
    from transformers.trainer_utils import EvalLoopOutput
    from trl.trainer.sft_trainer import SFTTrainer

    class CompletionTrainer(group_batches(SFTTrainer)):  # type: ignore[misc,unused-ignore]
        """Takes its loss where completions are."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            total, tokens = self._sum_loss(model, inputs)
            # A step's tokens are counted over its batches and over all processes, whose gradients are averaged.
            loss = total / (tokens if num_items_in_batch is None else num_items_in_batch).clamp(min=1)
            if self.args.average_tokens_across_devices and num_items_in_batch is not None:
                loss = loss * self.accelerator.num_processes
            return loss

        def get_eval_dataloader(self, *inputs: Any) -> Any:
            # Several processes: no row twice, so that the mean is over the rows there are.
            settings = self.accelerator.dataloader_config
            before, settings.even_batches = settings.even_batches, False
            try:
                return super().get_eval_dataloader(*inputs)
            finally:
                settings.even_batches = before

        def evaluation_loop(
            self, dataloader: Any, description: str, *args: Any, metric_key_prefix: str = "eval", **options: Any
        ) -> Any:
            was_training = self.model.training
            self.model.eval()
            sums = torch.zeros(2, dtype=torch.float64)
            with torch.no_grad(), self.accelerator.autocast():
                for inputs in dataloader:
                    total, tokens = self._sum_loss(self.model, self._prepare_inputs(inputs))
                    sums += torch.stack([total.cpu().double(), tokens.cpu().double()])
            # MPS has no float64: rounded once, here.
            loss, count = self.accelerator.gather(sums.float().to(self.args.device)).view(-1, 2).sum(0).tolist()
            self.model.train(was_training)
            return EvalLoopOutput(
                predictions=None,
                label_ids=None,
                metrics={f"{metric_key_prefix}_loss": loss / max(count, 1)},
                num_samples=len(dataloader.dataset),
            )

        def _sum_loss(self, model: Any, inputs: Any) -> Any:
            return sum_completion_loss(model, inputs, head=self.head, fused=self.fused)

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            Trainer._save_checkpoint(self, model, trial)

    trainer = CompletionTrainer(data_collator=lay_out, **options)
    trainer.train_dataset, trainer.eval_dataset = train, validation
    trainer.train_lengths, trainer.eval_lengths = train.lengths, () if validation is None else validation.lengths
    plain = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model
    trainer.head, trainer.fused = plain.get_output_embeddings(), can_fuse(plain)
    return trainer
