from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from flytewheel.evaluation.perplexity import Encoded, Score, encode, encode_prompt, score_completions
from flytewheel.records import Message

PROMPTS = ("Hi", "The disk of the database is full, and nobody knows since when.", "Queue?", "What now, then?")
ANSWERS = ("Delete old logs, then restart the service.", "No", "", "1. Check.\n2. Run the command.\n3. Escalate.")


@pytest.fixture
def rows(loaded: tuple[Any, Any]) -> list[Encoded]:
    return [
        encode(loaded[1], (Message(role="user", content=prompt),), answer) for prompt in PROMPTS for answer in ANSWERS
    ]


def score_alone(model: Any, row: Encoded) -> float:
    """The library's own loss on one unpadded row, labels only on the completion."""
    ids = torch.tensor([row.prompt + row.completion])
    labels = ids.clone()
    labels[0, : len(row.prompt)] = -100
    with torch.no_grad():
        return -float(model(input_ids=ids, labels=labels).loss) * len(row.completion)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batched_scores_equal_each_row_alone(loaded: tuple[Any, Any], rows: list[Encoded], batch_size: int) -> None:
    model, tokenizer = loaded
    scores = score_completions(model, rows, batch_size=batch_size, pad_id=tokenizer.pad_token_id)
    for row, score in zip(rows, scores, strict=True):
        assert score.tokens == len(row.completion)
        assert score.logprob_nats == pytest.approx(score_alone(model, row), abs=1e-4)


def test_the_padding_token_is_never_seen(loaded: tuple[Any, Any], rows: list[Encoded]) -> None:
    model, _ = loaded
    scores = [score_completions(model, rows, batch_size=16, pad_id=pad) for pad in (0, 100)]
    assert scores[0] == scores[1]


def test_a_uniform_model_has_the_vocabulary_as_perplexity() -> None:
    class Uniform:
        device = "cpu"

        def __call__(self, *, input_ids: Any, logits_to_keep: Any, **_: Any) -> Any:
            return type("Output", (), {"logits": torch.zeros(len(input_ids), len(logits_to_keep), 32)})

    rows = [Encoded((1, 2, 3), (4, 5)), Encoded((1,), (2, 3, 4, 5))]
    for score in score_completions(Uniform(), rows, batch_size=2, pad_id=0):
        assert math.exp(-score.per_token) == pytest.approx(32)


def test_completions_end_with_the_end_token(loaded: tuple[Any, Any]) -> None:
    _, tokenizer = loaded
    row = encode(tokenizer, (Message(role="user", content="Hi"),), "Restart it.")
    assert tokenizer.decode(row.completion) == "Restart it.<|im_end|>"
    assert tokenizer.decode(row.prompt) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert row.prompt == encode_prompt(tokenizer, (Message(role="user", content="Hi"),))


def test_progress_reaches_the_total(loaded: tuple[Any, Any], rows: list[Encoded]) -> None:
    told: list[tuple[str, int, int | None]] = []
    score_completions(loaded[0], rows, batch_size=5, pad_id=0, what="x", progress=lambda *step: told.append(step))
    assert told == [("x", 5, 16), ("x", 10, 16), ("x", 15, 16), ("x", 16, 16)]


def test_no_rows_are_no_scores(loaded: tuple[Any, Any]) -> None:
    assert score_completions(loaded[0], [], batch_size=4, pad_id=0) == []


def test_per_token_is_a_mean() -> None:
    assert Score(-6.0, 3).per_token == -2.0
