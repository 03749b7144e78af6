"""The simulated week: the same lines for a seed, everything that a filter looks for, and a taste to be learnt."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from flytewheel.feedback.permute import read_lines
from flytewheel.feedback.simulate import permute_labels, simulate
from flytewheel.pocket.facts import HELD_OUT_SERVICES
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction, RegressionCase, read_jsonl

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = ("interactions.jsonl.gz", "feedback.jsonl.gz")


def _read(path, model):
    """The valid lines of a log by id (the first of each), and how many were not valid or came again."""
    rows, wrong, again = {}, 0, 0
    for text in read_lines(path):
        try:
            row = model.model_validate_json(text)
        except ValidationError:
            wrong += 1
            continue
        name = row.event_id if isinstance(row, FeedbackEvent) else row.interaction_id
        again += name in rows
        rows.setdefault(name, row)
    return rows, wrong, again


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    folder = tmp_path_factory.mktemp("week")
    report = simulate(folder)
    interactions, *_ = _read(folder / FILES[0], Interaction)
    events, *_ = _read(folder / FILES[1], FeedbackEvent)
    return folder, report, interactions, events


def test_bundled_sample_is_what_the_generator_writes(week):
    """Compared unpacked: another zlib may pack the same lines into other bytes."""
    for name in FILES:
        assert gzip.decompress((EXAMPLES / name).read_bytes()) == gzip.decompress((week[0] / name).read_bytes())


def test_same_seed_same_bytes(tmp_path, week):
    simulate(tmp_path / "again")
    simulate(tmp_path / "other", seed=8)
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (week[0] / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (week[0] / name).read_bytes()


def test_lines_are_counted(week):
    folder, report, _, events = week
    assert report.interactions == sum(1 for _ in read_lines(folder / FILES[0]))
    assert report.events == sum(1 for _ in read_lines(folder / FILES[1]))
    assert report.users == 342
    assert set(report.event_types) == set(FeedbackType) - {FeedbackType.EDIT, FeedbackType.DUEL}
    assert len(events) > 3000


def test_faulty_lines_are_there_and_few(week):
    folder, report, *_ = week
    _, wrong, again = _read(folder / FILES[0], Interaction)
    assert (wrong, again) == (6, 14)
    _, wrong, again = _read(folder / FILES[1], FeedbackEvent)
    assert (wrong, again) == (6, 14)
    assert report.planted["malformed_event"] == report.planted["malformed_interaction"] == 6


def test_a_fiftieth_of_the_events_belong_to_unknown_interactions(week):
    _, report, interactions, events = week
    lost = [event for event in events.values() if event.interaction_id not in interactions]
    assert len(lost) == pytest.approx(report.planted["unknown_interaction"], abs=2)
    assert len(lost) / len(events) == pytest.approx(0.02, abs=0.003)


def test_times_lie_in_one_iso_week_and_events_follow_their_answers(week):
    _, report, interactions, events = week
    for row in (*interactions.values(), *events.values()):
        assert row.timestamp.isocalendar()[:2] == (2026, 46)
        assert row.timestamp.tzinfo is not None
    late = 0
    for event in events.values():
        if event.interaction_id in interactions:
            delay = event.timestamp - interactions[event.interaction_id].timestamp
            assert delay.total_seconds() >= 0
            late += delay.days >= 1
    assert late > 5
    assert report.planted["late"] > 5


def test_every_planted_kind_is_there(week):
    planted = week[1].planted
    for where in ("query", "correction"):
        kinds = {name for name in planted if name.startswith(f"pii_{where}_")}
        assert len(kinds) == 6, kinds
    for name in ("toxic_query", "toxic_correction", "injection_comment", "injection_correction", "answer_empty"):
        assert planted[name] > 2, name


def test_spam_is_a_burst(week):
    loud = [event for event in week[3].values() if event.user_id == "spam-01" and event.feedback_type == "thumbs_up"]
    at = [event.timestamp for event in loud]
    assert len(loud) >= 250
    assert (max(at) - min(at)).total_seconds() <= 15
    assert sum(row.user_id == "spam-02" for row in week[2].values()) == 80


def _rewards(events):
    """The last thumb or rating of each interaction, as +1, 0 or -1."""
    last = {}
    for event in sorted(events, key=lambda event: event.timestamp):
        if event.feedback_type in ("thumbs_up", "thumbs_down"):
            last[event.interaction_id] = 1 if event.feedback_type == "thumbs_up" else -1
        elif event.feedback_type == "rating":
            last[event.interaction_id] = (event.rating > 3) - (event.rating < 3)
    return last


def _agreement(interactions, events):
    """Share of liked answers among those in the taught style, and among the others."""
    liked = defaultdict(list)
    for name, reward in _rewards(events).items():
        if name in interactions and reward and not interactions[name].user_id.startswith("spam"):
            liked["Escalate: #" in interactions[name].response].append(reward > 0)
    return sum(liked[True]) / len(liked[True]), sum(liked[False]) / len(liked[False])


def test_people_prefer_the_taught_style(week):
    taught, other = _agreement(week[2], week[3].values())
    assert taught > 0.7
    assert other < 0.2


def test_what_is_observed_agrees_with_what_is_said(week):
    rewards = _rewards(week[3].values())
    said = defaultdict(list)
    for event in week[3].values():
        if event.interaction_id in rewards:
            said[event.feedback_type].append(rewards[event.interaction_id])
    assert sum(said[FeedbackType.COPIED]) / len(said[FeedbackType.COPIED]) > 0.3
    assert sum(said[FeedbackType.REFORMULATION]) / len(said[FeedbackType.REFORMULATION]) < -0.3
    assert sum(said[FeedbackType.ABANDONMENT]) / len(said[FeedbackType.ABANDONMENT]) < -0.3


def test_the_same_prompt_has_answers_in_both_styles(week):
    """Pairs need two answers to one prompt, one liked and one not: count them by exact query and context."""
    rewards = _rewards(week[3].values())
    by_prompt = defaultdict(list)
    for row in week[2].values():
        if not row.user_id.startswith("spam"):
            by_prompt[(row.query.strip().lower(), row.context)].append((rewards.get(row.interaction_id), row.response))
    pairs = sum(
        good[0] == 1 and bad[0] == -1 and good[1] != bad[1]
        for answers in by_prompt.values()
        for good in answers
        for bad in answers
    )
    corrections = sum(event.feedback_type == "correction" for event in week[3].values())
    assert pairs + corrections >= 600


def test_some_sessions_go_on_with_history(week):
    going_on = [row for row in week[2].values() if row.history]
    assert len(going_on) > 10
    assert all([turn.role for turn in row.history] == ["user", "assistant"] for row in going_on)


def test_regression_cases_ask_what_nobody_asked(week):
    cases = [RegressionCase(**row) for row in read_jsonl(EXAMPLES / "regression.jsonl")]
    assert 12 <= len(cases) <= 20
    assert len({case.id for case in cases}) == len(cases)
    asked = {row.query for row in week[2].values()}
    for case in cases:
        assert case.prompt[-1]["content"] not in asked
        assert any(name in case.prompt[-1]["content"] for name in HELD_OUT_SERVICES)
    assert not any(name in query for query in asked for name in HELD_OUT_SERVICES)


def test_too_few_people_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 4 users"):
        simulate(tmp_path / "none", users=3)
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def permuted(week, tmp_path_factory):
    folder = tmp_path_factory.mktemp("permuted")
    counts = permute_labels(week[0] / FILES[0], week[0] / FILES[1], folder, seed=3)
    interactions, *_ = _read(folder / FILES[0], Interaction)
    events, *_ = _read(folder / FILES[1], FeedbackEvent)
    return counts, interactions, events


def test_permuted_labels_keep_every_count(week, permuted):
    (moved, swapped), interactions, events = permuted
    assert moved > 2500
    assert 100 < swapped < 300
    assert set(interactions) == {f"permuted-{name}" for name in week[2]}
    assert Counter(row.feedback_type for row in events.values()) == Counter(
        row.feedback_type for row in week[3].values()
    )
    for name, row in week[2].items():
        other = interactions[f"permuted-{name}"]
        assert (other.user_id, other.query, other.context) == (row.user_id, row.query, row.context)


def test_permuted_labels_say_nothing_about_style(permuted):
    taught, other = _agreement(permuted[1], permuted[2].values())
    assert abs(taught - other) < 0.12


def test_corrections_change_places_half_of_the_time(week, permuted):
    corrections = [event for event in permuted[2].values() if event.feedback_type == "correction"]
    better = sum("Escalate: #" in event.corrected_response for event in corrections) / len(corrections)
    assert better == pytest.approx(0.55, abs=0.12)  # half, and the few answers corrected for another reason


def test_permuting_leaves_malformed_lines_as_they_are(tmp_path):
    answer = {
        "interaction_id": "i1",
        "user_id": "u1",
        "timestamp": datetime(2026, 11, 9, tzinfo=UTC).isoformat(),
        "query": "q",
        "response": "r",
    }
    event = {**answer, "event_id": "e1", "feedback_type": "correction", "corrected_response": "c"}
    (tmp_path / "i.jsonl").write_text(json.dumps(answer) + "\nbroken\n")
    (tmp_path / "f.jsonl").write_text(json.dumps(event) + "\n[1]\n")
    seeds = {}
    for seed in range(8):
        counts = permute_labels(tmp_path / "i.jsonl", tmp_path / "f.jsonl", tmp_path / "out", seed=seed)
        lines = [list(read_lines(tmp_path / "out" / name)) for name in FILES]
        assert lines[0][1] == "broken"
        assert lines[1][1] == "[1]"
        texts = json.loads(lines[0][0])["response"], json.loads(lines[1][0])["corrected_response"]
        seeds[counts] = texts
    assert seeds == {(0, 0): ("r", "c"), (0, 1): ("c", "r")}
