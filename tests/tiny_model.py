"""A tiny random Llama with a byte-level BPE tokenizer and a ChatML template, built in about a second, for tests only.

Real classes throughout (LlamaForCausalLM, PreTrainedTokenizerFast), so that training, evaluation and export run the
code that a large model would; it knows nothing, but it can be taught. Llama 3's split pattern keeps the tokenizer
convertible to GGUF.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXT = (
    "The disk of the database is full: delete old logs, then restart the service and tell the team on call.",
    "You are an assistant for people on call. Answer in short steps.",
    "What do I do when the queue of the billing service grows? Scale the workers and check the latency of the cache.",
    "1. Check the dashboard. 2. Run the command. 3. Escalate to the owner if it does not recover in 10 minutes.",
)


def build_tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    vocabulary: int = 384,
    positions: int = 512,
    tied: bool = True,
    spread: float = 0.02,
) -> Path:
    """Writes model and tokenizer into `folder`, the same bytes for the same arguments, and returns the folder.

    Args:
        folder: Made if missing; usable as `base.model` of a recipe.
        seed: Decides the random weights.
        hidden: Width of the model, a multiple of 16 (4 heads of hidden / 4, 2 of them for keys).
        layers: Number of blocks.
        vocabulary: Wished number of tokens, at least 259 (256 bytes and three specials); a small text may fill less.
        positions: Longest sequence in tokens.
        tied: Whether the output embedding is the input embedding.
        spread: Standard deviation of the weights; at 0.02 all tokens are about equally likely, whatever LoRA does.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _train_tokenizer(vocabulary)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 2,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=tied,
        initializer_range=spread,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _train_tokenizer(vocabulary: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(TEXT, trainer)
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
