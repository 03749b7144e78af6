from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.models import load_tokenizer
from flytewheel.records import Message, Preference, SftRow, Unpaired
from flytewheel.training.rows import IGNORED, encode, preference_rows, sft_rows, thin, unpaired_rows
from flytewheel.training.truncation import describe_truncation
from tests.training.teaching import ask, base_spec


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> Any:
    return load_tokenizer(base_spec(base_model))


def _sft(completion: str) -> SftRow:
    return SftRow("s", "u", "t", ask(1), completion, 1.0, 1.0, "answer")


def test_encode_gives_the_prompt_as_at_inference_and_the_answer_with_its_end_token(tokenizer: Any) -> None:
    prompt, completion = encode(tokenizer, (Message(role="user", content="hi"),), "ok")
    assert tokenizer.decode(prompt) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(completion) == "ok<|im_end|>"


def test_encode_survives_a_template_that_renders_the_opening_differently(tokenizer: Any) -> None:
    class Thinking:
        """As reasoning models do: the opening holds a block that a finished turn does not."""

        all_special_ids = tokenizer.all_special_ids

        def apply_chat_template(self, turns: Any, add_generation_prompt: bool = False, **options: Any) -> Any:
            rendered = tokenizer.apply_chat_template(turns, add_generation_prompt=add_generation_prompt, **options)
            if add_generation_prompt:
                rendered["input_ids"] = [*rendered["input_ids"], *tokenizer.encode("<think>")]
            return rendered

    fake: Any = Thinking()
    prompt, completion = encode(fake, (Message(role="user", content="hi"),), "ok")
    assert tokenizer.decode(prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(completion) == "ok<|im_end|>"


def test_only_the_completion_carries_loss(tokenizer: Any) -> None:
    rows = sft_rows([_sft("restart")], tokenizer, 128)
    (row,) = list(rows.table)
    labels = row["labels"]
    assert tokenizer.decode([label for label in labels if label != IGNORED]) == "restart<|im_end|>"
    assert len(labels) == len(row["input_ids"]) == row["length"]
    assert (rows.count, rows.truncated) == (1, 0)


def test_long_sft_rows_lose_their_end_and_are_counted(tokenizer: Any) -> None:
    prompt, completion = encode(tokenizer, ask(1), "restart")
    whole = len(prompt) + len(completion)
    fits = sft_rows([_sft("restart")], tokenizer, whole)
    cut = sft_rows([_sft("restart")], tokenizer, whole - 1)
    gone = sft_rows([_sft("restart")], tokenizer, len(prompt))
    assert (fits.count, fits.truncated) == (1, 0)
    assert (cut.count, cut.truncated, len(cut.table[0]["input_ids"])) == (1, 1, whole - 1)
    assert (gone.count, gone.truncated, gone.table) == (0, 1, None)
    assert (fits.lost_tokens, cut.lost_tokens, gone.lost_tokens) == (0, 1, whole)
    assert describe_truncation(fits, whole, cut=True) == ""
    assert describe_truncation(cut, whole - 1, cut=True) == (
        f"warning: 1 row is longer than base.max_length = {whole - 1}: what is beyond it was left out, 1 token; "
        "raise base.max_length to learn from them"
    )


def test_long_pairs_are_dropped_whichever_side_is_long(tokenizer: Any) -> None:
    short, long = "ok", "ok " * 60
    pairs = [
        Preference("a", "u", "t", ask(1), short, "no", 1.0, "same_prompt"),
        Preference("b", "u", "t", ask(1), long, "no", 1.0, "same_prompt"),
        Preference("c", "u", "t", ask(1), short, long, 1.0, "same_prompt"),
    ]
    rows = preference_rows(pairs, tokenizer, 128)
    assert (rows.count, rows.truncated) == (1, 2)
    prompt, answer = encode(tokenizer, ask(1), long)
    newline = len(tokenizer.encode("\n"))  # the template's, after the end token: TRL feeds it
    assert rows.lost_tokens == 2 * (len(prompt) + len(answer) + newline)
    assert describe_truncation(rows, 128, cut=False).startswith(
        f"warning: 2 rows are longer than base.max_length = 128: left out, {rows.lost_tokens} tokens; raise"
    )
    assert rows.table[0]["chosen"] == [{"role": "assistant", "content": short}]
    assert [turn["role"] for turn in rows.table[0]["prompt"]] == ["system", "user"]


def test_thumbs_are_shuffled_by_the_seed(tokenizer: Any) -> None:
    thumbs = [Unpaired(str(n), "u", "t", ask(n), "ok", n < 10) for n in range(20)]
    one, same, other = (unpaired_rows(thumbs, tokenizer, 128, seed).table["label"] for seed in (1, 1, 2))
    assert list(one) == list(same)
    assert list(one) != list(other)
    assert sum(one) == 10


def test_thin_keeps_evenly_spaced_rows() -> None:
    assert list(thin(range(10), 5)) == [0, 2, 4, 6, 8]
    assert list(thin(range(3), 5)) == [0, 1, 2]
