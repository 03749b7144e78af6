"""Others' logs on a real PostgreSQL, by the command too: everything once, by reason, and the sums are right."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from flytewheel.errors import FeedbackError
from flytewheel.feedback.formats import ForeignReport, import_foreign, parse_epoch
from flytewheel.feedback.imports import LogCounts
from flytewheel.feedback_commands import feedback
from tests.feedback.bench import Bench
from tests.feedback.formats.foreign import write
from tests.feedback.formats.test_langfuse import score, trace

ASKED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    return Bench(database_url, tmp_path)


def load(bench: Bench, format: Any, *files: Path) -> ForeignReport:
    return import_foreign(bench.store, format, files, source="web", quarantine_dir=bench.folder / "quarantine")


def is_whole(counts: LogCounts) -> bool:
    return counts.read == counts.stored + counts.duplicates + sum(counts.quarantined.values())


def test_chat_once_and_again(bench: Bench) -> None:
    rows: list[Any] = [{"id": f"c{n}", "messages": ASKED, "rating": n % 5 + 1, "user": n % 7} for n in range(40)]
    rows += [
        b"not json",
        {"messages": "x", "user": "ann@example.com"},
        {"id": "c3", "messages": ASKED, "user": "other"},
    ]
    rows += [{"id": "c90", "messages": ASKED, "rating": 9}, rows[0]]
    path = write(bench.folder / "log.jsonl.gz", rows)
    report = load(bench, "chat", path)
    counts = report.imported.interactions
    assert (counts.read, counts.stored, counts.duplicates) == (45, 41, 1)
    assert counts.quarantined == {"conflict": 1, "missing messages": 1, "not JSON": 1}
    assert report.imported.events.quarantined == {"rating outside 1..5": 1}
    assert is_whole(counts)
    assert is_whole(report.imported.events)
    before = bench.content(), bench.held()
    again = load(bench, "chat", path)
    assert (again.imported.interactions.stored, again.imported.events.stored) == (0, 0)
    assert again.imported.interactions.duplicates == 42
    assert (bench.content(), bench.held()) == before
    assert "example.com" not in str(bench.held())
    assert report.imported.quarantine is not None
    assert "example.com" not in report.imported.quarantine.read_text()
    assert report.describe().startswith("recognised: 45 rows of chat; fields id (43), messages (43), rating (42)")


def test_truncated_gzip_keeps_its_reason(bench: Bench) -> None:
    path = write(
        bench.folder / "log.jsonl.gz", [{"id": f"c{n}", "messages": ASKED, "x": f"{n**9}"} for n in range(3000)]
    )
    path.write_bytes(path.read_bytes()[:-2000])
    counts = load(bench, "chat", path).imported.interactions
    assert counts.quarantined == {"truncated gzip": 1}
    assert counts.stored > 100
    array = bench.folder / "log.json.gz"
    array.write_bytes(
        gzip.compress(json.dumps([{"id": f"d{n}", "messages": ASKED} for n in range(3000)]).encode())[:-900]
    )
    counts = load(bench, "chat", array).imported.interactions
    assert counts.quarantined == {"truncated gzip": 1}
    assert counts.stored > 100


def test_scores_that_come_later_find_their_trace(bench: Bench) -> None:
    later = write(bench.folder / "scores.jsonl", [score("user-feedback", 1)])
    assert load(bench, "langfuse", later).imported.events.quarantined == {"unknown interaction": 1}
    load(bench, "langfuse", write(bench.folder / "traces.json", [trace()]))
    report = load(bench, "langfuse", later)
    assert report.imported.events.stored == 1
    assert bench.held() == []


def test_preferences_of_two_parts(bench: Bench) -> None:
    rows = [{"prompt": f"Why {n}?", "chosen": "So.", "rejected": "No."} for n in range(20)]
    report = load(bench, "preference", write(bench.folder / "a.jsonl", rows), write(bench.folder / "b.jsonl", rows[:5]))
    assert (report.imported.interactions.stored, report.imported.interactions.duplicates) == (20, 5)
    assert (report.imported.events.stored, report.imported.events.duplicates) == (20, 5)
    assert bench.ask("SELECT DISTINCT feedback_type, body ->> 'preferred' FROM feedback_events") == [("duel", "this")]


def test_command(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = SimpleNamespace(database_url=bench.url, home=tmp_path, erasure_key="")
    monkeypatch.setattr("flytewheel.feedback_commands.open_services", lambda: there)
    path = write(tmp_path / "log.jsonl", [{"id": "c1", "messages": ASKED, "thumbs": "up"}, {"id": "c2"}])
    call = ["import", "--format", "chat", str(path), "--source", "web", "--time", "2026-11-09"]
    result = CliRunner().invoke(feedback, [*call, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["interactions"]["stored"] == 1
    assert value["interactions"]["quarantined"] == {"missing messages": 1}
    assert value["recognised"]["fields"] == {"id": 1, "messages": 1, "thumbs": 1}
    result = CliRunner().invoke(feedback, call, catch_exceptions=False)
    assert "recognised: 2 rows of chat" in result.stdout
    assert "interactions: 2 read, 0 stored, 1 known already, 1 quarantined" in result.stdout
    assert "next: a recipe learns from it with feedback.sources: [web]" in result.stdout


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (["import", "one.jsonl"], "expected two files, INTERACTIONS and EVENTS, got 1"),
        (["import", "a", "b", "--time", "2026-01-01"], "are for others' logs"),
        (["import"], "Missing argument"),
        (["import", "--format", "csv", "a"], "is not one of"),
    ],
)
def test_wrong_usage(call: list[str], words: str) -> None:
    result = CliRunner().invoke(feedback, call)
    assert result.exit_code == 2
    assert words in result.stderr


def test_wrong_arguments(bench: Bench) -> None:
    with pytest.raises(FeedbackError, match="got none"):
        load(bench, "chat")
    with pytest.raises(FeedbackError, match="ISO 8601"):
        parse_epoch("yesterday")
    assert parse_epoch("2026-11-09").isoformat() == "2026-11-09T00:00:00+00:00"
