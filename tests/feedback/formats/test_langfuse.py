"""Langfuse exports: nested traces, tables, and one file each of traces, observations and scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.records import Message
from tests.feedback.formats.foreign import turn, turn_files, write

NOON = "2025-11-09T12:00:00.000Z"


def generation(name: str = "g1", answer: Any = "Scale the workers.", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "traceId": "t1",
        "type": "GENERATION",
        "name": "chat",
        "startTime": NOON,
        "endTime": "2025-11-09T12:00:01.500Z",
        "model": "base-1",
        "input": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "It grows."}]},
        "output": {"role": "assistant", "content": answer},
        "level": "DEFAULT",
        "latency": 1.5,
        **more,
    }


def score(name: str, value: Any, kind: str = "NUMERIC", *, source: str = "API", **more: Any) -> dict[str, Any]:
    return {
        "id": f"s-{name}-{value}",
        "traceId": "t1",
        "observationId": None,
        "name": name,
        "value": value,
        "dataType": kind,
        "source": source,
        "timestamp": "2025-11-09T12:05:00.000Z",
        **more,
    }


def trace(*scores: dict[str, Any], observations: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "t1",
        "timestamp": NOON,
        "name": "chat",
        "userId": "ann@example.com",
        "sessionId": "s1",
        "tags": ["oncall"],
        "metadata": {"plan": "pro"},
        "input": {"messages": [{"role": "user", "content": "It grows."}]},
        "output": "Scale the workers.",
        "observations": [generation()] if observations is None else observations,
        "scores": list(scores),
        **more,
    }


def test_trace_with_a_generation_and_scores(tmp_path: Path) -> None:
    scores = (
        score("user-feedback", 1, "BOOLEAN", stringValue="True", comment="worked"),
        score("quality", 0.9, source="EVAL"),
        score("hallucination", 0.1),
        score("stars", 4, source="ANNOTATION", observationId="g1", authorUserId="reviewer-1"),
    )
    found = turn("langfuse", tmp_path, trace(*scores), name="traces.json")
    [said] = found.interactions
    assert (said.interaction_id, said.session_id, said.topic, said.model_version) == ("t1", "s1", "oncall", "base-1")
    assert (said.query, said.response, said.latency_ms, said.completed) == (
        "It grows.",
        "Scale the workers.",
        1500,
        True,
    )
    assert said.history == (Message(role="system", content="Be brief."),)
    assert said.user_id.startswith("user-")
    assert found.said() == [("t1", "thumbs_up", None), ("t1", "rating", 4.0)]
    assert [event.comment for event in found.events] == ["worked", None]
    assert [event.user_id for event in found.events] == [said.user_id, "reviewer-1"]
    assert found.recognised.notes == {"scores of a judge (EVAL), left out": 1, "scores of a metric, left out": 1}
    assert b"example.com" not in b"".join(found.logs)


@pytest.mark.parametrize(
    ("given", "kind", "rating"),
    [
        (score("user-feedback", 1), "thumbs_up", None),
        (score("user-feedback", 0), "thumbs_down", None),
        (score("user-feedback", -1), "thumbs_down", None),
        (score("user-feedback", 0, "BOOLEAN", stringValue="False"), "thumbs_down", None),
        (score("user-feedback", "1", "BOOLEAN"), "thumbs_up", None),
        (score("stars", 1), "rating", 1.0),
        (score("helpfulness", 0.5), "rating", 3.0),
        (score("verdict", None, "CATEGORICAL", stringValue="good"), "thumbs_up", None),
        (score("verdict", 0, "CATEGORICAL", stringValue="incorrect"), "thumbs_down", None),
        (score("verdict", "👍", "CATEGORICAL"), "thumbs_up", None),
        (score("hallucination", 1, "BOOLEAN", source="ANNOTATION"), "thumbs_down", None),
        (score("output", 0, "CORRECTION", stringValue="Restart it."), "correction", None),
        (score("output", "Restart it.", "CORRECTION"), "correction", None),
        (score("correction", 0, "CATEGORICAL", stringValue='{"content": "Restart it."}'), "correction", None),
        (score("remark", 0, "TEXT", stringValue="too long"), "follow_up", None),
        (score("user-feedback", None, comment="too long"), "follow_up", None),
    ],
)
def test_scores(tmp_path: Path, given: dict[str, Any], kind: str, rating: float | None) -> None:
    found = turn("langfuse", tmp_path, trace(given))
    assert found.said() == [("t1", kind, rating)]
    assert found.faults == []
    if kind == "correction":
        assert found.events[0].corrected_response == "Restart it."
    if kind == "follow_up":
        assert found.events[0].comment == "too long"


@pytest.mark.parametrize(
    ("given", "note"),
    [
        (score("hallucination", 0, "BOOLEAN", source="ANNOTATION"), "scores that say neither yes nor no"),
        (score("verdict", 0, "CATEGORICAL", stringValue="neutral"), "scores that say neither yes nor no"),
        (score("helpful", 1, source="EVAL"), "scores of a judge (EVAL), left out"),
        (score("answer_relevancy", 0.3), "scores of a metric, left out"),
        ({**score("csat", 5), "traceId": None, "sessionId": "s1"}, "scores of a session or a data set run, left out"),
    ],
)
def test_scores_that_are_left_out_are_counted(tmp_path: Path, given: dict[str, Any], note: str) -> None:
    found = turn("langfuse", tmp_path, trace(given))
    assert len(found.interactions) == 1
    assert (found.events, found.faults) == ([], [])
    assert found.recognised.notes[note] == 1


def test_unknown_word_is_held(tmp_path: Path) -> None:
    assert turn("langfuse", tmp_path, trace(score("verdict", None, "CATEGORICAL", stringValue="blue"))).reasons == [
        "unknown feedback_type"
    ]


def test_steps_of_an_agent_are_counted_only(tmp_path: Path) -> None:
    steps = [
        generation("g0", "rewritten question", startTime="2025-11-09T11:59:00Z"),
        generation("g1", startTime="2025-11-09T11:59:30Z"),
        generation("g2", "a summary for the log", startTime="2025-11-09T12:09:00Z"),
        {"id": "x", "traceId": "t1", "type": "SPAN", "input": "a", "output": "b"},
    ]
    found = turn("langfuse", tmp_path, trace(score("user-feedback", 1), observations=steps))
    assert [(each.interaction_id, each.response) for each in found.interactions] == [("t1", "Scale the workers.")]
    assert found.recognised.notes["generations within a trace without a score, left out"] == 2
    found = turn("langfuse", tmp_path, trace(score("good", 0, observationId="g2"), observations=steps))
    assert found.said() == [("g2", "thumbs_down", None)]
    assert [each.interaction_id for each in found.interactions] == ["g2", "t1"]


def test_turns_of_a_conversation_in_one_trace(tmp_path: Path) -> None:
    later = [{"role": "user", "content": "It grows."}, {"role": "assistant", "content": "Scale the workers."}]
    turns = [
        generation("g1"),
        generation("g2", "No.", input=[*later, {"role": "user", "content": "Sure?"}], startTime="2025-11-09T12:09:00Z"),
    ]
    found = turn("langfuse", tmp_path, trace(observations=turns, output=None))
    assert [(each.interaction_id, each.query) for each in found.interactions] == [("g1", "It grows."), ("t1", "Sure?")]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"input": "Why?", "output": "So."}, ("Why?", "So.")),
        ({"input": {"prompt": "Why?"}, "output": {"completion": "So."}}, ("Why?", "So.")),
        ({"input": {"question": "Why?"}, "output": {"answer": "So."}}, ("Why?", "So.")),
        ({"input": '[{"role": "user", "content": "Why?"}]', "output": '{"content": "So."}'}, ("Why?", "So.")),
        ({"input": [[{"type": "human", "content": "Why?"}]], "output": {"generations": "So."}}, ("Why?", "So.")),
        ({"input": {"args": [], "kwargs": {"query": "Why?"}}, "output": "So."}, ("Why?", "So.")),
        ({"input": "Why?", "output": {"choices": [{"message": {"content": "So."}}]}}, ("Why?", "So.")),
        ({"input": "Why?", "output": [{"role": "assistant", "content": "So."}]}, ("Why?", "So.")),
    ],
)
def test_inputs_and_outputs(tmp_path: Path, given: dict[str, Any], wanted: tuple[str, str]) -> None:
    for row in (trace(observations=[], **given), trace(observations=[generation(**given)])):
        [said] = turn("langfuse", tmp_path, row).interactions
        assert (said.query, said.response) == wanted


def test_failed_generation_is_incomplete(tmp_path: Path) -> None:
    failed = generation(output=None, level="ERROR", statusMessage="timeout")
    [said] = turn("langfuse", tmp_path, trace(observations=[failed], output=None)).interactions
    assert (said.response, said.completed, said.metadata) == ("", False, {"plan": "pro", "level": "ERROR"})


def test_expected_output_is_a_correction(tmp_path: Path) -> None:
    found = turn("langfuse", tmp_path, trace(expectedOutput={"content": "Restart it."}))
    assert [(event.feedback_type.value, event.corrected_response) for event in found.events] == [
        ("correction", "Restart it.")
    ]


def snake(row: dict[str, Any]) -> dict[str, Any]:
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): value for key, value in row.items()}


def test_one_file_each(tmp_path: Path) -> None:
    """As the export to object storage writes them, and in any order of the files."""
    whole = trace()
    del whole["observations"], whole["scores"]
    files = [
        write(tmp_path / "scores.jsonl.gz", [snake(score("user-feedback", 1)), snake(score("x", 1, traceId="t9"))]),
        write(tmp_path / "observations.jsonl", [snake(generation(input=json.dumps(generation()["input"])))]),
        write(tmp_path / "traces.json", [snake(whole)]),
    ]
    first = turn_files("langfuse", tmp_path, *files)
    second = turn_files("langfuse", tmp_path, *files[::-1])
    assert first.interactions == second.interactions
    assert [(each.interaction_id, each.query, each.response) for each in first.interactions] == [
        ("t1", "It grows.", "Scale the workers.")
    ]
    assert sorted(first.said()) == sorted(second.said()) == [("t1", "thumbs_up", None), ("t9", "thumbs_up", None)]


def test_table_as_csv(tmp_path: Path) -> None:
    """Columns of votes hold a list; others that look like figures are no votes of people."""
    head = ["id", "timestamp", "name", "userId", "input", "output", "latency", "user-feedback", "toxicity"]
    asked = json.dumps({"messages": [{"role": "user", "content": "Why?\nReally, why?"}]})
    with (tmp_path / "traces.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerows([head, ["t1", NOON, "chat", "u-1", asked, '"So."', "1.25", "[1]", "[0.3]"]])
        writer.writerow(["t2", NOON, "chat", "u-2", asked, "So, there", "", "0", ""])
    found = turn_files("langfuse", tmp_path, tmp_path / "traces.csv")
    assert [(each.query, each.response, each.latency_ms) for each in found.interactions] == [
        ("Why?\nReally, why?", "So.", 1250),
        ("Why?\nReally, why?", "So, there", None),
    ]
    assert found.said() == [("t1", "thumbs_up", None), ("t2", "thumbs_down", None)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"hello": 1}, "unknown kind of row"),
        ([], "not an object"),
        (trace(observations=[], input=None), "missing query"),
        (trace(observations=[], output=None), "missing response"),
        (trace(observations=[], input=7), "missing response"),
        (trace(timestamp="yesterday", observations=[]), "wrong timestamp"),
    ],
)
def test_faults_are_held_by_reason(tmp_path: Path, row: Any, reason: str) -> None:
    found = turn("langfuse", tmp_path, row, {**trace(), "id": "t2"})
    assert found.reasons == [reason]
    assert [each.interaction_id for each in found.interactions] == ["t2"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OF_TRACE = st.dictionaries(st.sampled_from(list(trace())), ANYTHING, max_size=3)
OF_GENERATION = st.dictionaries(st.sampled_from(list(generation())), ANYTHING, max_size=3)
OF_SCORE = st.dictionaries(st.sampled_from([*score("a", 1), "stringValue", "comment"]), ANYTHING, max_size=3)


@settings(deadline=None, max_examples=150)
@given(OF_TRACE, OF_GENERATION, OF_SCORE)
def test_any_field_may_hold_anything(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    row = {**trace(score("user-feedback", 1) | three, observations=[generation(**two)]), **one}
    found = turn("langfuse", tmp_path_factory.mktemp("any"), row)
    assert found.recognised.rows == 1
    assert found.logs[0]
