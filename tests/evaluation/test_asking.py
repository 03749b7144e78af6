from __future__ import annotations

from typing import Any

import pytest

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.asking import Ask, Questionnaire, Weigh
from flytewheel.evaluation.choice import choose
from flytewheel.evaluation.generate import generate_answers
from flytewheel.evaluation.perplexity import encode_prompt
from flytewheel.recipe import BaseModelSpec, EvaluationSpec
from flytewheel.records import Message, SftRow

LONG = "the queue of the billing service grows and grows, " * 60


def prompt(text: str = "Hi?") -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def row(identifier: str) -> SftRow:
    return SftRow(identifier, "ann", "ops", prompt(), "Yes.", 1.0, 1.0, "answer")


def questions(loaded: tuple[Any, Any], base: BaseModelSpec, **options: int) -> Questionnaire:
    spec = EvaluationSpec(**{"max_new_tokens": 8, **options})
    return Questionnaire(loaded[1], loaded[0].config, base, spec, seed=7)


def test_the_choice_ignores_order_and_a_smaller_one_is_a_part_of_a_larger() -> None:
    rows = [row(str(n)) for n in range(50)]
    few, many = choose(rows, 10, 3), choose(list(reversed(rows)), 20, 3)
    assert many[:10] == few
    assert choose(rows, 10, 4) != few
    assert len(choose(rows, 100, 3)) == 50


def test_what_is_longer_than_the_room_is_left_out_and_counted(loaded: tuple[Any, Any], base: BaseModelSpec) -> None:
    asked = questions(loaded, base)
    asked.add(
        "one",
        [Ask(prompt()), Ask(prompt(LONG))],
        [Weigh(prompt(), LONG), Weigh(prompt(LONG), "a"), Weigh(prompt(), "a")],
    )
    asked.add("two", [Ask(prompt())], [])
    assert asked.skipped == {"one": 3}
    heard = asked.hear(loaded[0], (), "somebody")
    assert [len(replies) for replies in heard["one"].replies] == [1, 0]
    assert [score is None for score in heard["one"].scores] == [True, True, False]
    assert heard["one"].say(0) == heard["two"].say(0) != ""
    assert heard["one"].say(1) == ""


def test_the_bare_base_is_asked_what_is_meant_for_it(loaded: tuple[Any, Any], base: BaseModelSpec) -> None:
    asked = questions(loaded, base)
    asked.add(
        "one",
        [Ask(prompt()), Ask(prompt("Who?"), of_base=True)],
        [Weigh(prompt(), "a"), Weigh(prompt(), "b", of_base=True)],
    )
    heard = asked.hear(loaded[0], (), "base", of_base=True)["one"]
    assert [len(replies) for replies in heard.replies] == [0, 1]
    assert [score is None for score in heard.scores] == [True, False]


def test_a_prefilled_answer_goes_on_from_there(loaded: tuple[Any, Any], base: BaseModelSpec) -> None:
    """The model sees the prompt, its turn's opening and the words put into its mouth, which are not in the reply."""
    model, tokenizer = loaded
    asked = questions(loaded, base)
    asked.add("one", [Ask(prompt(), prefill="Delete old"), Ask(prompt()), Ask(prompt(), prefill=LONG)], [])
    assert asked.skipped == {"one": 1}
    heard = asked.hear(model, (), "somebody")["one"]
    ids = (*encode_prompt(tokenizer, prompt()), *tokenizer("Delete old", add_special_tokens=False)["input_ids"])
    (spoken,) = generate_answers(model, [ids], max_new_tokens=8, batch_size=1, end_tokens=(), pad_id=0)
    assert heard.say(0) == tokenizer.decode(spoken.tokens, skip_special_tokens=True)
    assert heard.say(0) != heard.say(1)


def test_samples_of_a_prompt_stay_when_others_are_added(loaded: tuple[Any, Any], base: BaseModelSpec) -> None:
    few, many = questions(loaded, base), questions(loaded, base)
    wanted = Ask(prompt("Who owns the cache?"), samples=3, temperature=1.5)
    few.add("suite", [wanted], [])
    many.add("suite", [Ask(prompt(), samples=2, temperature=1.5), wanted], [])
    drawn = few.hear(loaded[0], (), "somebody")["suite"].replies[0]
    assert len({reply.text for reply in drawn}) > 1
    assert many.hear(loaded[0], (), "somebody")["suite"].replies[1] == drawn


def test_answers_must_leave_room_for_a_prompt(loaded: tuple[Any, Any], base: BaseModelSpec) -> None:
    with pytest.raises(EvaluationError, match=r"max_new_tokens 600: expected fewer than the model's 512 positions"):
        questions(loaded, base, max_new_tokens=600)
