from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import EvaluationError
from flytewheel.evaluation.questions import Questions, choose, gather_questions
from flytewheel.recipe import BaseModelSpec, EvaluationSpec
from flytewheel.records import Message, Preference, RegressionCase, SftRow

LONG = "the queue of the billing service grows and grows, " * 60


def row(identifier: str, question: str = "Hi?", answer: str = "Yes.") -> SftRow:
    return SftRow(identifier, "ann", "ops", (Message(role="user", content=question),), answer, 1.0, 1.0, "answer")


def gather(dataset: Path, loaded: tuple[Any, Any], base: BaseModelSpec, **options: int) -> Questions:
    data = Dataset(dataset)
    return gather_questions(data, data.regression(), loaded[1], loaded[0], base, EvaluationSpec(**options), 7)


def test_the_choice_ignores_order_and_a_smaller_one_is_a_part_of_a_larger() -> None:
    rows = [row(str(n)) for n in range(50)]
    few, many = choose(rows, 10, 3), choose(list(reversed(rows)), 20, 3)
    assert many[:10] == few
    assert choose(rows, 10, 4) != few
    assert len(choose(rows, 100, 3)) == 50


def test_what_is_longer_than_the_room_is_left_out_and_counted(
    write_dataset: Callable[..., Path], loaded: tuple[Any, Any], base: BaseModelSpec
) -> None:
    prompt = (Message(role="user", content="Hi?"),)
    dataset = write_dataset(
        rows=[row("short"), row("long answer", answer=LONG), row("long question", question=LONG)],
        pairs=[Preference("p", "ann", "ops", prompt, "Yes.", LONG, 1.0, "same_prompt")],
        cases=[RegressionCase("c", "ann", "ops", (Message(role="user", content=LONG),), "forbidden", "no")],
    )
    found = gather(dataset, loaded, base, max_new_tokens=16)
    assert [item.id for item, _ in found.scored] == ["short"]
    assert sorted(item.id for item, _ in found.prompts) == ["long answer", "short"]
    assert found.pairs == []
    assert found.cases[0][1] is None
    assert found.skipped == {"scored": 2, "pairs": 1, "prompts": 1, "cases": 1}


def test_the_limits_are_kept(write_dataset: Callable[..., Path], loaded: tuple[Any, Any], base: BaseModelSpec) -> None:
    found = gather(write_dataset(), loaded, base, max_scored_rows=5, max_examples=3)
    assert (len(found.scored), len(found.pairs), len(found.prompts), len(found.cases)) == (5, 5, 3, 8)
    assert [item.id for item, _ in found.prompts] == [item.id for item, _ in found.scored[:3]]


def test_answers_must_leave_room_for_a_prompt(
    write_dataset: Callable[..., Path], loaded: tuple[Any, Any], base: BaseModelSpec
) -> None:
    with pytest.raises(EvaluationError, match=r"max_new_tokens 600: expected fewer than the model's 512 positions"):
        gather(write_dataset(), loaded, base, max_new_tokens=600)
