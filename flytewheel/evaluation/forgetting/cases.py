"""Reads the general suite: the bundled one, or the recipe's.

The bundled one was written for this project: short tasks of many kinds, in several languages, that a small instruction
model passes and whose check leaves no doubt. Its lines have the form of regression cases.
"""

from __future__ import annotations

import json
from pathlib import Path

from flytewheel.errors import EvaluationError, SuiteError
from flytewheel.records import Message, RegressionCase
from flytewheel.suite.cases import SUITE
from flytewheel.suite.checks import check_case

BUNDLED = Path(__file__).with_name("general.jsonl")
TEXTS = Path(__file__).with_name("texts.jsonl")
_KEYS = frozenset({"id", "user", "topic", "prompt", "check", "expected"})


def read_suite(path: Path = BUNDLED) -> list[RegressionCase]:
    """The cases of a suite.

    Raises:
        EvaluationError: the file cannot be read, or a line is no case; the line is named.
    """
    found: dict[str, RegressionCase] = {}
    for number, line in _read_lines(path):
        case = _read_case(line, f"{path}, line {number}")
        if found.setdefault(case.id, case) is not case:
            raise EvaluationError(f"{path}, line {number}: id {case.id!r} is used twice; give each case its own")
    try:
        for case in found.values():
            check_case(case)
    except SuiteError as error:
        raise EvaluationError(f"{path}: {error}") from None
    return list(found.values())


def read_texts(path: Path = TEXTS) -> list[tuple[str, tuple[Message, ...], str]]:
    """General texts to weigh: id, prompt, text."""
    lines = [json.loads(line) for _, line in _read_lines(path)]
    return [(line["id"], (Message(role="user", content=line["prompt"]),), line["text"]) for line in lines]


def _read_lines(path: Path) -> list[tuple[int, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"evaluation.forgetting.suite {path}: cannot be read ({error}); name a JSONL file of regression cases"
        ) from None
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _read_case(line: str, place: str) -> RegressionCase:
    try:
        raw = json.loads(line)
        if unknown := raw.keys() - _KEYS:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        asked = raw["prompt"]
        turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        prompt = tuple(Message.model_validate(turn) for turn in turns)
        texts = [raw["id"], raw.get("topic", "general"), raw["check"], raw["expected"]]
        if not prompt or not all(isinstance(text, str) and text for text in texts):
            raise ValueError("a prompt, or a text, is empty or no text")
        return RegressionCase(texts[0], raw.get("user", SUITE), texts[1], prompt, raw["check"], texts[3])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        cause = " ".join(str(error).split())[:150]
        raise EvaluationError(
            f"{place}: expected a case with id, prompt, check and expected ({cause}); correct the line"
        ) from None
