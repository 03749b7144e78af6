"""The invented world: complete, fixed, and free of answers that could be mistaken for one another."""

from __future__ import annotations

import random

from flytewheel.pocket.facts import (
    GENERAL_CHANNEL,
    HELD_OUT_SERVICES,
    HOUSE,
    SERVICES,
    SYMPTOMS,
    TAUGHT,
    TEAMS,
    build_world,
    with_owner,
    write_answer,
    write_passage,
    write_question,
)


def test_world_has_every_service_with_every_symptom():
    world = build_world()
    assert len(SERVICES) == 40
    assert len({service.name for service in SERVICES}) == 40
    assert len(SYMPTOMS) == len({symptom.topic for symptom in SYMPTOMS}) == 12
    assert len({(fact.service.name, fact.symptom.name) for fact in world}) == len(world) == 480
    assert {service.name for service in SERVICES} > HELD_OUT_SERVICES


def test_world_is_fixed_for_ever():
    """The variant of a step hangs on a text seed; were it to change, weights and log would disagree."""
    fact = build_world()[0]
    assert (fact.service.name, fact.symptom.name) == ("billing-api", "slow queries")
    assert fact.command in {"dbctl kill-idle billing-api", "dbctl analyze billing-api", "dbctl add-replica billing-api"}
    build_world.cache_clear()
    assert build_world()[0] == fact


def test_commands_of_one_service_differ_between_symptoms():
    for service in SERVICES:
        commands = [fact.command for fact in build_world() if fact.service == service]
        assert len(set(commands)) == len(SYMPTOMS)


def test_passage_holds_all_that_an_answer_needs():
    chance = random.Random(1)
    for fact in build_world():
        passage = write_passage(fact, chance)
        for part in (fact.command, fact.look, fact.check, fact.service.channel, fact.service.team):
            assert part in passage
        assert GENERAL_CHANNEL not in passage
        assert fact.service.name in write_question(fact, chance)


def test_taught_answer_is_numbered_and_ends_with_the_owner():
    fact = with_owner(build_world()[0], TEAMS[-1])
    lines = write_answer(fact, TAUGHT, random.Random(2)).splitlines()
    assert [line[:2] for line in lines[:3]] == ["1.", "2.", "3."]
    assert f"`{fact.command}`" in lines[1]
    assert lines[3] == "Escalate: #storage-oncall"


def test_house_answers_open_alike_and_never_name_the_owner():
    fact = build_world()[100]
    answers = {write_answer(fact, HOUSE, random.Random(seed)) for seed in range(20)}
    assert len(answers) == 3
    for answer in answers:
        assert answer.startswith("First ")
        assert fact.command in answer
        assert GENERAL_CHANNEL in answer
        assert fact.service.channel not in answer
