"""What a case of the suite must be, and whether an answer passes it.

Texts are compared in one form of Unicode (NFC). `forbidden` looks at words and marks, not at white space: a line break
within what must not be said changes nothing. `contains` and `exact` are literal; `ignore_case` holds for all but
`numeric` and `similarity`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args, get_type_hints

from flytewheel.errors import SuiteError
from flytewheel.records import RegressionCase
from flytewheel.suite.numbers import agrees, read_expected
from flytewheel.suite.patterns import PatternError, compile_pattern, search
from flytewheel.suite.similarity import measure_similarity

CHECKS: tuple[str, ...] = get_args(get_type_hints(RegressionCase)["check"])
MAX_SAMPLES = 100
SAMPLED_PASS_RATE = 0.8  # `min_pass_rate` of a case that is sampled and does not say; once in a while is no fault


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of `samples` answers passed. `overdue`: the search with a pattern was given up; such answers fail."""

    passed: int
    samples: int
    overdue: bool = False

    @property
    def share(self) -> float:
        return self.passed / self.samples if self.samples else 0.0


def check_case(case: RegressionCase) -> None:
    """Makes sure that a case can be asked and checked.

    Raises:
        SuiteError: it cannot; the message says why.
    """
    fault = next(_list_faults(case), None)
    if fault is not None:
        raise SuiteError(f"regression case {case.id!r}: {fault}; correct the case")


def _list_faults(case: RegressionCase) -> Iterator[str]:
    yield from _list_faults_of_form(case)
    if case.check not in CHECKS:
        yield f"expected check {', '.join(CHECKS[:-1])} or {CHECKS[-1]}, got {case.check!r}"
    if not case.expected.strip() and case.check != "exact":
        yield "expected is empty"
    if case.tolerance and case.check != "numeric":
        yield f"tolerance goes with check numeric, not with {case.check}"
    if case.threshold and case.check != "similarity":
        yield f"threshold goes with check similarity, not with {case.check}"
    if case.check == "similarity" and not 0 < case.threshold <= 1:
        yield f"expected a threshold above 0 and at most 1, got {case.threshold:g}"
    if case.check == "regex":
        try:
            compile_pattern(case.expected, ignore_case=case.ignore_case)
        except PatternError as error:
            yield f"{_cut(case.expected)!r} is not a regular expression ({error})"
    if case.check == "numeric":
        try:
            read_expected(case.expected)
        except ValueError as error:
            yield str(error)


def _list_faults_of_form(case: RegressionCase) -> Iterator[str]:
    if not case.id.strip() or len(case.id) > 200:
        yield "expected an id of 1 to 200 letters"
    if not case.prompt or case.prompt[-1].role != "user":
        yield "prompt must end with a user's turn"
    texts = "".join((case.id, case.user, case.topic, case.expected, case.note, *(turn.content for turn in case.prompt)))
    if "\0" in texts or not _is_utf8(texts):
        yield "a text holds NUL or half a character, which no store can keep"
    if not 1 <= case.samples <= MAX_SAMPLES:
        yield f"expected 1 to {MAX_SAMPLES} samples, got {case.samples}"
    numbers = (case.temperature, case.min_pass_rate, case.tolerance, case.threshold)
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        yield "temperature, min_pass_rate, tolerance and threshold must be finite numbers from 0 on"
    if not 0 < case.min_pass_rate <= 1:
        yield f"expected a min_pass_rate above 0 and at most 1, got {case.min_pass_rate:g}"
    if case.samples > 1 and not case.temperature:
        yield f"{case.samples} greedy answers are one answer: give a temperature above 0, or samples: 1"
    if case.samples == 1 and case.temperature:
        yield "one drawn answer tells nothing: give samples above 1, or temperature: 0"
    if case.temperature > 10:
        yield f"expected a temperature of at most 10, got {case.temperature:g}"
    if len(case.interactions) > 1 or len(case.events) > 1:
        yield "a case comes from one interaction and one event at most"


def passes(case: RegressionCase, answer: str) -> bool:
    """Whether `answer` passes the case.

    Raises:
        TimeoutError: the search with its pattern takes too long.
    """
    if case.check == "numeric":
        return agrees(answer, case.expected, case.tolerance)
    if case.check == "similarity":
        return measure_similarity(answer, case.expected) >= case.threshold
    if case.check == "regex":
        return search(case.expected, answer, ignore_case=case.ignore_case)
    said, expected = _shape(answer, case), _shape(case.expected, case)
    if case.check == "exact":
        return said.strip() == expected.strip()
    if case.check == "forbidden":
        return " ".join(expected.split()) not in " ".join(said.split())
    return expected in said


def count_passes(case: RegressionCase, answers: Sequence[str]) -> Tally:
    """Checks the answers to a case. After the first search that takes too long the other answers are not searched."""
    passed = 0
    try:
        for answer in answers:
            passed += passes(case, answer)
    except TimeoutError:
        return Tally(passed, max(len(answers), 1), overdue=True)
    return Tally(passed, max(len(answers), 1))


def _shape(text: str, case: RegressionCase) -> str:
    formed = unicodedata.normalize("NFC", text)
    return formed.casefold() if case.ignore_case else formed


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
