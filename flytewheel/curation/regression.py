"""Regression cases: prompts whose answers must pass a check for ever.

Hand-written ones come first, from the file that the recipe names. Others follow from corrections by *held-out* users:
what the corrected text says in a short last line, or in a line with a command, and the answer did not say. Longer
lines can be put in many right ways and are no check. An expectation that ends in a digit is searched with a boundary
("A: 6" is not in "A: 60").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from flytewheel.curation.account import Account
from flytewheel.curation.judged import Judged, Table
from flytewheel.curation.prompts import describe_prompt
from flytewheel.errors import DatasetError
from flytewheel.pii import KINDS
from flytewheel.records import Message, RegressionCase

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
    rows: Sequence[Judged],
    written: Sequence[RegressionCase],
    *,
    table: Table,
    keys: Sequence[str],
    limit: int,
    max_per_user: int,
    system_prompt: str | None = None,
) -> tuple[list[RegressionCase], Account]:
    """Adds cases from the corrections of one held-out part to the hand-written ones, `limit` in all.

    Args:
        part: name of the part.
        rows: its rows.
        written: the hand-written cases of this part.
        table: where texts are.
        keys: of the distinct prompts.
        limit: most cases.
        max_per_user: most that follow from one user's corrections.
        system_prompt: the recipe's own.
    """
    given = [one for one in rows if one.correction is not None]
    account = Account(f"regression cases ({part})", len(given) + len(written))
    cases = list(written[:limit])
    if len(written) > limit:
        account.drop("above max_regression_cases", count=len(written) - limit)
    prompts = {describe_prompt(case.prompt, system_prompt).key for case in written}
    users: Counter[str] = Counter()
    texts = table.fetch([one.place for one in given], ("correction", "response", "before", "query"))
    for one, (correction, response, before, query) in zip(given, texts.iter_rows(), strict=True):
        expected = derive_expected(correction, response)
        if expected is None:
            account.drop("no short line to check", one.place, "correction")
        elif keys[one.prompt] in prompts:
            account.drop("prompt has a case", one.place)
        elif len(cases) >= limit:
            account.drop("above max_regression_cases", one.place)
        elif users[one.user] >= max_per_user:
            account.drop("enough cases of the user", one.place)
        else:
            users[one.user] += 1
            prompts.add(keys[one.prompt])
            prompt = (*(Message(**turn) for turn in before), Message(role="user", content=query))
            check: Literal["regex", "contains"] = "contains"
            if expected[-1].isdigit():
                check, expected = "regex", rf"(?<!\w){re.escape(expected)}(?!\w|[.,]\d)"
            cases.append(RegressionCase(f"{one.id}/case", one.user, one.topic, prompt, check, expected))
    return cases, account.close()


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
