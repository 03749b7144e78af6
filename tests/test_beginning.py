"""Where a turn begins, on real services: at the champion where it may, at the base where it must, and it says why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from safetensors.numpy import save

from flytewheel import runs, turn
from flytewheel.dataset import Dataset, DatasetCard, digest_content, part_file, write_card, write_rows
from flytewheel.feedback.audit import audit
from flytewheel.local.services import Services
from flytewheel.models import base_digest
from flytewheel.recipe import BaseModelSpec, Recipe
from flytewheel.records import Message, SftRow, Unpaired
from flytewheel.signed_registry import open_registry
from flytewheel.signing_keys import ensure_home_key
from flytewheel.summary import summarise
from flytewheel.training.start import read_start
from registry.store import ObjectStore
from registry.taints import Taint, mark_tainted
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
POCKET = base_digest(BaseModelSpec(model="pocket"))
CONFIG = {"r": 16, "lora_alpha": 32, "target_modules": ["v_proj", "q_proj", "k_proj", "o_proj"], "peft_type": "LORA"}


@dataclass
class Wheel:
    """Services with a feedback store that holds i0, i1 … with a thumb each, and what a turn needs around them."""

    services: Services
    folder: Path
    stored: int = 0

    @property
    def registry(self) -> Registry:
        return open_registry(self.services)

    def recipe(self, mode: str = "incremental", **fields: Any) -> Recipe:
        sections: dict[str, Any] = {
            "curation": {"min_interactions": 4, "max_interactions": 50},
            "automation": {"incremental": {"after_interactions": 3}},
        }
        return Recipe.model_validate(
            {"name": "oncall", "base": {"model": "pocket"}, "mode": mode, **sections, **fields}
        )

    def store(self, count: int) -> None:
        """Imports so many new interactions, each with a thumb."""
        names = range(self.stored, self.stored + count)
        at = NOW.isoformat()
        said = [
            {"interaction_id": f"i{n}", "user_id": f"u{n}", "timestamp": at, "query": "q?", "response": "r."}
            for n in names
        ]
        heard = [
            {"event_id": f"e{n}", "interaction_id": f"i{n}", "user_id": f"u{n}", "timestamp": at,
             "feedback_type": "thumbs_up"}
            for n in names
        ]  # fmt: skip
        logs = []
        for kind, rows in (("interactions", said), ("feedback", heard)):
            path = self.folder / f"{kind}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            logs.append(path)
        turn.FeedbackStore(self.services.database_url).import_files(
            *logs, source="oncall", quarantine_dir=self.folder / "quarantine"
        )
        self.stored += count

    def open(self, recipe: Recipe) -> turn.OpenedTurn:
        return turn.open_turn(
            self.services, recipe, self.folder / "window", start=self.folder / "start", now=NOW, execution="e"
        )

    def freeze(self, names: Sequence[int], name: str) -> str:
        """A data set of SFT and unpaired rows that come from these interactions; returns its digest."""
        folder = self.folder / name
        prompt = (Message(role="user", content=f"q of {name}?"),)
        sources = [(f"s{n}", f"u{n}", (f"i{n}",), (f"e{n}",)) for n in names]
        write_rows(
            part_file(folder, "sft", "train"),
            "sft",
            [
                SftRow(row, user, "t", prompt, "r.", 1.0, 0.9, "answer", said, heard)
                for row, user, said, heard in sources
            ],
        )
        held_out = SftRow(f"v{names[0]}", "v", "t", prompt, "r.", 1.0, 0.9, "answer", *sources[0][2:])
        write_rows(part_file(folder, "sft", "validation"), "sft", [held_out])
        write_rows(
            part_file(folder, "unpaired", "train"),
            "unpaired",
            [Unpaired(row, user, "t", prompt, "r.", True, said, heard) for row, user, said, heard in sources],
        )
        content = digest_content(folder)
        card = DatasetCard(content, content, ("oncall",), len(names), len(names), (), {}, {}, {})
        write_card(folder, card)
        turn.publish_dataset(self.services, folder, card)
        return content

    def promote(self, run_id: str, dataset: str, *, config: Any = CONFIG, adapter: bool = True, **facts: Any) -> str:
        """Registers what a run made and makes it champion."""
        files = {"Modelfile": self.folder / "Modelfile"}
        files["Modelfile"].write_text(run_id)
        if adapter:
            (self.folder / "adapter_config.json").write_text(json.dumps(config))
            (self.folder / "adapter_model.safetensors").write_bytes(
                save({"lora": np.zeros(1)}, metadata={"learnt": dataset})
            )
            files |= {
                f"adapter/{name}": self.folder / name for name in ("adapter_config.json", "adapter_model.safetensors")
            }
        told = {"run_id": run_id, "base_digest": POCKET, "dataset_digest": dataset, "started_from": "", **facts}
        version = self.registry.register("oncall", files, facts=told, key=f"{run_id}{facts}", now=NOW).version
        self.registry.set_alias("oncall", "champion", version)
        return version

    def turn_once(self, names: Sequence[int], mode: str = "full", **facts: Any) -> str:
        """A turn that learnt from these interactions and was released."""
        opened = self.open(self.recipe(mode))
        assert opened.ready, opened.message
        dataset = self.freeze(names, f"data-{opened.run_id}")
        with runs.run_station(self.services.database_url, self.services.home, opened.run_id, "curate") as station:
            station.report = {"digest": dataset, "replay": opened.replay}
        runs.finish_run(self.services.database_url, opened.run_id)
        return self.promote(opened.run_id, dataset, **facts)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.services.database_url) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def wheel(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Wheel:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder = tmp_path / "work"
    folder.mkdir()
    here = Services(
        home=tmp_path / "home",
        database_url=database_url,
        s3_url=services.s3_url,
        s3_access_key=services.s3_access_key,
        s3_secret_key=services.s3_secret_key,
        s3_region=None,
        s3_bucket=store.bucket,
        router_url="",
        admin_key="",
        assignment_key="",
    )
    ensure_home_key(here.key_ring)
    return Wheel(here, folder)


def names_in(opened: turn.OpenedTurn) -> list[str]:
    lines = (opened.window / "interactions.jsonl").read_text().splitlines()
    return [json.loads(line)["interaction_id"] for line in lines]


def test_a_small_turn_goes_on_from_the_champion_with_what_came_in_since(wheel: Wheel) -> None:
    wheel.store(4)
    champion = wheel.turn_once(range(4))
    wheel.store(3)
    opened = wheel.open(wheel.recipe())
    assert opened.ready, opened.message
    assert opened.recipe == wheel.recipe().settle()
    assert opened.recipe.training.max_steps == 10
    assert names_in(opened) == ["i4", "i5", "i6"]
    start = read_start(opened.start)
    assert start is not None
    assert (start.version, start.base, start.tolerance, start.share) == (champion, POCKET, 0.0, 0.2)
    assert start.earlier == digest_content(opened.start / "earlier")
    known = start.mix("sft", [SftRow("x", "u", "t", (), "r.", 1.0, 0.9, "answer")] * 4)
    assert [row.id for row in known] == ["x", "x", "x", "x", "v0"]  # one in five, as in replay
    assert json.loads((start.folder / "adapter_config.json").read_text()) == CONFIG
    assert opened.replay == wheel.registry.show("oncall", champion).facts["dataset_digest"]
    run = runs.read_run(wheel.services.database_url, opened.run_id)
    assert (run.recipe.mode, run.window["number"]) == ("incremental", 0)
    report = runs.read_reports(wheel.services.database_url, opened.run_id)["open_turn"]
    assert (report["mode"], report["started_from"]) == ("incremental", champion)
    assert summarise(wheel.services, opened.run_id).facts()["turn"] == f"incremental: on from {champion}"

    # It closed no window: the next full turn has the same rows, and all is accounted for.
    again = wheel.open(wheel.recipe())
    assert (again.run_id, again.message.split()[2]) == (opened.run_id, "resumes:")
    with runs.run_station(wheel.services.database_url, wheel.services.home, opened.run_id, "curate") as station:
        station.report = {"digest": "small"}
    runs.finish_run(wheel.services.database_url, opened.run_id)
    wheel.store(1)
    full = wheel.open(wheel.recipe("full"))
    assert names_in(full) == ["i4", "i5", "i6", "i7"]
    assert read_start(full.start) is None
    assert full.replay == opened.replay  # the last full turn's, not the small one's
    assert audit(wheel.services.database_url).holds


def test_a_full_turn_is_noted_nowhere_and_runs_as_it_was_given(wheel: Wheel) -> None:
    wheel.store(4)
    opened = wheel.open(wheel.recipe("full"))
    assert opened.recipe == wheel.recipe("full")
    assert "open_turn" not in runs.read_reports(wheel.services.database_url, opened.run_id)


def test_too_little_since_the_champion_is_not_yet(wheel: Wheel) -> None:
    wheel.store(4)
    champion = wheel.turn_once(range(4))
    wheel.store(2)
    opened = wheel.open(wheel.recipe())
    assert not opened.ready
    assert opened.message.startswith(
        f"incremental: on from {champion}; not yet: 2 of 3 interactions since the champion's own, in oncall ("
    )


def test_what_was_held_is_learnt_from_again_with_what_came_in_since(wheel: Wheel) -> None:
    wheel.store(4)
    wheel.turn_once(range(4))
    wheel.store(3)
    first = wheel.open(wheel.recipe())
    runs.finish_run(wheel.services.database_url, first.run_id)  # held: the champion stays
    wheel.store(1)
    assert names_in(wheel.open(wheel.recipe())) == ["i4", "i5", "i6", "i7"]


def test_an_unfinished_small_turn_is_given_up_when_the_champion_moves(wheel: Wheel) -> None:
    wheel.store(4)
    wheel.turn_once(range(4))
    wheel.store(4)
    stale = wheel.open(wheel.recipe())
    champion = wheel.turn_once(range(4, 8))
    wheel.store(3)
    opened = wheel.open(wheel.recipe())
    assert opened.run_id != stale.run_id
    assert sorted(names_in(opened)) == ["i10", "i8", "i9"]
    closed = runs.read_run(wheel.services.database_url, stale.run_id)
    assert (closed.status, closed.error) == ("failed", "another version became champion since its window was cut")
    assert json.loads((opened.start / "start.json").read_text())["version"] == champion


@pytest.mark.parametrize(
    ("promoted", "fields", "reason"),
    [
        (None, {}, "no version is champion yet"),
        ({"adapter": False}, {}, "the champion v1.202647.1 is the bare base"),
        ({"base_digest": "f" * 64}, {}, "the champion v1.202647.1 sits on the base ffffffffffff, base.model is "),
        ({"config": {**CONFIG, "r": 8}}, {}, "the adapter of the champion v1.202647.1 has rank 8, the recipe 16"),
        (
            {},
            {"training": {"target_modules": ["q_proj"]}},
            "has target modules k_proj, o_proj, q_proj, v_proj, the recipe q_proj",
        ),
        ({"run_id": "elsewhere"}, {}, "the run that made the champion v1.202647.1 is not in this database"),
        ({}, {"feedback": {"sources": ["oncall", "web"]}}, "learnt from oncall, the recipe names oncall, web"),
    ],
)
def test_where_it_cannot_go_on_the_turn_is_a_full_one_and_says_why(
    wheel: Wheel, capsys: pytest.CaptureFixture[str], promoted: dict[str, Any] | None, fields: Any, reason: str
) -> None:
    wheel.store(4)
    if promoted == {"run_id": "elsewhere"}:
        wheel.promote("elsewhere", wheel.freeze(range(4), "data"))
    elif promoted is not None:
        wheel.turn_once(range(4), **promoted)
    wheel.store(4)
    given = wheel.recipe(**fields)
    capsys.readouterr()
    opened = wheel.open(given)
    assert opened.ready, opened.message
    assert opened.recipe == given.in_mode("full")
    assert read_start(opened.start) is None
    assert not (opened.start / "adapter").exists()
    report = runs.read_reports(wheel.services.database_url, opened.run_id)["open_turn"]
    assert (report["mode"], report["started_from"]) == ("full", "")
    assert report["reason"].startswith("full instead of incremental: ")
    assert reason in report["reason"]
    assert report["reason"] in capsys.readouterr().out
    assert runs.read_run(wheel.services.database_url, opened.run_id).window["number"] > 0


@pytest.mark.parametrize(
    ("erase", "count"),
    [
        (
            "DELETE FROM interactions WHERE interaction_id = 'i5'",
            "1 interactions and 1 events",
        ),  # of the champion's own
        ("DELETE FROM interactions WHERE user_id = 'u1'", "1 interactions and 1 events"),  # of the version before it
        ("DELETE FROM feedback_events WHERE event_id IN ('e1', 'e2')", "0 interactions and 2 events"),
    ],
)
def test_after_an_erasure_only_a_training_from_the_base_will_do(wheel: Wheel, erase: str, count: str) -> None:
    wheel.store(4)
    first = wheel.turn_once(range(4))
    wheel.store(3)
    champion = wheel.turn_once(range(4, 7), "incremental", started_from=first)
    wheel.store(4)
    assert wheel.open(wheel.recipe()).recipe.mode == "incremental"
    wheel.ask(erase)
    opened = wheel.open(wheel.recipe())
    assert opened.ready, opened.message
    assert opened.recipe.mode == "full"
    assert read_start(opened.start) is None
    version = champion if "i5" in erase else first
    reason = runs.read_reports(wheel.services.database_url, opened.run_id)["open_turn"]["reason"]
    assert reason == (
        f"full instead of incremental: {count} that {version} learnt from were erased since, "
        "and only the base has not seen them"
    )
    assert summarise(wheel.services, opened.run_id).facts()["turn"] == reason

    # Nor does a replay bring the erased rows back.
    whole = turn.fetch_dataset(wheel.services, opened.replay)
    left = turn.fetch_replay(wheel.services, opened.replay, wheel.folder / "left")
    rows = {kind: [row.id for row in Dataset(left).rows(kind, "train")] for kind in ("sft", "unpaired")}
    kept = {"i5": ["s0", "s1", "s2", "s3"], "u1": ["s0", "s2", "s3"], "e1": ["s0", "s3"]}
    wanted = next(names for mark, names in kept.items() if mark in erase)
    assert rows == {"sft": wanted, "unpaired": wanted}
    assert (left == whole) is ("i5" in erase)
    assert Dataset(left).card.content_digest == digest_content(left)


def test_a_data_set_that_is_gone_cannot_be_looked_through(wheel: Wheel) -> None:
    wheel.store(4)
    opened = wheel.open(wheel.recipe("full"))
    runs.finish_run(wheel.services.database_url, opened.run_id)
    version = wheel.promote(opened.run_id, "d" * 64)
    wheel.store(4)
    opened = wheel.open(wheel.recipe())
    assert opened.recipe.mode == "full"
    reason = runs.read_reports(wheel.services.database_url, opened.run_id)["open_turn"]["reason"]
    assert f"whether rows that {version} learnt from were erased cannot be told (data set dddd" in reason


def test_a_small_turn_does_not_go_on_from_a_tainted_champion(wheel: Wheel) -> None:
    """The rows are out of the data set by then: only the mark tells."""
    wheel.store(4)
    first = wheel.turn_once(range(4))
    wheel.store(3)
    champion = wheel.turn_once(range(4, 7), "incremental", started_from=first)
    wheel.store(3)
    assert wheel.open(wheel.recipe()).recipe.mode == "incremental"
    mark_tainted(wheel.registry.store, "oncall", first, Taint("erasure-1", NOW, "trained"))
    opened = wheel.open(wheel.recipe())
    reason = runs.read_reports(wheel.services.database_url, opened.run_id)["open_turn"]["reason"]
    assert opened.recipe.mode == "full"
    assert reason == (
        f"full instead of incremental: rows that {first} learnt from were erased on 2026-11-21, "
        "and only the base has not seen them"
    )
    assert champion != first
