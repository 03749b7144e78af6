"""Regression cases: prompts whose answers must pass a check for ever.

Hand-written ones come first, from the file that the recipe names. Others follow from corrections by *held-out* users:
what the corrected text says in a short last line, or in a line with a command, and the answer did not say. Longer
lines can be put in many right ways and are no check. An expectation that ends in a digit is searched with a boundary
("A: 6" is not in "A: 60").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from flytewheel.curation.duplicates import describe_prompt
from flytewheel.curation.ledger import Tally
from flytewheel.curation.pii import KINDS
from flytewheel.curation.score import Scored
from flytewheel.dataset import Step
from flytewheel.errors import DatasetError
from flytewheel.records import RegressionCase

MAX_WORDS = 12
_PLACEHOLDER = re.compile(rf"<(?:{'|'.join(KINDS)})_\d+>")
_CASE = TypeAdapter(RegressionCase)


def read_cases(path: Path) -> list[RegressionCase]:
    """Reads hand-written cases, one JSON object a line.

    Raises:
        DatasetError: the file cannot be read, a line is not a case, or an id comes twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"curation.regression_cases {path}: cannot be read ({error})") from None
    cases: dict[str, RegressionCase] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = _CASE.validate_json(line)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "line"
            raise DatasetError(f"{path}:{number}: not a regression case ({where}: {fault['msg']})") from None
        if case.check == "regex":
            try:
                re.compile(case.expected)
            except re.error as error:
                raise DatasetError(
                    f"{path}:{number}: {case.expected!r} is not a regular expression ({error})"
                ) from None
        if not case.prompt or case.prompt[-1].role != "user":
            raise DatasetError(f"{path}:{number}: prompt must end with a user's turn")
        if cases.setdefault(case.id, case) is not case:
            raise DatasetError(f"{path}:{number}: id {case.id!r} is used twice")
    return list(cases.values())


def derive_cases(
    part: str,
    rows: Sequence[Scored],
    written: Sequence[RegressionCase],
    *,
    limit: int,
    system_prompt: str | None = None,
) -> tuple[list[RegressionCase], Step]:
    """Adds cases from the corrections of one held-out part to the hand-written ones, `limit` in all."""
    given = [one for one in rows if one.correction is not None]
    tally = Tally(f"regression cases ({part})", len(given) + len(written))
    cases = list(written[:limit])
    if len(written) > limit:
        tally.drop("above max_regression_cases", count=len(written) - limit)
    prompts = {describe_prompt(case.prompt, system_prompt).key for case in written}
    for one in given:
        expected = derive_expected(one.correction or "", one.response)
        if expected is None:
            tally.drop("no short line to check", one.correction or "")
        elif one.text.key in prompts:
            tally.drop("prompt has a case", one.interaction.query)
        elif len(cases) >= limit:
            tally.drop("above max_regression_cases", one.interaction.query)
        else:
            prompts.add(one.text.key)
            if expected[-1].isdigit():
                pattern = rf"(?<!\w){re.escape(expected)}(?!\w|[.,]\d)"
                cases.append(RegressionCase(f"{one.id}/case", one.user, one.topic, one.prompt, "regex", pattern))
            else:
                cases.append(RegressionCase(f"{one.id}/case", one.user, one.topic, one.prompt, "contains", expected))
    return cases, tally.close()


def derive_expected(correction: str, response: str) -> str | None:
    """The line of a correction that tells it from the answer: the last one, else the last one with a `command`."""
    lines = [line.strip() for line in correction.splitlines() if line.strip()]
    for place, line in enumerate(reversed(lines)):
        if place and "`" not in line:
            continue
        fits = len(line) >= 3 and len(line.split()) <= MAX_WORDS and not _PLACEHOLDER.search(line)
        pattern = re.escape(line) + (r"(?!\w|[.,]\d)" if line[-1:].isdigit() else "")
        if fits and not re.search(pattern, response):
            return line
    return None
