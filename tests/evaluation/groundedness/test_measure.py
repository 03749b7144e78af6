from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from flytewheel.dataset import Dataset
from flytewheel.evaluation.asking import Reply, Voice
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.groundedness.claims import Claim, ClaimReader, Reading
from flytewheel.evaluation.groundedness.measure import GroundednessMeasure, find_context
from flytewheel.evaluation.measure import Compare, Examples, Heard, Measured
from flytewheel.evaluation.measures import list_measures
from flytewheel.evaluation.report import LOWER_IS_BETTER, Evaluation
from flytewheel.recipe import EvaluationSpec, GateRule, GateSpec, GroundednessSpec
from flytewheel.records import Decision, Message, SftRow, build_prompt, to_jsonable

COMPARE = Compare(samples=200, level=0.95, seed=1)
PASSAGE = "billing-api is owned by payments, #payments-oncall: run dbctl analyze billing-api, wait 5 minutes."
GOOD = "Run `dbctl analyze billing-api`, wait 5 minutes, ask in #payments-oncall."
BAD = "Run `dbctl drop billing-api`, wait 9 minutes, ask in #payments-oncall."


class Reader(ClaimReader):
    """Reads what a test says."""

    def __init__(self, readings: list[Reading | None]) -> None:
        self.readings = readings
        self.asked: list[tuple[tuple[str, ...], str]] = []

    def read(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[Reading | None]:
        self.asked += [(tuple(context), answer) for context, answer in pairs]
        return [self.readings[at % len(self.readings)] for at in range(len(pairs))]


def build_row(at: int, context: str | None = PASSAGE) -> SftRow:
    prompt = build_prompt("billing-api is slow, what now?", system="Be brief.", context=context)
    return SftRow(f"row-{at}", f"user-{at}", "database", prompt, GOOD, reward=1.0, quality=1.0, source="answer")


def measure(
    ours: list[str],
    theirs: list[str],
    *,
    contexts: list[str | None] | None = None,
    spec: GroundednessSpec | None = None,
    reader: Reader | None = None,
) -> Measured:
    rows = tuple(build_row(at, (contexts or [PASSAGE] * len(ours))[at]) for at in range(len(ours)))
    examples = Examples(rows, tuple(map(Reply, ours)), tuple(map(Reply, theirs)))
    measured = GroundednessMeasure(spec or GroundednessSpec(), reader=reader)
    return measured.measure(Heard(examples, Voice(), Voice(), Voice()), COMPARE)


def test_spans_and_answers_by_hand() -> None:
    """Each answer has 3 spans. Candidate: 2 of 6 unsupported, 1 of 2 answers; the champion 4 of 6, 2 of 2."""
    found = measure([GOOD, BAD], [BAD, BAD]).metrics
    assert found["unsupported_share"].candidate.estimate == pytest.approx(2 / 6)
    assert found["unsupported_share"].champion.estimate == pytest.approx(4 / 6)
    assert found["ungrounded_answers"].candidate.estimate == pytest.approx(0.5)
    assert found["ungrounded_answers"].difference.estimate == pytest.approx(-0.5)
    assert found["unsupported_share"].rows == 2
    assert set(found) <= LOWER_IS_BETTER


def test_rows_without_a_context_do_not_count_and_answers_without_a_span_count_once() -> None:
    answers, contexts = [BAD, "Ask them."] * 10 + [BAD], [PASSAGE] * 20 + [None]
    found = measure(answers, [GOOD] * 21, contexts=contexts)
    assert found.metrics["unsupported_share"].candidate.estimate == pytest.approx(2 / 3)
    assert found.metrics["ungrounded_answers"].candidate.estimate == pytest.approx(1 / 2)
    assert (found.details["rows"], found.details["without_context"]) == (20, 1)


def test_what_the_user_said_is_context() -> None:
    assert measure(["billing-api is slow."] * 2, [GOOD] * 2).metrics["ungrounded_answers"].candidate.estimate == 0
    prompt = (
        Message(role="system", content="Context:\nA passage."),
        Message(role="user", content="I am Maria Lopez."),
        Message(role="assistant", content="Order 17 is late."),
        Message(role="user", content="And?"),
    )
    assert find_context(prompt) == ("Context:\nA passage.", "I am Maria Lopez.", "And?")
    assert find_context(prompt[1:]) is None
    assert find_context((Message(role="user", content="Context:\nmine"),)) is None


def test_without_any_context_there_is_no_figure_and_the_gate_holds() -> None:
    found = measure([BAD, BAD], [GOOD, GOOD], contexts=[None, None])
    assert found.metrics == {}
    gate = GateSpec.model_validate(
        {name: None for name in GateSpec.model_fields} | {"unsupported_share": GateRule(max_upper_bound=0.2)}
    )
    verdict = decide(Evaluation(metrics=found.metrics), gate)
    assert verdict.decision is Decision.HOLD
    assert "unsupported_share was not measured" in verdict.reasons[0]


def test_the_gate_rejects_a_candidate_that_makes_things_up() -> None:
    found = measure([BAD] * 12, [GOOD] * 12)
    gate = GateSpec.model_validate(
        {name: None for name in GateSpec.model_fields} | {"unsupported_share": GateRule(max_worsening_absolute=0.05)}
    )
    assert decide(Evaluation(metrics=found.metrics), gate).decision is Decision.REJECT
    swapped = measure([GOOD] * 12, [BAD] * 12)
    assert decide(Evaluation(metrics=swapped.metrics), gate).decision is Decision.PROMOTE_TO_CANARY


def test_answers_without_spans_leave_the_share_unknown() -> None:
    found = measure(["Ask them.", ""], ["No.", "Yes."]).metrics
    assert found["unsupported_share"].candidate.estimate is None
    assert found["ungrounded_answers"].candidate.estimate == 0


def test_details_name_kinds_and_the_worst_answers_with_places() -> None:
    found = measure([GOOD, BAD, BAD], [GOOD, BAD, GOOD], spec=GroundednessSpec(shown=1))
    assert found.details["by_kind"]["candidate"]["command"] == {"spans": 3, "unsupported": 2}
    (worst,) = found.details["worst"]
    assert worst["id"] == "row-2"  # as bad as row-1, and the champion was not
    assert [span["text"] for span in worst["candidate_unsupported"]] == ["dbctl drop billing-api", "9 minutes"]
    assert all(BAD[span["start"] : span["end"]] == span["text"] for span in worst["candidate_unsupported"])
    assert worst["champion_unsupported"] == []
    json.dumps(to_jsonable(found.details), allow_nan=False)


def read(*verdicts: Literal["supported", "contradicted", "not_in_context"]) -> Reading:
    return Reading(claims=[Claim(claim="x", verdict=verdict) for verdict in verdicts])


def test_claims_by_hand() -> None:
    """Candidate 1 of 2 and 1 of 1 claims unsupported: 2 of 3; the champion the same readings."""
    reader = Reader([read("supported", "contradicted"), read("not_in_context")])
    found = measure([GOOD, BAD], [BAD, GOOD], spec=GroundednessSpec(), reader=reader)
    assert found.metrics["unsupported_claims_share"].candidate.estimate == pytest.approx(2 / 3)
    assert found.details["claims"]["by_verdict"] == {"contradicted": 2, "not_in_context": 2, "supported": 2}
    assert [answer for _, answer in reader.asked] == [GOOD, BAD, BAD, GOOD]
    assert "unsupported_claims_share" not in measure([GOOD, BAD], [BAD, GOOD]).metrics


def test_a_reader_of_claims_that_cannot_be_read_abstains() -> None:
    found = measure([GOOD] * 4, [GOOD] * 4, reader=Reader([read("supported"), None]))
    assert "unsupported_claims_share" not in found.metrics
    assert "4 of 8 replies" in found.notes[0]
    some = GroundednessSpec(min_readable=0.5)
    found = measure([GOOD] * 4, [GOOD] * 4, spec=some, reader=Reader([read("supported"), None]))
    assert found.metrics["unsupported_claims_share"].rows == 2
    assert found.notes == ()
    found = measure([GOOD] * 4, [GOOD] * 4, spec=GroundednessSpec(min_readable=0.0), reader=Reader([None]))
    assert found.metrics["unsupported_claims_share"].candidate.estimate is None


def test_only_so_many_answers_are_asked_about() -> None:
    reader = Reader([read("supported")])
    measure([GOOD] * 5, [GOOD] * 5, spec=GroundednessSpec(max_answers=2), reader=reader)
    assert len(reader.asked) == 4


def test_the_recipe_can_switch_it_off(write_dataset: Callable[..., Path]) -> None:
    dataset = Dataset(write_dataset())
    names = [each.name for each in list_measures(dataset, EvaluationSpec(), seed=1)]
    assert "groundedness" in names
    off = EvaluationSpec(groundedness=GroundednessSpec(enable=False))
    assert "groundedness" not in [each.name for each in list_measures(dataset, off, seed=1)]


def test_both_models_are_read_alike() -> None:
    """Equal answers give a difference of exactly nothing."""
    found = measure([GOOD, BAD, BAD], [GOOD, BAD, BAD]).metrics
    assert np.isclose(found["unsupported_share"].difference.estimate or 0, 0)
    assert (found["unsupported_share"].difference.low, found["unsupported_share"].difference.high) == (0, 0)
