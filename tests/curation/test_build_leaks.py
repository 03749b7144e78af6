"""Personal data and secrets in every text that a window can bring: none comes out, anywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flytewheel.curation.deal import deal_window
from flytewheel.curation.prepare import prepare_share
from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError
from flytewheel.pii import redact
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction, Message
from tests.curation.weeks import Week
from tests.curation.windows import curate, make_event, make_interaction, make_rules, write_window
from tests.pii.pii_corpus import plant

SEED = 20_261_121
PLACES = ("query", "context", "response", "history", "correction", "edit", "duel", "comment")
CURATION: dict[str, Any] = {
    "max_rows_per_user": 10_000, "max_rows_per_cluster": 10_000, "min_quality_score": 0.3, "holdout_share": 0.05,
}  # fmt: skip
FILLER = "Look at the graph of shard {}, then drain the node and check that every write succeeds again."


@pytest.fixture(scope="module")
def values() -> list[tuple[str, str]]:
    """Two thousand strings, each in a sentence of its own."""
    return [(one.value, one.sentence) for one in plant(2_000, SEED)]


def make_leaky_week(values: list[tuple[str, str]]) -> Week:
    """A sentence an interaction, in each of the places in turn; every tenth stands alone and is screened out."""
    interactions: list[Interaction] = []
    events: list[FeedbackEvent] = []
    for number, (_, sentence) in enumerate(values):
        place = PLACES[number % len(PLACES)]
        filler = FILLER.format(number)
        text = sentence if number % 10 == 9 else f"{filler}\n{sentence}\n"
        history = (Message(role="user", content=sentence), Message(role="assistant", content=f"{filler} {sentence}"))
        one = make_interaction(
            number,
            f"u{number % 300}",
            session_id=f"s{number // 600}-{number % 300}",
            query=text if place == "query" else f"How do I free shard {number}?",
            context=text if place == "context" else None,
            response=text if place == "response" else filler,
            history=history if place == "history" else (),
            topic=None,
        )
        interactions.append(one)
        kind = place if place in ("correction", "edit", "duel") else "thumbs_up" if number % 3 else "thumbs_down"
        written = {"corrected_response": text} if kind in ("correction", "edit") else {}
        other = {"other_response": text, "preferred": "other"} if kind == "duel" else {}
        said = {"comment": text} if place == "comment" else {}
        later = one.timestamp + timedelta(seconds=7 + number * 37 % 900)
        events.append(make_event(number, one, kind, timestamp=later, **written, **other, **said))
    return interactions, events


def list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from list_texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from list_texts(item)


def read_everything(folder: Path) -> str:
    """All texts of all files, decoded, and their bytes as they are."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".parquet", ".arrow"):
            read = pl.read_parquet if path.suffix == ".parquet" else pl.read_ipc
            found.extend(list_texts(read(path).to_dicts()))
        elif path.suffix == ".json":
            found.extend(list_texts(json.loads(path.read_text())))
        if path.is_file():
            raw = path.read_bytes().decode(errors="replace")
            found += [raw, html.unescape(raw)]
    return "\n\x1f\n".join(found)


def test_two_thousand_planted_strings_come_out_nowhere(tmp_path: Path, values: list[tuple[str, str]]) -> None:
    week = make_leaky_week(values)
    window = write_window(tmp_path / "w", *week)
    lines = (window / "feedback.jsonl").read_bytes().splitlines()
    # lines cut in the middle, and others of a wrong form, tell nothing either
    broken = [line[: len(line) // 2] for line in lines[:200]] + [line.replace(b'"thumbs_up"', b"7") for line in lines]
    (window / "feedback.jsonl").write_bytes(b"\n".join([*lines, *broken]))
    card = curate(window, tmp_path / "out", **CURATION)
    assert sum(card.redacted.values()) > 1_500
    assert card.dropped["unreadable"] > 200
    assert card.counts["sft"]["train"] > 300
    assert card.counts["trajectory"]["train"] > 0
    dataset = Dataset(tmp_path / "out")
    assert {"answer", "correction", "edit", "paraphrase"} == {row.source for row in dataset.sft("train")}
    assert "duel" in {pair.source for pair in dataset.preferences("train")}
    written = read_everything(tmp_path / "out")
    assert [value for value, _ in values if value in written] == []
    rules = make_rules(**CURATION)
    for share in deal_window(window, tmp_path / "dealt", shares=2):
        prepare_share(share, tmp_path / "prepared" / share.name, rules)
    prepared = read_everything(tmp_path / "prepared")
    assert "redact personal data" in prepared
    steps = "\n".join(path.read_text() for path in (tmp_path / "prepared").rglob("steps.json"))
    assert [value for value, _ in values if value in steps or json.dumps(value)[1:-1] in steps] == []
    # of what redaction knows (`test_pii` measures how much that is) nothing is in the tables on the way
    known = [value for value, sentence in values if value not in redact(sentence)]
    assert len(known) >= 0.995 * len(values)
    assert [value for value in known if value in prepared] == []


def test_errors_on_the_way_tell_nothing(tmp_path: Path, values: list[tuple[str, str]]) -> None:
    interactions, events = make_leaky_week(values[:400])
    disliked = [event.model_copy(update={"feedback_type": FeedbackType.THUMBS_DOWN}) for event in events]
    window = write_window(tmp_path / "w", interactions, [event for event in disliked if not event.corrected_response])
    with pytest.raises(DatasetError) as caught:
        curate(window, tmp_path / "out", **CURATION)
    assert "\n" not in str(caught.value)
    assert [value for value, _ in values[:400] if value in str(caught.value)] == []
    assert not (tmp_path / "out").exists()


def test_without_redaction_the_card_still_tells_nothing(tmp_path: Path) -> None:
    """Rows hold what they held then, as the recipe says; examples are shown to everybody and are redacted always."""
    interactions = [
        make_interaction(n, f"u{n}", query=f"Question {n}: mail jo.doe@example.com?", response="" if n % 2 else FILLER)
        for n in range(60)
    ]
    window = write_window(tmp_path / "w", interactions, [make_event(n, one) for n, one in enumerate(interactions)])
    open_card = curate(window, tmp_path / "open", redact_pii=False, min_quality_score=0.3)
    card = curate(window, tmp_path / "out", min_quality_score=0.3)
    assert "jo.doe" in read_everything(tmp_path / "open" / "sft")
    for name in ("card.json", "README.md"):
        assert "jo.doe" not in (tmp_path / "open" / name).read_text()
    assert "jo.doe" not in read_everything(tmp_path / "out")
    assert "<EMAIL_1>" in read_everything(tmp_path / "out" / "sft")
    assert card.redacted == {"EMAIL": 60}
    assert open_card.digest != card.digest
