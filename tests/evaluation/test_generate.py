from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from flytewheel.evaluation.generate import find_end_tokens, generate_answers
from flytewheel.evaluation.perplexity import encode_prompt
from flytewheel.records import Message

TEXTS = (
    "Hi",
    "The disk of the database is full, and nobody knows since when.",
    "Queue?",
    "Who owns the cache now?",
    "A",
    "",
)


@pytest.fixture
def prompts(loaded: tuple[Any, Any]) -> list[tuple[int, ...]]:
    return [encode_prompt(loaded[1], (Message(role="user", content=text),)) for text in TEXTS]


def continue_alone(model: Any, prompt: tuple[int, ...], ends: set[int], limit: int) -> list[int]:
    """The library's greedy generation on one unpadded prompt."""
    ids = torch.tensor([prompt])
    config = GenerationConfig(do_sample=False, max_new_tokens=limit, eos_token_id=sorted(ends), pad_token_id=0)
    new = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0, len(prompt) :].tolist()
    return [token for token in new if token not in ends]


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_batches_say_what_each_prompt_alone_would(
    loaded: tuple[Any, Any], prompts: list[tuple[int, ...]], batch_size: int
) -> None:
    """Common tokens are made end tokens, so that rows of a batch end at different steps."""
    model, _ = loaded
    free = [continue_alone(model, prompt, {2}, 24) for prompt in prompts]
    ends = {2, free[0][5], free[1][9]}
    answers = generate_answers(model, prompts, max_new_tokens=24, batch_size=batch_size, end_tokens=ends, pad_id=0)
    assert [each.tokens for each in answers] == [continue_alone(model, prompt, ends, 24) for prompt in prompts]
    assert len({len(each.tokens) for each in answers}) > 1


def test_padding_shifts_no_position() -> None:
    """Llama's rotary positions are relative and forgive a shift; GPT-2's learned ones do not."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=60, n_positions=40, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = GPT2LMHeadModel(config).eval()
    prompts = [tuple(range(5, 5 + length)) for length in (2, 9, 17, 4)]
    answers = generate_answers(model, prompts, max_new_tokens=12, batch_size=4, end_tokens={59}, pad_id=0)
    assert [each.tokens for each in answers] == [continue_alone(model, prompt, {59}, 12) for prompt in prompts]


def test_the_limit_is_kept_and_the_end_token_left_out(loaded: tuple[Any, Any], prompts: list[tuple[int, ...]]) -> None:
    model, _ = loaded
    free = generate_answers(model, prompts, max_new_tokens=7, batch_size=3, end_tokens=(), pad_id=0)
    assert {(len(each.tokens), each.ended) for each in free} == {(7, False)}
    first = free[0].tokens[0]
    assert generate_answers(model, prompts[:1], max_new_tokens=7, batch_size=3, end_tokens=[first], pad_id=0) == [
        ([], True)
    ]


def test_draws_belong_to_their_prompt(loaded: tuple[Any, Any], prompts: list[tuple[int, ...]]) -> None:
    """The same seed draws the same answer beside other prompts; temperature 0 stays greedy."""
    options: dict[str, Any] = {"max_new_tokens": 8, "end_tokens": (), "pad_id": 0}
    greedy = generate_answers(loaded[0], prompts, batch_size=3, **options)
    warm = [0.0, 2.0, 2.0, 0.0, 2.0, 2.0]
    drawn = generate_answers(loaded[0], prompts, batch_size=3, temperatures=warm, seeds=range(6), **options)
    alone = generate_answers(loaded[0], prompts[2:3], batch_size=1, temperatures=[2.0], seeds=[2], **options)
    assert alone == drawn[2:3]
    assert [drawn[0], drawn[3]] == [greedy[0], greedy[3]]
    assert all(drawn[index] != greedy[index] for index in (1, 2, 4, 5))


def test_progress_reaches_the_total(loaded: tuple[Any, Any], prompts: list[tuple[int, ...]]) -> None:
    told: list[tuple[str, int, int | None]] = []
    generate_answers(
        loaded[0],
        prompts,
        max_new_tokens=2,
        batch_size=4,
        end_tokens=(),
        pad_id=0,
        progress=lambda *step: told.append(step),
    )
    assert told == [("answering", 4, 6), ("answering", 6, 6)]


@pytest.mark.parametrize(("configured", "expected"), [(None, {7}), (9, {7, 9}), ([8, 9], {7, 8, 9})])
def test_end_tokens_come_from_tokenizer_and_model(configured: Any, expected: set[int]) -> None:
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=configured))
    assert find_end_tokens(model, SimpleNamespace(eos_token_id=7)) == expected
