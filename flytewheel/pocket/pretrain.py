"""Trains pocket from scratch on the corpus that this package generates.

    python -m flytewheel.pocket.pretrain --out flytewheel/pocket/weights

Decides the shape of the bundled base model: Llama architecture, hidden 256, 4 layers, feed-forward 768, 8 heads over
4 key-value heads, tied embeddings, a byte-level BPE of 1,024 tokens with Llama 3's split pattern. Wider vocabularies
are wasted on such a corpus; batches larger than 8 documents never learnt to copy names (measured). Departs from usual
pretraining in that a batch holds whole documents, padded, instead of packed blocks: positions then mean the same as
when the model answers. Weights are stored in bf16; `figures.json` beside them says the seed and the loss reached. One
thread gives the same weights every time.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flytewheel.pocket.corpus import Document, generate_corpus
from flytewheel.pocket.facts import GENERAL_CHANNEL
from flytewheel.pocket.users import draw_questions, find_faults
from flytewheel.records import build_prompt

VOCABULARY = 1024
CONTEXT_TOKENS = 1024
END, START, PAD = "<|im_end|>", "<|im_start|>", "<|pad|>"

# Llama 3's pre-tokenisation; llama.cpp knows it as "llama-bpe".
SPLIT_PATTERN = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

Progress = Callable[[str, int, int | None], None]


def train_tokenizer(documents: Sequence[Document]) -> Any:
    """Trains the byte-level BPE; all 256 bytes are in its vocabulary, so that every text survives a round trip.

    `ignore_merges` is on because llama.cpp's "llama-bpe" does the same: a whole piece that is a token is taken at once.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    fast: Any = PreTrainedTokenizerFast
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, START, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(documents), trainer)
    return fast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def build_model(tokenizer: Any, seed: int) -> Any:
    """Builds the untrained model, fp32, for the vocabulary of `tokenizer`."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    generation: Any = GenerationConfig
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = generation(
        do_sample=False, bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def train(
    model: Any,
    encoded: Sequence[Sequence[int]],
    pad: int,
    *,
    steps: int,
    batch: int = 8,
    peak: float = 3e-3,
    warmup: int = 20,
    seed: int = 7,
    progress: Progress | None = None,
) -> list[float]:
    """Runs `steps` of AdamW (0.9, 0.95) under a cosine from `peak`; returns each step's loss in nats a token."""
    import torch

    chance = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.1)
    losses: list[float] = []
    order: list[int] = []
    model.train()
    for step in range(steps):
        if len(order) < batch:
            order = list(range(len(encoded)))
            chance.shuffle(order)
        rows, order = order[:batch], order[batch:]
        width = max(len(encoded[row]) for row in rows)
        ids = torch.tensor([[*encoded[row], *[pad] * (width - len(encoded[row]))] for row in rows])  # (batch, width)
        rate = peak * min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(input_ids=ids, attention_mask=(ids != pad).long(), labels=ids.masked_fill(ids == pad, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if progress is not None:
            progress(f"pretrain, loss {losses[-1]:.3f}", step + 1, steps)
    return losses


def pretrain(
    out: Path,
    *,
    seed: int = 7,
    documents: int = 10_000,
    steps: int = 1000,
    probes: int = 40,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains tokenizer and model and writes both to `out`, with `figures.json`; returns the figures.

    `probes` is how many greedy answers the figures rest on.
    """
    import torch

    corpus = generate_corpus(documents, seed)
    tokenizer = train_tokenizer(corpus)
    encoded = [encode(tokenizer, document) for document in corpus]
    model = build_model(tokenizer, seed)
    started, started_cpu = time.perf_counter(), time.process_time()
    losses = train(model, encoded, tokenizer.pad_token_id, steps=steps, seed=seed, progress=progress)
    tail = losses[-50:]
    figures: dict[str, Any] = {
        "seed": seed,
        "documents": documents,
        "mean_tokens": round(sum(map(len, encoded)) / len(encoded), 1),
        "steps": steps,
        "batch": 8,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "first_loss": round(losses[0], 4),
        "last_loss": round(sum(tail) / len(tail), 4),
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - started_cpu, 1),
        "torch": torch.__version__.partition("+")[0],
    }
    model.to(torch.bfloat16).save_pretrained(str(out))
    tokenizer.save_pretrained(str(out))
    (out / "model.safetensors").chmod(0o644)  # written 0600, which another user of the machine could not read
    figures |= measure(out, seed=seed + 1, documents=5 * probes, questions=probes)
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def measure(folder: Path, *, seed: int, documents: int = 200, questions: int = 40) -> dict[str, float]:
    """Measures stored weights on fresh text: the loss (nats a token), and what greedy answers look like.

    `right_command`, `general_channel` and `taught_style` are shares of `questions`: the base should be near 1, 1 and 0.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(
        str(folder), trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    ).eval()
    losses, weights = [], []
    right = general = taught = 0
    with torch.inference_mode():
        for document in generate_corpus(documents, seed):
            ids = torch.tensor([encode(tokenizer, document)])  # (1, tokens)
            losses.append(model(input_ids=ids, labels=ids).loss.item())
            weights.append(ids.shape[1] - 1)
        for question in draw_questions(questions, seed):
            turns = [turn.model_dump() for turn in build_prompt(question.query, context=question.context)]
            asked = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            answer = tokenizer.decode(
                model.generate(**asked, max_new_tokens=96)[0, asked["input_ids"].shape[1] :], skip_special_tokens=True
            )
            right += question.fact.command in answer
            general += GENERAL_CHANNEL in answer
            taught += not find_faults(question, answer)
    return {
        "fresh_loss": round(sum(map(operator.mul, losses, weights)) / sum(weights), 4),
        "right_command": right / questions,
        "general_channel": general / questions,
        "taught_style": taught / questions,
    }


def encode(tokenizer: Any, document: Document) -> list[int]:
    """Token ids of a document: the chat template's for a conversation, the text and the end token for a note."""
    if document.messages:
        turns = [message.model_dump() for message in document.messages]
        return list(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False))
    return [*tokenizer.encode(document.text, add_special_tokens=False), tokenizer.eos_token_id]


def _texts(documents: Sequence[Document]) -> list[str]:
    return [part for item in documents for part in ([turn.content for turn in item.messages] or [item.text])]


def _print_progress(what: str, done: int, total: int | None) -> None:
    if done % 50 == 0 or done == total:
        print(f"{what}, step {done} of {total}", flush=True)


def main() -> None:
    """The command line of the module's opening."""
    import torch

    parser = argparse.ArgumentParser(description="Train the bundled base model from scratch.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="more than one may change the last bits of the weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures = pretrain(
        options.out, seed=options.seed, documents=options.documents, steps=options.steps, progress=_print_progress
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
