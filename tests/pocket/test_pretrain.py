"""Pretraining on its smallest scale, and the bundled weights: they load offline, speak, and have the old habit."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.models import POCKET, load_model, load_tokenizer
from flytewheel.pocket.corpus import generate_corpus
from flytewheel.pocket.pretrain import measure, pretrain, train_tokenizer
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import build_prompt

SPEC = BaseModelSpec(model="pocket")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def load_bundled():
    return load_tokenizer(SPEC)


@pytest.fixture
def tokenizer():
    return load_bundled()


def test_weights_are_small_and_say_how_they_came_about():
    assert sum(file.stat().st_size for file in POCKET.iterdir()) <= 8_000_000
    figures = json.loads((POCKET / "figures.json").read_text())
    assert figures["seed"] == 7
    assert figures["last_loss"] < 0.2
    model = load_model(SPEC, dtype="bfloat16")
    assert sum(parameter.numel() for parameter in model.parameters()) == figures["parameters"]
    assert model.config.tie_word_embeddings
    assert model.config.max_position_embeddings == 1024


def test_bundled_base_gives_the_right_command_in_the_style_to_be_changed():
    figures = measure(POCKET, seed=11, documents=20, questions=12)
    assert figures["fresh_loss"] < 0.25
    assert figures["right_command"] >= 0.9
    assert figures["general_channel"] >= 0.9
    assert figures["taught_style"] <= 0.1


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_every_text_survives_a_round_trip(text):
    bundled = load_bundled()
    assert bundled.decode(bundled.encode(text)) == text


def test_every_byte_is_in_the_vocabulary(tokenizer):
    from tokenizers.pre_tokenizers import ByteLevel

    assert set(ByteLevel.alphabet()) <= set(tokenizer.get_vocab())
    assert len(tokenizer) == 1024


def test_template_writes_no_opening_token_and_marks_the_answer(tokenizer):
    prompt = [turn.model_dump() for turn in build_prompt("What now?", system="Be brief.", context="A passage.")]
    text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<|im_start|>system\nBe brief.\n\nContext:\nA passage.<|im_end|>\n"
        "<|im_start|>user\nWhat now?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.bos_token is None
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|pad|>")
    whole = [*prompt, {"role": "assistant", "content": "Wait."}]
    encoded = tokenizer.apply_chat_template(whole, return_dict=True, return_assistant_tokens_mask=True)
    answer = [i for i, mark in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mark]
    assert tokenizer.decode(answer) == "Wait.<|im_end|>"


def test_a_token_that_is_a_whole_piece_is_taken_at_once():
    """llama.cpp's "llama-bpe" ignores merges for such pieces, so ours must."""
    trained = train_tokenizer(generate_corpus(60, seed=1))
    assert json.loads(trained.backend_tokenizer.to_str())["model"]["ignore_merges"] is True


def test_same_seed_gives_the_same_weights(tmp_path: Path):
    runs = [pretrain(tmp_path / name, seed=5, documents=40, steps=3, probes=1) for name in ("a", "b")]
    assert runs[0]["last_loss"] == runs[1]["last_loss"]
    assert runs[0]["first_loss"] == pytest.approx(6.93, abs=0.3)  # ln 1024, a uniform guess
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
