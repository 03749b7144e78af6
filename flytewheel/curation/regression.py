"""Regression cases: prompts whose answers must pass a check for ever.

Hand-written ones come first, from the file that the recipe names. Every accepted correction adds one: what is checked
of it is decided in `suite.expectations`. A held-out user's case guards its prompt from training; a training user's says
what must not be forgotten, and stands in the training part. Then follow the cases that earlier turns, people and
rollbacks brought (`suite.snapshot`). A prompt has one case.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flytewheel.curation.account import Account
from flytewheel.curation.judged import Judged, Table
from flytewheel.curation.prompts import describe_prompt
from flytewheel.curation.split import choose_part, draw_number
from flytewheel.errors import DatasetError, SuiteError
from flytewheel.recipe import CurationSpec
from flytewheel.records import HOLDOUT, Message, RegressionCase
from flytewheel.suite import cases as suite_cases
from flytewheel.suite.checks import check_case
from flytewheel.suite.expectations import expect_correction
from flytewheel.suite.snapshot import Snapshot, read_snapshot


@dataclass(slots=True)
class Suite:
    """The suite that came with a window, by part of the data set.

    `known` ids are in it, in the recipe's file, or retired: no correction brings them anew. `prompts` are keys of the
    prompts that have a case; what is derived adds to them.
    """

    snapshot: Snapshot = field(default_factory=Snapshot)
    parts: dict[str, list[RegressionCase]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    prompts: set[str] = field(default_factory=set)
    faulty: int = 0


def read_cases(path: Path) -> list[RegressionCase]:
    """Reads hand-written cases, one JSON object a line.

    Raises:
        DatasetError: the file cannot be read, a line is not a case, or an id comes twice.
    """
    try:
        return suite_cases.read_cases(path)
    except SuiteError as error:
        raise DatasetError(f"curation.regression_cases: {error}") from None


def place_suite(
    folder: Path, spec: CurationSpec, written: Sequence[RegressionCase], system_prompt: str | None
) -> Suite:
    """Reads the suite in `folder` and deals it into parts; where an id is written by hand, the hand's is taken.

    Redacted once more: the rules may have learnt since a case was stored.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        snapshot = read_snapshot(folder)
    except SuiteError as error:
        raise DatasetError(str(error)) from None
    by_hand = {case.id for case in written}
    suite = Suite(snapshot, defaultdict(list))
    for case in suite_cases.redact_cases(snapshot.cases) if spec.redact_pii else snapshot.cases:
        if case.id in by_hand:
            continue
        try:
            check_case(case)
        except SuiteError:
            suite.faulty += 1
            continue
        suite.parts[place_case(case, spec)].append(case)
    for cases in suite.parts.values():
        cases.sort(key=lambda case: (case.origin == "correction", draw_number("suite", case.id), case.id))
    suite.known = frozenset(by_hand | {case.id for case in snapshot.cases} | snapshot.retired)
    everything = [*written, *(case for cases in suite.parts.values() for case in cases)]
    suite.prompts = {describe_prompt(case.prompt, system_prompt).key for case in everything}
    return suite


def place_case(case: RegressionCase, spec: CurationSpec) -> str:
    """The part of a data set that a stored case stands in."""
    if not case.held_out:
        return "train"
    if case.origin in ("written", "review"):
        return "test"
    part = choose_part(case.user, spec)
    return part if part in ("validation", HOLDOUT) else "test"


def derive_cases(
    part: str,
    rows: Sequence[Judged],
    written: Sequence[RegressionCase],
    *,
    table: Table,
    keys: Sequence[str],
    limit: int,
    max_per_user: int,
    suite: Suite | None = None,
) -> tuple[list[RegressionCase], Account]:
    """The cases of one part, `limit` in all: hand-written ones, those of its corrections, those of earlier turns.

    Args:
        part: name of the part.
        rows: its rows.
        written: the hand-written cases of this part.
        table: where texts are.
        keys: of the distinct prompts.
        limit: most cases; what is left out for it stays in the suite.
        max_per_user: most that follow from one user's corrections.
        suite: what is known already.
    """
    suite = Suite() if suite is None else suite
    earlier = suite.parts.get(part, [])
    given = [one for one in rows if one.correction is not None]
    account = Account(f"regression cases ({part})", len(given) + len(written) + len(earlier))
    cases = list(written[:limit])
    users: Counter[str] = Counter()
    columns = ("correction", "response", "before", "query", "written_event")
    texts = table.fetch([one.place for one in given], columns)
    for one, (correction, response, before, query, event) in zip(given, texts.iter_rows(), strict=True):
        name = f"{one.id}/case"
        if name in suite.known or keys[one.prompt] in suite.prompts:
            account.drop("prompt has a case", one.place)
        elif (found := expect_correction(correction, response)) is None:
            account.drop("nothing to check", one.place, "correction")
        elif len(cases) >= limit:
            account.drop("above max_regression_cases", one.place)
        elif users[one.user] >= max_per_user:
            account.drop("enough cases of the user", one.place)
        else:
            users[one.user] += 1
            suite.prompts.add(keys[one.prompt])
            prompt = (*(Message(**turn) for turn in before), Message(role="user", content=query))
            cases.append(
                RegressionCase(
                    name,
                    one.user,
                    one.topic,
                    prompt,
                    found.check,
                    found.expected,
                    threshold=found.threshold,
                    ignore_case=found.ignore_case,
                    origin="correction",
                    held_out=part != "train",
                    interactions=(one.id,),
                    events=(event,) if event else (),
                )
            )
    room = max(0, limit - len(cases))
    cases += earlier[:room]
    # The rows of a window learnt from again are the same ones, though its corrections have brought their cases before.
    cases[len(written) :] = sorted(cases[len(written) :], key=lambda case: case.id)
    above = max(0, len(written) - limit) + max(0, len(earlier) - room)
    if above:
        account.drop("above max_regression_cases", count=above)
    return cases, account.close()
