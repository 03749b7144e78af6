"""Odds-ratio preference optimisation: one loss for imitation and preference, and no reference model at all.

Hong et al. 2024, arXiv:2403.07691, equation 6: L = L_SFT + λ L_OR, where L_SFT is the mean of -log p(chosen) a token,
L_OR = -log σ(log odds(chosen) - log odds(rejected)), and odds(y) = p(y) / (1 - p(y)) of the mean log-probability a
token. λ is `rlhf.beta`.

TRL keeps the trainer in `trl.experimental`. Two departures from it, both towards the paper and towards what SFT does
here. TRL takes L_SFT over prompt and answer together, which teaches the model to write people's questions; here it is
over the answer alone. TRL tokenises the rendered text anew and adds an end token wherever the text does not end in
one, so that a template with a line break after its end token teaches a second one; here rows are tokenised as for SFT
(`rows.encode`).
"""

from __future__ import annotations

from typing import Any

from flytewheel.records import Message
from flytewheel.training.grouping import group_batches
from flytewheel.training.processes import on_one_card
from flytewheel.training.rows import IGNORED, encode


def make_orpo_trainer(arguments: dict[str, Any], train: Any, validation: Any, tokenizer: Any, **common: Any) -> Any:
    """Builds the trainer.

    Args:
        arguments: Of `ORPOConfig`.
        train: Table of conversational `prompt`, `chosen` and `rejected`.
        validation: The same; None: no validation loss.
        tokenizer: Of the base model.
        common: What every TRL trainer takes: `model`, `callbacks`, `peft_config`.
    """
    from trl.import_utils import suppress_experimental_warning

    with suppress_experimental_warning():
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class CompletionOnly(group_batches(ORPOTrainer)):  # type: ignore[misc,unused-ignore]
        """ORPO with the loss of imitation on the answer alone."""

        def tokenize_row(self, feature: Any, model: Any = None) -> Any:
            return feature  # `tokenise` has done it

        def concatenated_forward(self, model: Any, batch: Any) -> tuple[Any, ...]:
            chosen_logps, rejected_logps, chosen_logits, rejected_logits, _, *rest = super().concatenated_forward(
                model, batch
            )
            return chosen_logps, rejected_logps, chosen_logits, rejected_logits, -chosen_logps.mean(), *rest

    trainer = CompletionOnly(
        args=on_one_card(ORPOConfig(**arguments)),
        train_dataset=tokenise(train, tokenizer),
        eval_dataset=None if validation is None else tokenise(validation, tokenizer),
        processing_class=tokenizer,
        **common,
    )
    trainer.train_lengths = list(trainer.train_dataset["length"])
    trainer.eval_lengths = [] if validation is None else list(trainer.eval_dataset["length"])
    return trainer


def tokenise(table: Any, tokenizer: Any) -> Any:
    """Gives a table of conversational pairs the columns that ORPO's collator takes, and `length` for the sampler."""

    def tokens(row: dict[str, Any]) -> dict[str, Any]:
        turns = tuple(Message(**message) for message in row["prompt"])
        columns: dict[str, Any] = {}
        for side in ("chosen", "rejected"):
            prompt, answer = encode(tokenizer, turns, row[side][0]["content"])
            columns |= {
                "prompt_input_ids": prompt,
                "prompt_attention_mask": [1] * len(prompt),
                f"{side}_input_ids": [*prompt, *answer],
                f"{side}_attention_mask": [1] * (len(prompt) + len(answer)),
                f"{side}_labels": [*[IGNORED] * len(prompt), *answer],
            }
        columns["length"] = max(len(columns["chosen_input_ids"]), len(columns["rejected_input_ids"]))
        return columns

    return table.map(tokens, remove_columns=table.column_names)
