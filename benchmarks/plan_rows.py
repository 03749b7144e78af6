"""What `benchmarks.plan` plans and trains: two bases, and rows of realistic lengths."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from flytewheel.dataset import DatasetCard, digest_content, part_file, write_card, write_rows
from flytewheel.models import POCKET
from flytewheel.pocket.corpus import generate_corpus
from flytewheel.records import Message, Preference, SftRow

_MEDIAN_WORDS, _SPREAD, _LEAST, _MOST = 27.0, 0.6, 6, 150  # of a lognormal; answers of assistants are skewed so


def write_data(folder: Path, rows: int, seed: int = 3) -> Path:
    """Writes a data set whose prompts and answers have lognormal lengths; sentences of the bundled corpus."""
    chance = random.Random(seed)
    words = " ".join(document.text for document in generate_corpus(400, 1)).split()

    def text() -> str:
        count = max(_LEAST, min(_MOST, int(chance.lognormvariate(0, _SPREAD) * _MEDIAN_WORDS)))
        start = chance.randrange(len(words) - count)
        return " ".join(words[start : start + count])

    def ask() -> tuple[Message, ...]:
        return (Message(role="user", content=text()),)

    for part, count in (("train", rows), ("validation", rows // 10)):
        sft = [SftRow(f"s{n}", f"u{n}", "made", ask(), text(), 1.0, 0.9, "answer") for n in range(count)]
        pairs = [Preference(f"p{n}", f"u{n}", "made", ask(), text(), text(), 2.0, "same_prompt") for n in range(count)]
        write_rows(part_file(folder, "sft", part), "sft", sft)
        write_rows(part_file(folder, "preference", part), "preference", pairs)
    content = digest_content(folder)
    card = DatasetCard(
        digest=content, content_digest=content, sources=("made",), interactions=rows, events=rows, steps=(), counts={},
        users={}, topics={},
    )  # fmt: skip
    write_card(folder, card)
    return folder


def write_base(folder: Path, *, hidden: int, layers: int, vocabulary: int) -> Path:
    """Writes a Llama of random weights with the tokenizer of `pocket`; its words beyond that are never met."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(POCKET), trust_remote_code=False)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 27 // 10 // 32 * 32,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 128),
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    for path in POCKET.glob("tokenizer*"):
        shutil.copyfile(path, folder / path.name)
    for path in POCKET.glob("*.jinja"):
        shutil.copyfile(path, folder / path.name)
    return folder
