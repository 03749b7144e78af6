"""Reads cases from JSON lines, and takes personal data out of them.

A file is read as a whole before anything of it counts, and every bad line is told with its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flytewheel.errors import SuiteError
from flytewheel.pii import redact_conversation
from flytewheel.records import Message, RegressionCase
from flytewheel.suite.checks import SAMPLED_PASS_RATE, check_case

SUITE = "suite"  # who owns cases that nobody's words are in

_CASE = TypeAdapter(RegressionCase)
_FIELDS = frozenset(each.name for each in fields(RegressionCase))
_NAMED_FAULTS = 10


def read_cases(path: Path) -> list[RegressionCase]:
    """Reads hand-written cases, one JSON object a line.

    Raises:
        SuiteError: the file cannot be read, lines are not cases, or an id comes twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # `splitlines` would part at signs within texts
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read ({error})") from None
    cases: dict[str, RegressionCase] = {}
    faults = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = parse_case(line)
            if case.id in cases:
                raise SuiteError(f"id {case.id!r} is used twice")
            cases[case.id] = case
        except SuiteError as error:
            faults.append(f"{path}:{number}: {error}")
    if faults:
        more = len(faults) - _NAMED_FAULTS
        raise SuiteError("; ".join(faults[:_NAMED_FAULTS]) + (f"; and {more} more lines" if more > 0 else ""))
    return list(cases.values())


def parse_case(line: str) -> RegressionCase:
    """Reads one case from JSON; where it is sampled and names no `min_pass_rate`, that is `SAMPLED_PASS_RATE`.

    Raises:
        SuiteError: it is no case.
    """
    try:
        given = json.loads(line)
        if not isinstance(given, dict):
            raise SuiteError("not a regression case (expected an object)")
        if unknown := sorted(set(given) - _FIELDS):
            raise SuiteError(f"not a regression case (unknown field {unknown[0]!r}: expected {', '.join(_list())})")
        case = _CASE.validate_python(given)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"not a regression case ({_say(error)})") from None
    if case.samples > 1 and "min_pass_rate" not in given:
        case = replace(case, min_pass_rate=SAMPLED_PASS_RATE)
    check_case(case)
    return case


def load_case(body: Any) -> RegressionCase:
    """A case from what `records.to_jsonable` made of it.

    Raises:
        SuiteError: it is none.
    """
    try:
        return _CASE.validate_python(body)
    except ValidationError as error:
        raise SuiteError(f"not a regression case ({_say(error)})") from None


def redact_cases(cases: Iterable[RegressionCase]) -> list[RegressionCase]:
    """The cases with personal data in prompt, expectation and note as placeholders, as rows have it."""
    return [_redact(case) for case in cases]


def _redact(case: RegressionCase) -> RegressionCase:
    texts = [*(turn.content for turn in case.prompt), case.expected, case.note]
    clean, _ = redact_conversation(texts)
    if list(clean) == texts:
        return case
    turns: Sequence[str] = clean[: len(case.prompt)]
    prompt = tuple(Message(role=turn.role, content=text) for turn, text in zip(case.prompt, turns, strict=True))
    return replace(case, prompt=prompt, expected=clean[-2], note=clean[-1])


def _list() -> list[str]:
    return [each.name for each in fields(RegressionCase)]


def _say(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, fault['loc'])) or 'line'}: {fault['msg']}"
    return f"line: {error}"
