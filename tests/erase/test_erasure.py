"""Forgetting a user, from end to end on real services: no byte is left, and the tainted versions are the right ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.drift.triggers import check_triggers
from flytewheel.erase.erasure import STEPS, Place, erase_user
from flytewheel.erase.plan import find_everything, make_plan
from flytewheel.erase.record import list_erasures
from flytewheel.errors import DatasetError
from flytewheel.feedback.audit import audit
from flytewheel.recipe import Recipe
from flytewheel.records import SftRow
from flytewheel.tombstones import read_tombstone
from flytewheel.turn import fetch_dataset, fetch_replay
from registry.store import ObjectStore
from registry.taints import list_taints
from tests.erase.scanner import Scanner, list_forms
from tests.erase.stage import MARIA, MARKERS, Stage, make_others, plant_files, rows_of, say_as_maria

LATER = datetime(2026, 11, 28, 13, tzinfo=UTC)
SCANNER = Scanner({name: list_forms(text) for name, text in MARKERS.items()} | {"user": list_forms(MARIA, name=True)})
WEIGHTS = (".safetensors", ".gguf")


def tell(what: str, done: int, total: int | None) -> None:
    """Progress that nobody looks at."""


def place_of(stage: Stage, store: ObjectStore | None = None) -> Place:
    services = stage.services
    return Place(
        services.database_url, store or stage.store, services.home, services.erasure_key, True, lambda: LATER, tell
    )


def fill(stage: Stage) -> dict[str, str]:
    """Two weeks, and versions of every kind; gives their names by what they are."""
    said, heard, bad = say_as_maria()
    others = make_others()
    report = stage.load([*others[0], *said], [*others[1], *heard], bad)
    assert report.interactions.quarantined
    run, folder, card = stage.turn(1)
    assert any(row.user != MARIA and row.interactions for row in rows_of(folder, "sft", "train"))
    mine = [
        row
        for part in ("train", "validation")
        for row in rows_of(folder, "sft", part)
        if "i9000" in str(row.interactions)
    ]
    assert mine, "curation kept nothing of hers: the stage shows nothing"
    theirs = [row for row in rows_of(folder, "sft", "train") if "i9" not in str(row.interactions)][:5]
    replayed = [SftRow(**{**_fields(row), "id": f"replay/{row.id}", "source": "replay"}) for row in mine[:2]]
    clean = stage.freeze("clean", {"train": theirs}, card)
    versions = {"trained": stage.register("run-1", card.digest, recipe={"privacy": {"erased_serve_days": 30}})}
    versions["clean"] = stage.register("run-2", clean)
    versions["replayed"] = stage.register(
        "run-3", stage.freeze("replay", {"train": [*theirs, *replayed]}, card), recipe={"name": "oncall"}
    )
    versions["inherited"] = stage.register("run-4", clean, started_from=versions["trained"])
    versions["judged"] = stage.register("run-5", stage.freeze("judged", {"train": theirs, "test": mine}, card))
    stage.registry.set_alias("oncall", "champion", versions["trained"])
    plant_files(stage, run, run)
    return versions | {"digest": card.digest, "clean digest": clean, "run": run}


def _fields(row: SftRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def scan(stage: Stage, open_dir: Path) -> dict[str, dict[str, set[str]]]:
    """Where the markers are: in PostgreSQL's files, in the store's of this bucket, under the home."""
    database = str(stage.ask("SELECT oid FROM pg_database WHERE datname = current_database()")[0][0])
    bucket = next((open_dir / "objects").rglob(stage.services.s3_bucket))
    return {
        "postgres": SCANNER.scan((open_dir / "postgres").resolve(), databases=frozenset({database})),
        "store": SCANNER.scan(bucket, skip=WEIGHTS),
        "home": SCANNER.scan(stage.services.home, skip=WEIGHTS),
    }


def test_no_byte_of_a_person_is_left_and_the_right_versions_are_tainted(
    stage: Stage, open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    versions = fill(stage)
    before = scan(stage, open_dir)
    planted = {name: set().union(*found.values()) for name, found in before.items()}
    assert planted["postgres"] == {*MARKERS, "user"}, "the scanner must find what is there, TOAST and WAL along"
    assert {"prompt", "answer", "correction", "user"} <= planted["store"]
    assert {"prompt", "answer", "quarantined", "user"} <= planted["home"]
    assert any("pg_wal" in path for path in before["postgres"])
    assert any(path.endswith(".zip") for path in before["home"])
    assert any(path.endswith(".gz") for path in before["home"])
    assert any(path.endswith(".parquet") for path in before["store"])
    kept = stage.ask("SELECT count(*) FROM interactions WHERE user_id <> %s", (MARIA,))

    found = find_everything(stage.services.database_url, stage.store, MARIA, tell)
    plan = make_plan(stage.services.database_url, stage.store, stage.services.home, found, tell)
    assert (plan.interactions, plan.unmendable) == (8, ())
    done: list[str] = []
    erased = erase_user(place_of(stage), MARIA, by="ops", after=done.append)
    assert tuple(done) == STEPS

    assert scan(stage, open_dir) == {"postgres": {}, "store": {}, "home": {}}
    assert stage.ask("SELECT count(*) FROM interactions") == kept, "nobody else lost anything"
    tainted = list_taints(stage.store, "oncall")
    assert {version: tainted["oncall", version].marks[0].reason for _, version in tainted} == {
        versions["trained"]: "trained",
        versions["replayed"]: "replayed",
        versions["inherited"]: "inherited",
    }
    deadline = tainted["oncall", versions["trained"]].deadline
    assert deadline == LATER + timedelta(days=30)
    assert tainted["oncall", versions["replayed"]].deadline is None

    report = erased.erasure.report
    assert (report["database"]["interactions"], report["judged_only"]) == (8, [f"oncall {versions['judged']}"])
    assert MARIA not in json.dumps(report)
    assert erased.erasure.by == "ops"
    assert audit(stage.services.database_url).holds, "windows and imports are true over what is left"

    stone = read_tombstone(stage.store, versions["digest"])
    assert stone is not None
    with pytest.raises(
        DatasetError, match=f"data set {stone.digest[:12]} is no more: a person's rows were erased on 2026-"
    ):
        fetch_dataset(stage.services, versions["digest"])
    left = Dataset(fetch_dataset(stage.services, stone.successor))
    assert left.card.digest == stone.successor
    assert left.card.counts["sft"]["train"] == len(left.sft("train")) > 0
    assert fetch_replay(stage.services, versions["digest"], stage.folder / "replay").name == stone.successor
    assert stage.ask("SELECT report ->> 'digest' FROM run_stations WHERE station = 'curate'") == [(stone.successor,)]

    triggers = check_triggers(
        stage.services.database_url, Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}}), now=LATER
    )
    assert (triggers.due, triggers.mode) == (True, "full")
    assert triggers.reasons[0].startswith("erasure: versions are tainted since ")


def test_what_was_said_before_stays_out_and_what_is_said_after_counts(stage: Stage) -> None:
    versions = fill(stage)
    erase_user(place_of(stage), MARIA, by="ops")
    said, heard, bad = say_as_maria()
    again = stage.load(said, heard, bad)
    assert again.interactions.quarantined == {"erased person": len(said) + len(bad)}
    assert again.events.quarantined == {"erased person": len(heard)}
    assert again.quarantine is None
    assert stage.ask("SELECT count(*) FROM interactions WHERE user_id = %s", (MARIA,)) == [(0,)]
    assert stage.ask("SELECT count(*) FROM quarantine WHERE strpos(line, %s) > 0", (MARIA,)) == [(0,)]
    late = [
        said[0].model_copy(update={"interaction_id": "new-1", "timestamp": LATER + timedelta(minutes=1)}),
        # Of somebody else, about an interaction that is gone.
    ]
    foreign = heard[0].model_copy(update={"event_id": "other-1", "user_id": "user-001"})
    report = stage.load(late, [foreign])
    assert (report.interactions.stored, report.events.quarantined) == (1, {"erased person": 1})
    assert audit(stage.services.database_url).holds

    # Nor does a data set come back that a turn had curated before.
    old = Dataset(stage.folder / "dataset1")
    from flytewheel.turn import publish_dataset

    with pytest.raises(DatasetError, match="is no more"):
        publish_dataset(stage.services, old.path, old.card)
    with pytest.raises(DatasetError, match="erased while this data set was curated"):
        publish_dataset(stage.services, old.path, _renamed(old.card))
    assert versions


def _renamed(card: Any) -> Any:
    from dataclasses import replace

    return replace(card, digest="f" * 64)


class KilledError(Exception):
    """Stands for a kill."""


class DyingStore(ObjectStore):
    """A store whose caller is killed before its n-th change."""

    left = 0

    @classmethod
    def of(cls, store: ObjectStore, left: int) -> DyingStore:
        dying = cls.__new__(cls)
        dying.__dict__.update(store.__dict__)
        dying.left = left
        return dying

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KilledError

    def put_bytes(self, *given: Any, **named: Any) -> None:
        self._count()
        super().put_bytes(*given, **named)

    def put_file(self, *given: Any) -> str:
        self._count()
        return super().put_file(*given)

    def put_if_absent(self, *given: Any) -> str | None:
        self._count()
        return super().put_if_absent(*given)

    def delete(self, *given: Any) -> None:
        self._count()
        super().delete(*given)


def test_an_erasure_that_is_killed_anywhere_ends_as_one_that_was_not(stage: Stage, open_dir: Path) -> None:
    fill(stage)
    deaths = 0
    for left in (0, 1, 2, 3, 5, 9, 17, 33, 60, 60, 60):  # each attempt gets so many changes of the store further
        try:
            erase_user(place_of(stage, DyingStore.of(stage.store, left)), MARIA, by="ops", after=_die_after("datasets"))
        except KilledError:
            deaths += 1
    assert deaths == 11
    for step in ("database", "compact"):
        with pytest.raises(KilledError):
            erase_user(place_of(stage), MARIA, by="ops", after=_die_after(step))
    erased = erase_user(place_of(stage), MARIA, by="ops")
    assert erased.erasure.steps == STEPS
    assert [one.erasure_id for one in list_erasures(stage.services.database_url)] == [erased.erasure.erasure_id]
    assert scan(stage, open_dir) == {"postgres": {}, "store": {}, "home": {}}
    assert len(list_taints(stage.store, "oncall")) == 3
    assert erased.erasure.report["database"]["interactions"] == 8
    assert audit(stage.services.database_url).holds
    for digest in {key.split("/")[1] for key in stage.store.list("datasets/")}:
        names = {key.split("/", 2)[2] for key in stage.store.list(f"datasets/{digest}/")}
        assert names == {"erased.json"} or "card.json" in names
    plan_is_empty(stage)


def _die_after(last: str) -> Any:
    def after(step: str) -> None:
        if step == last:
            raise KilledError

    return after


def plan_is_empty(stage: Stage) -> None:
    found = find_everything(stage.services.database_url, stage.store, MARIA, tell)
    assert make_plan(stage.services.database_url, stage.store, stage.services.home, found, tell).empty
