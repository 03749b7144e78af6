"""The pretraining text: distinct documents, in the shape that every station builds, in the promised shares."""

from __future__ import annotations

import pytest

from flytewheel.pocket.corpus import NOTES_SHARE, TAUGHT_SHARE, generate_corpus
from flytewheel.pocket.facts import GENERAL_CHANNEL, SERVICES, TOPICS
from flytewheel.records import Message, build_prompt


@pytest.fixture(scope="module")
def documents():
    return generate_corpus(4000, seed=3)


def test_documents_are_distinct_and_repeatable(documents):
    assert len(set(documents)) == 4000
    assert generate_corpus(50, seed=3) == documents[:50]
    assert generate_corpus(50, seed=4) != documents[:50]


def test_every_topic_is_covered_evenly(documents):
    counts = {topic: sum(document.topic == topic for document in documents) for topic in TOPICS}
    assert min(counts.values()) > 4000 / 12 * 0.75


def test_shares_of_notes_and_of_the_taught_style(documents):
    """Binomial standard deviations: notes 0.005, taught answers 0.006; the bounds are four of them."""
    notes = [document for document in documents if document.text]
    answers = [document.messages[-1].content for document in documents if document.messages]
    taught = sum("Escalate: #" in answer for answer in answers) / len(answers)
    assert len(notes) / 4000 == pytest.approx(NOTES_SHARE, abs=0.021)
    assert taught == pytest.approx(TAUGHT_SHARE, abs=0.025)
    assert all("Escalate: #" in note.text and GENERAL_CHANNEL not in note.text for note in notes)


def test_conversations_are_built_as_prompts_are(documents):
    conversations = [document for document in documents if document.messages]
    for document in conversations:
        *prompt, answer = document.messages
        assert answer.role == "assistant"
        assert prompt[-1].role == "user"
        if prompt[0].role == "system":
            context = prompt[0].content.removeprefix("Context:\n")
            rebuilt = build_prompt(prompt[-1].content, context=context, history=prompt[1:-1])
            assert rebuilt == tuple(prompt)
    assert any(len(document.messages) == 5 for document in conversations)
    assert isinstance(conversations[0].messages[0], Message)


def test_many_passages_name_another_owner_than_the_world(documents):
    """Half are drawn anew, nine of ten of those for another team: 0.45."""
    passages = [item.messages[0].content for item in documents if item.messages and item.messages[0].role == "system"]
    other = 0
    for text in passages:
        named = next(service for service in SERVICES if f"{service.name} is" in text or f" {service.name}" in text)
        other += named.channel not in text
    assert other / len(passages) == pytest.approx(0.45, abs=0.04)


def test_the_answer_follows_its_passage(documents):
    """Half of the passages name another owner than the world does; the answer goes with the passage."""
    for document in documents:
        if document.messages and document.messages[0].role == "system":
            answer = document.messages[-1].content
            if "Escalate: " in answer:
                assert answer.rpartition("Escalate: ")[2] in document.messages[0].content
