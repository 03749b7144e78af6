"""The generated window: what is measured on it is only worth something if it holds what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest

from benchmarks.curation_chunk import CHUNK
from benchmarks.curation_data import Planted, write_window
from benchmarks.curation_rules import check_card, check_iban, normalise, shingle
from benchmarks.curation_words import make_words
from flytewheel.records import FeedbackEvent, Interaction, canonical_json

ROWS = 6_000  # two chunks
FILES = ("interactions.jsonl", "feedback.jsonl", "window.json", "truth.jsonl")


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    folder = tmp_path_factory.mktemp("window")
    return folder, write_window(folder, ROWS, 7, processes=1, truth=True)


def _read(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def test_lines_are_the_canonical_json_of_valid_records(window: tuple[Path, Planted]) -> None:
    folder, made = window
    interactions = _read(folder / "interactions.jsonl")
    events = _read(folder / "feedback.jsonl")
    assert (len(interactions), len(events)) == (ROWS, made.events)
    for line in interactions[::7]:
        assert canonical_json(Interaction.model_validate_json(line)) == line
    for line in events[::7]:
        assert canonical_json(FeedbackEvent.model_validate_json(line)) == line
    assert orjson.loads((folder / "window.json").read_bytes())["interactions"] == ROWS
    assert len({orjson.loads(line)["interaction_id"] for line in interactions}) == ROWS
    assert len({orjson.loads(line)["event_id"] for line in events}) == made.events


def test_the_number_of_processes_changes_nothing(window: tuple[Path, Planted], tmp_path: Path) -> None:
    folder, made = window
    assert ROWS > CHUNK
    assert write_window(tmp_path, ROWS, 7, processes=2, truth=True) == made
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_another_seed_gives_other_rows(window: tuple[Path, Planted], tmp_path: Path) -> None:
    write_window(tmp_path, 200, 8)
    assert set(_read(tmp_path / "interactions.jsonl")).isdisjoint(_read(window[0] / "interactions.jsonl"))


def test_lengths_and_shares_are_as_described(window: tuple[Path, Planted]) -> None:
    folder, made = window
    rows = [orjson.loads(line) for line in _read(folder / "interactions.jsonl")]
    queries = sorted(len(row["query"].split()) for row in rows)
    answers = sorted(len(row["response"].split()) for row in rows)
    assert 15 <= queries[ROWS // 10] < queries[9 * ROWS // 10] <= 60
    assert 50 <= answers[ROWS // 10] < answers[9 * ROWS // 10] <= 240
    assert answers[0] < 5  # some are too short, and some too long at two tokens a word
    assert answers[-1] > 500
    assert 0.6 < sum(row["context"] is not None for row in rows) / ROWS < 0.8
    assert 0.6 < sum(row["topic"] is not None for row in rows) / ROWS < 0.8
    assert 0.06 < sum(bool(row["history"]) for row in rows) / ROWS < 0.13
    assert 1.0 < made.events / ROWS < 1.4
    assert 0.03 < made.plants["event correction"] / ROWS < 0.05
    personal = sum(count for name, count in made.plants.items() if name.startswith("personal "))
    assert 0.02 < personal / ROWS < 0.04
    assert 0.15 < sum(made.clusters[size] * (size - 1) for size in made.clusters) / ROWS < 0.4


def test_clusters_are_as_large_as_planted(window: tuple[Path, Planted]) -> None:
    """Distinct prompts stay distinct: the first words of every two clusters differ; a cluster's members are near."""
    folder, made = window
    cluster = {
        row["id"]: row["cluster"]
        for row in map(orjson.loads, _read(folder / "truth.jsonl"))
        if not any(plant.startswith(("personal", "injected")) for plant in row["plants"])
    }
    assert sum(size * count for size, count in made.clusters.items()) == ROWS
    prompts: dict[str, list[frozenset[str]]] = {}
    exact: dict[tuple[str, str], str] = {}
    for row in map(orjson.loads, _read(folder / "interactions.jsonl")):
        name = cluster.get(row["interaction_id"])
        if name is None:
            continue
        words = normalise(row["query"])
        assert exact.setdefault((words, row["context"] or ""), name) == name
        prompts.setdefault(name, []).append(frozenset(shingle(words)))
    near = total = 0
    for members in prompts.values():
        for other in members[1:]:
            shared = len(members[0] & other) / len(members[0] | other)
            near += shared >= 0.85
            total += 1
    assert near / total > 0.98


def test_spam_is_planted(window: tuple[Path, Planted]) -> None:
    folder, made = window
    votes = Counter(orjson.loads(line)["user_id"] for line in _read(folder / "feedback.jsonl"))
    crowd = [user for user in votes if user.startswith("user-crowd-")]
    assert votes["user-spam"] >= 0.9 * ROWS / 100
    assert len(crowd) == ROWS // 400
    assert made.plants["collusion"] == len(crowd) * 20


def test_personal_data_passes_the_checks_of_real_ones() -> None:
    words = make_words(7, 20)
    by_kind: dict[str, list[str]] = {}
    for kind, text in words.personal:
        by_kind.setdefault(kind, []).append(text)
    assert len(by_kind) >= 15
    cards = ["".join(sign for sign in text if sign.isdigit()) for text in by_kind["card"]]
    assert all(map(check_card, cards))
    ibans = [text.removeprefix("Refund to ").removeprefix("The account is ") for text in by_kind["iban"]]
    assert all(check_iban(text.removesuffix(" bounced.").removesuffix(".")) for text in ibans)


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 100 rows, got 99"):
        write_window(tmp_path, 99)
