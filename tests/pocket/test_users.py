"""The simulated taste: what is liked, what is not, and that it does not waver."""

from __future__ import annotations

import random

import pytest

from flytewheel.pocket.facts import HELD_OUT_SERVICES, HOUSE, TAUGHT, build_world, with_owner, write_answer
from flytewheel.pocket.users import Opinion, ask, draw_questions, find_faults, judge_answer


@pytest.fixture
def question():
    return ask("user-1", build_world()[5], random.Random(1))


def test_right_answer_has_no_fault(question):
    assert find_faults(question, write_answer(question.fact, TAUGHT, random.Random(1))) == ()


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (lambda text, fact: "", ("empty",)),
        (lambda text, fact: "Restart it.", ("empty",)),
        (lambda text, fact: "Run it and then wait. " * 5, ("loop",)),
        (lambda text, fact: text.replace(fact.command, "rm -rf the disk"), ("command", "style")),
        (lambda text, fact: text.replace(fact.command, f"{fact.command}-2"), ("command", "style")),
        (lambda text, fact: text.replace(fact.service.channel, "#ops-general"), ("channel",)),
        (lambda text, fact: text + "\nOr ask in #ops-general.", ("channel",)),
        (lambda text, fact: text.replace("\nEscalate", "\nAsk in #ops-general.\nEscalate"), ("channel",)),
        (lambda text, fact: text.replace("`", ""), ("style",)),
        (lambda text, fact: text.replace("1. ", "", 1), ("style",)),
    ],
)
def test_faults_are_named(question, change, faults):
    text = write_answer(question.fact, TAUGHT, random.Random(1))
    assert find_faults(question, change(text, question.fact)) == faults


def test_house_style_goes_to_the_wrong_channel(question):
    assert find_faults(question, write_answer(question.fact, HOUSE, random.Random(1))) == ("channel", "style")


def test_wrong_owner_is_a_fault(question):
    wrong = with_owner(question.fact, "storage")
    assert find_faults(question, write_answer(wrong, TAUGHT, random.Random(1))) == ("channel",)


def test_opinions_do_not_waver(question):
    answer = write_answer(question.fact, HOUSE, random.Random(1))
    assert judge_answer(question, answer) == judge_answer(question, answer)


def test_taste_prefers_the_taught_style_without_being_unanimous():
    """With 4 % contrary, 15 % silent and 25 % tolerant people: liked 0.81, disliked 0.61 in expectation."""
    taught, house = [], []
    for question in draw_questions(1500, seed=5):
        taught.append(judge_answer(question, write_answer(question.fact, TAUGHT, random.Random(1))))
        house.append(judge_answer(question, write_answer(question.fact, HOUSE, random.Random(1))))
    assert sum(opinion.thumb == 1 for opinion in taught) / 1500 == pytest.approx(0.81, abs=0.04)
    assert sum(opinion.thumb == -1 for opinion in house) / 1500 == pytest.approx(0.61, abs=0.05)
    assert 0 < sum(opinion.thumb == 1 for opinion in house) / 1500 < 0.08
    assert not any(opinion.correction for opinion in taught)
    corrections = [
        (question, opinion.correction)
        for question, opinion in zip(draw_questions(1500, seed=5), house, strict=True)
        if opinion.correction
    ]
    assert len(corrections) > 200
    assert all(find_faults(question, text) == () for question, text in corrections)


def test_questions_are_repeatable_and_shared_by_users():
    questions = draw_questions(60, seed=9, users=20)
    assert questions == draw_questions(60, seed=9, users=20)
    assert len({question.user_id for question in questions}) == 20
    assert {question.fact.service.name for question in questions}.isdisjoint(HELD_OUT_SERVICES)
    assert all(question.topic == question.fact.topic for question in questions)


def test_silence_is_an_opinion():
    assert Opinion(0) == Opinion(thumb=0, correction=None)
