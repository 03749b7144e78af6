"""Speed through the real llama.cpp server; what is compared is written as GGUF files that spell a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from flytewheel.errors import LlamaServerError
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.speed import Speed, ask, decide_speed, measure_speed
from flytewheel.llama_server import run_server
from flytewheel.recipe import GateRule, GateSpec
from flytewheel.records import Decision, Interval, Message
from tests.router.spelling_model import write_spelling_model

PROMPTS = tuple((Message(role="user", content=f"Question {number}?"),) for number in range(3))
OPTIONS: dict[str, Any] = {"tokens": 16, "slot_tokens": 256, "threads": 1, "level": 0.95, "seed": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spelling_model(tmp_path_factory.mktemp("model") / "model.gguf", "abcdef")  # ends after six letters


def test_both_files_are_measured_with_answers_of_one_length(model: Path) -> None:
    told: list[int] = []
    found = measure_speed(model, model, PROMPTS, **OPTIONS, progress=lambda _what, done, _of: told.append(done))
    for name in ("tokens_per_s", "first_token_ms"):
        figure = found.metrics[name]
        assert (figure.rows, figure.users) == (6, 3)
        for span in (figure.candidate, figure.champion, found.ratios[name]):
            assert span.estimate is not None
            assert 0 < (span.low or 0) <= span.estimate <= (span.high or 0)
    assert found.skipped == 0
    assert told == [1, 2, 3]


def test_a_prompt_that_does_not_fit_is_skipped(model: Path) -> None:
    long = ((Message(role="user", content="word " * 400),),)
    found = measure_speed(model, model, PROMPTS + long, **OPTIONS)
    assert (found.skipped, found.metrics["tokens_per_s"].users) == (1, 3)


def test_without_two_prompts_nothing_can_be_told(model: Path) -> None:
    found = measure_speed(model, model, PROMPTS[:1], **OPTIONS)
    assert found.metrics["tokens_per_s"].candidate.estimate is None


def test_a_file_that_is_no_model_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"no")
    with pytest.raises(LlamaServerError, match=r"broken\.gguf is not served: error: llama\.cpp does not load"):
        measure_speed(tmp_path / "broken.gguf", model, PROMPTS, **OPTIONS)


def test_a_server_that_is_away_is_one_line() -> None:
    with httpx.Client(timeout=5) as client, pytest.raises(LlamaServerError, match="broke off"):
        ask(client, "http://127.0.0.1:9", PROMPTS[0], 4)


def test_a_server_ends_with_its_block_also_when_that_fails(model: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_server(model, alias="m", threads=1, slot_tokens=64) as url:  # noqa: PT012
        assert httpx.get(f"{url}/health").status_code == 200
        raise ZeroDivisionError
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def make_speed(ours: float, theirs: float, reach: float) -> Speed:
    def span(value: float) -> Interval:
        return Interval(value, value - reach, value + reach)

    return Speed({"tokens_per_s": Comparison(span(ours), span(theirs), span(ours - theirs), 16, 8)}, {})


@pytest.mark.parametrize(
    ("ours", "reach", "decision"),
    [
        (99, 2, Decision.PROMOTE_TO_CANARY),  # at worst 3 slower, 10 are tolerated
        (92, 5, Decision.HOLD),
        (70, 5, Decision.REJECT),
    ],
)
def test_the_recipes_rule_decides(ours: float, reach: float, decision: Decision) -> None:
    verdict = decide_speed(make_speed(ours, 100, reach), GateSpec(tokens_per_s=GateRule(max_worsening=0.1)))
    assert verdict.decision is decision
    assert "8 prompts" in verdict.reasons[0]


def test_what_is_not_asked_passes_and_what_was_not_measured_holds() -> None:
    assert decide_speed(None, GateSpec()).decision is Decision.PROMOTE_TO_CANARY
    verdict = decide_speed(None, GateSpec(first_token_ms=GateRule(max=500)))
    assert verdict.decision is Decision.HOLD
    assert verdict.reasons[0].startswith("cannot tell: first_token_ms was not measured")


def test_the_gate_before_the_export_does_not_ask_for_speed() -> None:
    assert "tokens_per_s" not in GateSpec(tokens_per_s=GateRule(min=10)).rules
