"""Cases that must pass for ever, checked on greedy answers.

The unit that is resampled is the user whose case it is. Hand-written cases have no user (their owner is "suite"): each
stands for itself, as do all cases when a single user owns them, since one unit says nothing about its own spread.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flytewheel.errors import EvaluationError
from flytewheel.records import RegressionCase

SUITE = "suite"


def check_cases(cases: Sequence[RegressionCase]) -> None:
    """Compiles every pattern before any model is loaded.

    Raises:
        EvaluationError: a case's pattern is not a regular expression, or its kind of check is unknown.
    """
    for case in cases:
        if case.check not in ("exact", "contains", "regex", "forbidden"):
            raise EvaluationError(
                f"regression case {case.id!r}: expected check exact, contains, regex or forbidden, got {case.check!r}; "
                "correct the case"
            )
        if case.check == "regex":
            try:
                re.compile(case.expected)
            except (re.error, OverflowError) as error:
                raise EvaluationError(
                    f"regression case {case.id!r}: {case.expected!r} is not a regular expression ({error}); "
                    "correct the case"
                ) from None


def passes(case: RegressionCase, answer: str) -> bool:
    """Whether `answer` passes the case."""
    if case.check == "exact":
        return answer.strip() == case.expected.strip()
    if case.check == "regex":
        return re.search(case.expected, answer) is not None
    return (case.expected in answer) == (case.check == "contains")


def assign_units(cases: Sequence[RegressionCase]) -> list[str]:
    """The unit that each case belongs to when resampling."""
    if len({case.user for case in cases}) == 1:
        return [f"case:{case.id}" for case in cases]
    return [f"case:{case.id}" if case.user == SUITE else f"user:{case.user}" for case in cases]
