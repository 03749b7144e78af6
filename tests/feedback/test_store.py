"""The feedback store on a real PostgreSQL: single rows once, and exports that import to the same content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytewheel.errors import FeedbackError
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction
from tests.feedback.bench import Bench, reaction, said


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    return Bench(database_url, tmp_path)


def test_export_imports_to_the_same_content(bench: Bench, tmp_path: Path) -> None:
    rows = [
        said("i2", metadata={"big": -1e300, "x": [1.5, {"y": None}]}, latency_ms=1e17),
        said("i1", minute=3, arm="control", propensity=0.9),
    ]
    events = [
        reaction("e1", "i1", "correction", corrected_response="é\n", correction_type="style"),
        reaction("e2", "i2", "rating", rating=4),
    ]
    bench.load(rows, events)
    bench.load([said("other")], source="app")
    assert bench.store.export(tmp_path / "out", sources=["web"]) == {"interactions": 2, "feedback": 2}
    again = bench.store.import_files(
        tmp_path / "out/interactions.jsonl.gz",
        tmp_path / "out/feedback.jsonl.gz",
        source="web",
        quarantine_dir=tmp_path,
    )
    assert (again.interactions.duplicates, again.events.duplicates, again.quarantine) == (2, 2, None)
    before = bench.content()
    with psycopg.connect(bench.url) as connection:
        connection.execute("DELETE FROM interactions WHERE source = 'web'")
    bench.store.import_files(
        tmp_path / "out/interactions.jsonl.gz",
        tmp_path / "out/feedback.jsonl.gz",
        source="web",
        quarantine_dir=tmp_path,
    )
    assert bench.content() == before
    bench.store.export(tmp_path / "second", sources=["web"])
    for name in ("interactions.jsonl.gz", "feedback.jsonl.gz"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes()[4:8] == bytes(4)  # gzip's own time stamp
    assert bench.store.export(tmp_path / "all")["interactions"] == 3


def test_single_rows_are_idempotent_and_conflicts_refused(bench: Bench) -> None:
    interaction = Interaction.model_validate(said("i1"))
    event = FeedbackEvent.model_validate(reaction("e1", "i1"))
    with pytest.raises(FeedbackError, match="unknown interaction 'i1'"):
        bench.store.record_event(event)
    assert [bench.store.record_interaction(interaction, "web") for _ in range(2)] == ["stored", "duplicate"]
    assert [bench.store.record_event(event) for _ in range(2)] == ["stored", "duplicate"]
    with pytest.raises(FeedbackError, match="conflict: interaction_id 'i1'"):
        bench.store.record_interaction(interaction.model_copy(update={"response": "other"}), "web")
    with pytest.raises(FeedbackError, match="conflict: event_id 'e1'"):
        bench.store.record_event(event.model_copy(update={"feedback_type": FeedbackType.COPIED}))
    with pytest.raises(FeedbackError, match="refused: NUL character"):
        bench.store.record_interaction(interaction.model_copy(update={"interaction_id": "i2", "query": "\x00"}), "web")


def test_single_rows_and_imports_are_the_same_rows(bench: Bench) -> None:
    rows, events = [said("i1", metadata={"x": 1e20})], [reaction("e1", "i1", metadata={"x": -0.0})]
    bench.load([], events)
    bench.store.record_interaction(Interaction.model_validate(rows[0]), "web")
    bench.store.record_event(FeedbackEvent.model_validate(events[0]))
    assert bench.held() == []
    before = bench.content()
    report = bench.load(rows, events)
    assert (report.interactions.duplicates, report.events.duplicates) == (1, 1)
    assert bench.content() == before


METADATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), inner, max_size=3
        )
    ),
    max_leaves=9,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(METADATA, min_size=1, max_size=30))
def test_body_reads_back_as_it_was(bench: Bench, values: list[Any]) -> None:
    """jsonb keeps numbers as decimals: what comes out must be the same record, and import again as the same body."""
    with psycopg.connect(bench.url) as connection:
        connection.execute("TRUNCATE interactions, feedback_events, quarantine CASCADE")
    rows = [said(f"i{place:03d}", metadata={"value": value}) for place, value in enumerate(values)]
    assert bench.load(rows).interactions.stored == len(rows)
    assert [Interaction.model_validate(row[4]) for row in bench.content()[0]] == [
        Interaction.model_validate(row) for row in rows
    ]
    bench.store.export(bench.folder)
    report = bench.store.import_files(
        bench.folder / "interactions.jsonl.gz",
        bench.folder / "feedback.jsonl.gz",
        source="web",
        quarantine_dir=bench.folder,
    )
    assert report.interactions.duplicates == len(rows)
