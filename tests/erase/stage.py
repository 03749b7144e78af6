"""A machine on which a loop was turned, with one person's words in every place where words can lie.

Real services, a real curation of a real window, and hand-made versions around it: `Stage.turn` does what a turn does
without training anything. The person is MARIA; each marker says where it was planted.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from flytewheel import decks, runs, turn
from flytewheel.dataset import Dataset, DatasetCard, digest_content, part_file, write_card, write_rows
from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from flytewheel.records import FeedbackEvent, Interaction, SftRow, write_jsonl
from flytewheel.turn_suite import absorb_cases
from registry.store import ObjectStore
from registry.versions import Registry
from tests.curation.weeks import make_busy_week
from tests.curation.windows import at, curate, make_event, make_interaction

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MARIA = "maria.quisling@example.org"
NAMES = {"user": MARIA}
MARKERS = {
    "prompt": "Zwiebelfisch über dem Quastenflosser",
    "answer": "Plumbago heliotrope verdigris celadon",
    "correction": "Brumaire thermidor fructidor vendémiaire",
    "comment": "Quagswag the borborygmus, said nobody else",
    "metadata": "xylograph-syzygy-tmesis-4711",
    "long": "Mnemosyne palimpsest zugzwang kakorrhaphiophobia",
    "quarantined": "Eigengrau phosphene halcyon zephyr",
    "context": "Sgraffito chiaroscuro pentimento craquelure",
}
QUERY = "How do I drain {} before the deploy of tonight, step by step please? {}"


@dataclass
class Stage:
    """Services, a folder outside the home for what comes in, and the recipe's name."""

    services: Services
    folder: Path

    @property
    def store(self) -> ObjectStore:
        return turn.open_store(self.services)

    @property
    def registry(self) -> Registry:
        return Registry(self.store)

    def load(self, interactions: list[Interaction], events: list[FeedbackEvent], bad: tuple[bytes, ...] = ()) -> Any:
        """Imports logs, the bad lines among the interactions."""
        self.folder.mkdir(parents=True, exist_ok=True)
        logs = self.folder / "interactions.jsonl", self.folder / "feedback.jsonl"
        write_jsonl(logs[0], interactions)
        with logs[0].open("ab") as stream:
            stream.writelines(line + b"\n" for line in bad)
        write_jsonl(logs[1], events)
        return turn.FeedbackStore(self.services.database_url).import_files(
            *logs,
            source="oncall",
            quarantine_dir=self.services.home / "quarantine",
            erasure_key=self.services.erasure_key,
        )

    def turn(self, number: int, *, replay: Path | None = None) -> tuple[str, Path, DatasetCard]:
        """Opens a turn, curates its window, and leaves what a turn leaves; gives the run, data set and card."""
        recipe = Recipe.model_validate(
            {"name": "oncall", "base": {"model": "pocket"}, "curation": {"min_interactions": 4}, "seed": number}
        )
        opened = turn.open_turn(
            self.services, recipe, self.folder / f"window{number}", start=self.folder / "start", now=NOW,
            execution=f"e{number}",
        )  # fmt: skip
        assert opened.ready, opened.message
        out = self.folder / f"dataset{number}"
        with runs.run_station(self.services.database_url, self.services.home, opened.run_id, "curate") as station:
            card = curate(opened.window, out, replay=replay, holdout_share=0.1, train_share=0.6, validation_share=0.2)
            turn.publish_dataset(self.services, out, card)
            turn.hold_votes(self.services, out, card)
            absorb_cases(self.services.database_url, station.run, out)
            card_text = (out / "card.json").read_text(encoding="utf-8")
            station.tracker.artifact("dataset-card", {"card.json": card_text}, {"digest": card.digest})
            station.report = turn.describe_card(card, replay=opened.replay)
            station.show(decks.describe("curate", station.report))
        runs.finish_run(self.services.database_url, opened.run_id)
        return opened.run_id, out, card

    def freeze(self, name: str, rows: Mapping[str, list[SftRow]], like: DatasetCard) -> str:
        """A data set of these SFT rows by part; gives its digest."""
        folder = self.folder / name
        for part, held in rows.items():
            write_rows(part_file(folder, "sft", part), "sft", held)
        content = digest_content(folder)
        card = replace(like, digest=content, content_digest=content, steps=(), comments={}, counts={}, users={})
        write_card(folder, card)
        turn.publish_dataset(self.services, folder, card)
        return content

    def register(self, key: str, dataset: str, **facts: Any) -> str:
        """A version that learnt from a data set."""
        file = self.folder / "model.gguf"
        file.write_bytes(key.encode())
        told = {"run_id": key, "dataset_digest": dataset, "started_from": "", **facts}
        return self.registry.register("oncall", {"model.gguf": file}, facts=told, key=key, now=NOW).version

    def ask(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.services.database_url) as connection:
            cursor = connection.execute(query, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


def say_as_maria() -> tuple[list[Interaction], list[FeedbackEvent], tuple[bytes, ...]]:
    """What MARIA said: liked answers, a correction, comments, long texts, and lines that cannot be read."""
    said, heard = [], []
    for number in range(6):
        query = QUERY.format(f"host-{number}", MARKERS["prompt"])
        answer = f"Look at the graph of host-{number}, then {MARKERS['answer']}. Run drainctl host-{number}, then wait."
        one = make_interaction(
            90_000 + number, MARIA, query=query, response=answer, topic="disk", session_id="maria-session-1",
            timestamp=at(1000 + 90 * number), context=f"Runbook: {MARKERS['context']} for host-{number}",
            metadata={"note": MARKERS["metadata"], "trace": {"deep": [MARKERS["metadata"]]}},
        )  # fmt: skip
        said.append(one)
        heard.append(make_event(90_000 + number, one, timestamp=at(1030 + 90 * number), comment=MARKERS["comment"]))
    fix = f"Look at the graph of host-0, then {MARKERS['correction']} and check that every write succeeds again."
    heard.append(make_event(90_100, said[0], "correction", timestamp=at(1040), corrected_response=fix))
    # 20 kB that PostgreSQL compresses and moves out of the table, and 3 kB that it compresses in their place.
    long = " ".join(f"{MARKERS['long']} step {number} of the long way home" for number in range(300))
    middle = " ".join(f"again and again {MARKERS['long']}" for _ in range(40))
    for number, text in enumerate((long, middle)):
        query = f"And the long one {number}? {MARKERS['long']}"
        said.append(make_interaction(90_200 + number, MARIA, query=query, response=text, timestamp=at(3000 + number)))
    broken = {"interaction_id": "", "user_id": MARIA, "query": MARKERS["quarantined"], "response": "r"}
    bad = (json.dumps(broken).encode(), f'{{"user_id": "{MARIA}", "query": "{MARKERS["quarantined"]}'.encode())
    return said, heard, bad


def plant_files(stage: Stage, run: str, other: str) -> None:
    """What stations leave beside the data set: an evaluation, decks, caches, logs, a bundle, reports and reviews."""
    words = QUERY.format("host-0", MARKERS["prompt"])
    answers = [
        {"kind": "test", "user": MARIA, "prompt": [{"role": "user", "content": words}], "candidate": "a"},
        {"kind": "test", "user": "user-001", "prompt": [{"role": "user", "content": "Why?"}], "candidate": "So.",
         "champion": f"As they say: {MARKERS['correction']}"},
    ]  # fmt: skip
    kept = stage.services.home / "runs" / run / "evaluation"
    write_jsonl(kept / "answers.jsonl", answers)
    details = {"suite": {"cases": [{"user": MARIA, "answer": words}, {"user": "user-001", "answer": "So."}]}}
    (kept / "evaluation.json").write_text(json.dumps({"metrics": {"rouge": 0.5}, "details": details}))
    (kept / "report.html").write_text(f"<html><p>{words.replace('?', '&#63;')}</p></html>")
    for file in kept.iterdir():
        stage.store.put_file(f"runs/{run}/evaluation/{file.name}", file)
    home = stage.services.home
    (home / "judge").mkdir(parents=True, exist_ok=True)
    (home / "judge" / "mine.json").write_text(json.dumps({"answer": words}))
    (home / "judge" / "theirs.json").write_text(json.dumps({"answer": "So."}))
    (home / "logs").mkdir(parents=True, exist_ok=True)
    (home / "logs" / "router.log").write_text(f"line one\nCONTEXT: COPY staged, line 7: {words}\nline three\n")
    with gzip.open(home / "logs" / "old.jsonl.gz", "wb") as stream:
        stream.write(json.dumps({"user_id": MARIA}).encode())
    with zipfile.ZipFile(home / "judge" / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.txt", MARKERS["answer"] * 20)
    with psycopg.connect(stage.services.database_url) as connection:
        connection.execute(
            "INSERT INTO run_stations (run_id, station, status, report) VALUES (%s, 'evaluate', 'succeeded', %s)",
            (run, Jsonb({"metrics": {"rouge": 0.5}, "details": details, "quote": words})),
        )
        connection.execute("UPDATE runs SET error = %s WHERE run_id = %s", (f"could not read: {words}", other))
        connection.execute("INSERT INTO outbox (topic, body) VALUES ('review', %s)", (Jsonb({"text": words}),))
        connection.execute(
            "INSERT INTO reviews (review_id, run_id, name, shared, salt) VALUES ('r-1', %s, 'oncall', 0.5, 's')", (run,)
        )
        for duel, user in (("d-1", MARIA), ("d-2", "user-001")):
            connection.execute(
                "INSERT INTO review_duels VALUES ('r-1', %s, %s, 'disk', %s, 'a', 'b', true)",
                (duel, user, Jsonb([{"role": "user", "content": words if user == MARIA else "Why?"}])),
            )
        connection.execute(
            "INSERT INTO review_deals (review_id, reviewer, duel_id, place) VALUES ('r-1', 'rob', 'd-1', 0)"
        )
        connection.execute(
            "INSERT INTO review_labels (review_id, reviewer, duel_id, said, comment)"
            " VALUES ('r-1', 'rob', 'd-1', 'ours', %s)", (MARKERS["comment"],),
        )  # fmt: skip
        connection.execute("ANALYZE")  # the statistics hold common values


def rows_of(folder: Path, kind: str, part: str) -> list[Any]:
    return list(Dataset(folder).rows(kind, part))


def make_others() -> tuple[list[Interaction], list[FeedbackEvent]]:
    """A busy week of forty other people; one of them asks what MARIA asked in nearly the same words."""
    said, heard = make_busy_week(3)
    near = make_interaction(
        91_000, "user-001", query="How do I drain host-0 before the deploy of tonight, step by step please?",
        response="Look at the graph of host-0, then run drainctl host-0 and wait for it to be empty.", topic="disk",
        timestamp=at(1500),
    )  # fmt: skip
    said = [one.model_copy(update={"timestamp": min(one.timestamp, at(900_000))}) for one in said]
    return [*said, near], [*heard, make_event(91_000, near)]
