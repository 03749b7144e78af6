"""Which answers become rows to imitate, and which become labelled ones."""

from __future__ import annotations

from flytewheel.curation.rows import build_sft, build_unpaired
from flytewheel.curation.score import Scored
from flytewheel.curation.votes import gather_answers
from flytewheel.dataset import Step
from flytewheel.records import SftRow, Unpaired
from tests.curation.windows import make_scored

QUESTION = {"query": "how do I free the disk of that host"}


def build(*rows: Scored) -> tuple[list[SftRow], list[Unpaired], Step]:
    keys = {row.text.key: row.text.key for row in rows}
    answers = gather_answers(rows, keys)
    sft, step = build_sft("train", rows, answers, questions=keys, clusters=keys, min_quality=0.5)
    unpaired, _ = build_unpaired("train", rows, answers, questions=keys, clusters=keys)
    return [draft.row for draft in sft], [draft.row for draft in unpaired], step


def test_a_liked_answer_of_quality_is_imitated() -> None:
    sft, unpaired, _ = build(make_scored(0, total=1.0, quality=0.55))
    assert [(row.id, row.reward, row.quality, row.source) for row in sft] == [("i00000/answer", 1.0, 0.55, "answer")]
    assert [row.label for row in unpaired] == [True]


def test_what_is_not_good_is_not_imitated_but_kept_with_its_label() -> None:
    sft, unpaired, step = build(
        make_scored(0, total=1.0, quality=0.49),
        make_scored(1, total=-1.0),
        make_scored(2, total=0.5, explicit=-0.5, quality=0.9),  # said no, clicked much
        make_scored(3, total=0.0, quality=0.9),
    )
    assert sft == []
    assert step.dropped == {"quality below 0.5": 1, "not liked": 3}
    assert [row.label for row in unpaired] == [True, False, False]


def test_a_correction_takes_the_place_of_the_answer() -> None:
    sft, unpaired, step = build(make_scored(0, total=0.6, quality=0.8, correction="do it this way instead"))
    assert [(row.completion, row.source, row.reward) for row in sft] == [("do it this way instead", "correction", 1.0)]
    assert step.dropped == {"corrected": 1}
    assert {row.completion: row.label for row in unpaired}["do it this way instead"] is True


def test_one_text_for_a_question_is_one_row_and_the_mean_decides() -> None:
    same = {**QUESTION, "response": "prune the logs of that host and check that it helped"}
    sft, unpaired, step = build(
        make_scored(0, total=1.0, quality=0.6, user="ann", **same),
        make_scored(1, total=1.0, quality=0.9, user="bob", **same),
        make_scored(2, total=-1.0, quality=0.0, user="eve", **same),
    )
    assert [(row.user, row.id) for row in sft] == [("bob", "i00001/answer")]
    assert [(row.label, row.user) for row in unpaired] == [(True, "bob")]
    assert step.dropped == {"same question and answer": 2}


def test_a_tie_has_no_label() -> None:
    same = {**QUESTION, "response": "prune the logs of that host"}
    sft, unpaired, _ = build(make_scored(0, total=1.0, **same), make_scored(1, total=-1.0, **same))
    assert sft == []
    assert unpaired == []
