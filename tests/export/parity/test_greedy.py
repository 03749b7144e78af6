"""Answers and what is wrong with them; the weights and llama.cpp are stood in for, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from flytewheel.errors import ExportError
from flytewheel.export.llamacpp import open_llama, write_greedily
from flytewheel.export.parity.greedy import Preference, check_answers
from flytewheel.export.parity.report import GreedyAnswer, NearTie
from flytewheel.export.parity.tokens import Prompt, render_prompts
from tests.export.parity.conftest import Candidate

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft

END = 0
WORDS = {END: "<end>", 1: "disk ", 2: "full ", 3: "log ", 4: "old ", 5: "<", 6: "end>"}


class Speaker:
    """Tokenizer and llama.cpp of a language of six words, and weights that go on as they are told to."""

    def __init__(self, script: Sequence[int] = (), other: str = "") -> None:
        self.script, self.other = list(script), other

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(WORDS[index] for index in ids)

    def detokenize(self, ids: Sequence[int], special: bool) -> bytes:
        return (self.decode(ids) + self.other).encode()

    def __call__(self, input_ids: Any, **_: Any) -> Any:
        """Weights that hold the next token of the script best, by its place behind a prompt of one token."""
        at = input_ids.shape[1] - 1
        logits = torch.zeros(1, 1, len(WORDS))
        logits[0, 0, self.script[min(at, len(self.script) - 1)]] = 1.0
        return SimpleNamespace(logits=logits)


def ask(answer: list[int], preferences: list[tuple[int, float]], **stand_in: Any) -> GreedyAnswer:
    speaker: Any = Speaker(**stand_in)
    read = {(1, -1, *answer): [Preference(*preference) for preference in preferences]}
    prompt = Prompt("prompt 3", [], "", [1])
    return check_answers(
        "f", speaker, speaker, speaker, [prompt], [answer], max_tokens=60, ends={END}, tie_logits=0.05, read=read
    )[0]


def test_an_answer_as_the_weights_would_write_it() -> None:
    assert ask([1, 2, END], [(1, 0), (2, 0), (END, 0)]) == GreedyAnswer(3, ended=True, loops=False, near_ties=())
    tied = ask([1, 2, END], [(1, 0), (4, 0.04), (END, 0)])
    assert tied.near_ties == (NearTie(position=1, reference=4, file=2, gap_logits=0.04),)


@pytest.mark.parametrize(
    ("answer", "preferences", "told"),
    [
        (
            [1, 2],
            [(1, 0), (4, 0.06)],
            r"token 1 of the answer is 4 'old ' for transformers but 2 'full ' for llama\.cpp",
        ),
        ([1, 2], [(1, 0), (4, math.nan)], "nan logits apart"),
        ([1, 2], [(1, 0), (END, 1.0)], "it goes on where the trained weights stop"),
        ([1, END], [(1, 0), (2, 1.0)], "it stops where the trained weights go on"),
        ([5, 6, 1], [(END, 0.01), (6, 0), (1, 0)], "spells out the end token '<end>' as text instead of stopping"),
    ],
    ids=["other-token", "nan", "runs-on", "stops-early", "spelled-end"],
)
def test_a_wrong_answer_is_told(answer: list[int], preferences: list[tuple[int, float]], told: str) -> None:
    with pytest.raises(ExportError, match=rf"f: prompt 3: .*{told}"):
        ask(answer, preferences)


def test_other_text_for_the_same_tokens_is_told() -> None:
    with pytest.raises(ExportError, match=r"are other text for llama\.cpp, from letter 10 on"):
        ask([1, 2, END], [(1, 0), (2, 0), (END, 0)], other="!")


def test_a_loop_is_the_files_fault_only_where_the_weights_do_not_loop() -> None:
    loop = [1, 2] * 20
    same = [(index, 0.0) for index in loop]
    assert ask(loop, same).loops  # the weights' own: counted, and the evaluation's business
    fork = [(1, 0.0), (4, 0.01), *same[2:]]
    with pytest.raises(ExportError, match=r"the answer loops and the trained weights' does not, from token 1 on"):
        ask(loop, fork, script=[1, 4, 3, END])
    assert ask(loop, fork, script=[1, 2] * 40).loops  # by themselves, they would as well


def test_a_draft_changes_no_answer(candidate: Candidate) -> None:
    prompt = render_prompts(candidate.tokenizer, [candidate.talks[0][:-1]])[0]
    with open_llama(candidate.files["Q8_0"], n_ctx=256, n_threads=1, n_threads_batch=1) as llama:
        plain = write_greedily(llama, prompt.ids, 16, {END})
        wrong = [*plain[:5], 7, *plain[6:]]
        for draft in (plain, plain[:7], wrong, [9] * 20, [*plain, 3, 4]):
            assert write_greedily(llama, prompt.ids, 16, {END}, draft=draft) == plain
        assert write_greedily(llama, prompt.ids, 16, {plain[4]}, draft=plain) == plain[: plain.index(plain[4]) + 1]
