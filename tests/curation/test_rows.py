"""Which answers become rows to imitate, and which become labelled ones."""

from __future__ import annotations

from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Judged
from flytewheel.curation.rows import build_sft, build_unpaired
from flytewheel.curation.votes import gather_answers
from tests.curation.windows import make_judged

SAME = {"prompt": 5, "cluster": 5, "question": 5, "answer": 55}


def build(*rows: Judged) -> tuple[list[Draft], list[Draft], Account]:
    answers = gather_answers(rows)
    sft, account = build_sft("train", rows, answers, min_quality=0.5)
    return sft, build_unpaired("train", rows, answers)[0], account


def test_a_liked_answer_of_quality_is_imitated() -> None:
    sft, unpaired, _ = build(make_judged(0, total=1.0, quality=0.55, surprise=2.5))
    assert [(row.id, row.reward, row.quality, row.source, row.texts, row.surprise) for row in sft] == [
        ("i00000/answer", 1.0, 0.55, "answer", ((0, "response"),), 2.5)
    ]
    assert [row.label for row in unpaired] == [True]


def test_what_is_not_good_is_not_imitated_but_kept_with_its_label() -> None:
    sft, unpaired, account = build(
        make_judged(0, total=1.0, quality=0.49),
        make_judged(1, total=-1.0),
        make_judged(2, total=0.5, explicit=-0.5, quality=0.9),  # said no, clicked much
        make_judged(3, total=0.0, quality=0.9),
    )
    assert sft == []
    assert account.dropped == {"quality below 0.5": 1, "not liked": 3}
    assert [row.label for row in unpaired] == [True, False, False]


def test_a_correction_or_an_edit_takes_the_place_of_the_answer() -> None:
    for source in ("correction", "edit"):
        one = make_judged(0, total=0.6, quality=0.8, correction=77, correction_source=source)
        sft, unpaired, account = build(one)
        assert [(row.texts, row.source, row.reward, row.quality, row.id) for row in sft] == [
            (((0, "correction"),), source, 1.0, 0.55, f"i00000/{source}")
        ]
        assert account.dropped == {"corrected": 1}
        assert [(row.texts[0][1], row.label) for row in unpaired] == [("response", True), ("correction", True)]


def test_a_correction_that_somebody_was_given_as_an_answer_is_one_row() -> None:
    rows = [
        make_judged(0, total=-0.5, **{**SAME, "answer": 1}, correction=55),
        make_judged(1, total=1.0, quality=0.9, **SAME),
    ]
    sft, unpaired, account = build(*rows)
    assert [row.id for row in sft] == ["i00000/correction"]
    assert account.dropped == {"corrected": 1, "same question and answer": 1}
    assert sorted(row.id for row in unpaired) == ["i00000/answer", "i00001/answer"]


def test_one_text_for_a_question_is_one_row_and_the_mean_decides() -> None:
    sft, unpaired, account = build(
        make_judged(0, total=1.0, quality=0.6, user="ann", **SAME),
        make_judged(1, total=1.0, quality=0.9, user="bob", **SAME),
        make_judged(2, total=-1.0, quality=0.0, user="eve", **SAME),
    )
    assert [(row.user, row.id, row.judged) for row in sft] == [("bob", "i00001/answer", (0, 1, 2))]
    assert [(row.label, row.user) for row in unpaired] == [(True, "bob")]
    assert account.dropped == {"same question and answer": 2}


def test_a_tie_has_no_label() -> None:
    sft, unpaired, _ = build(make_judged(0, total=1.0, **SAME), make_judged(1, total=-1.0, **SAME))
    assert sft == []
    assert unpaired == []


def test_nothing_said_is_no_label() -> None:
    silent = make_judged(0, total=0.6, quality=0.8)._replace(explicit=None)
    sft, unpaired, _ = build(silent)
    assert len(sft) == 1
    assert unpaired == []
