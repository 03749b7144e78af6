"""Windows of feedback for the tests of curation."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flytewheel.curation.build import build_dataset
from flytewheel.curation.judged import Judged
from flytewheel.curation.prepare import Rules
from flytewheel.dataset import DatasetCard
from flytewheel.feedback.rewards import score
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec, RlhfSpec
from flytewheel.records import FeedbackEvent, Interaction, write_jsonl

START = datetime(2026, 11, 9, 8, tzinfo=UTC)
BASE = BaseModelSpec(model="pocket")
TOPICS = ("disk", "cache", "queue")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def make_interaction(number: int, user: str = "ann", **fields: Any) -> Interaction:
    given = {
        "interaction_id": f"i{number:05d}",
        "user_id": user,
        "timestamp": at(number * 60),
        "query": f"How do I free the disk of host number {number}?",
        "response": f"Look at the disk usage of host {number}, then prune its logs and check that writes succeed.",
        "topic": "disk",
    }
    return Interaction(**{**given, **fields})


def make_event(number: int, about: Interaction, kind: str = "thumbs_up", **fields: Any) -> FeedbackEvent:
    given = {
        "event_id": f"e{number:05d}",
        "interaction_id": about.interaction_id,
        "user_id": about.user_id,
        "feedback_type": kind,
        "timestamp": about.timestamp + timedelta(seconds=5),
    }
    return FeedbackEvent(**{**given, **fields})


def make_judged(place: int, *, total: float = 1.0, explicit: float | None = None, **fields: Any) -> Judged:
    """A judged answer; by default each is another answer to another question."""
    given: dict[str, Any] = {
        "place": place,
        "id": f"i{place:05d}",
        "user": "ann",
        "topic": "disk",
        "prompt": place,
        "cluster": place,
        "question": place,
        "answer": 1000 + place,
        "explicit": total if explicit is None else explicit,
        "total": total,
        "quality": 0.7,
        "surprise": None,
        "correction": None,
        "correction_source": "correction" if fields.get("correction") is not None else None,
        "correction_quality": 0.55,
        "other": None,
        "other_preferred": None,
    }
    return Judged(**{**given, **fields})


def write_window(
    folder: Path, interactions: Sequence[Interaction], events: Sequence[FeedbackEvent], *, shuffle: int | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows, reactions = list(interactions), list(events)
    if shuffle is not None:
        random.Random(shuffle).shuffle(rows)
        random.Random(shuffle + 1).shuffle(reactions)
    write_jsonl(folder / "interactions.jsonl", rows)
    write_jsonl(folder / "feedback.jsonl", reactions)
    window = {"sources": ["oncall"], "high_xid": "9", "interactions": len(rows), "events": len(reactions)}
    (folder / "window.json").write_text(json.dumps(window), encoding="utf-8")
    return folder


def make_week(
    users: int = 120, questions: int = 250, seed: int = 1, prefix: str = "user"
) -> tuple[list[Interaction], list[FeedbackEvent]]:
    """Each question is asked by one or two people, twice each; good and bad answers, thumbs, some corrections."""
    chance = random.Random(seed)
    interactions: list[Interaction] = []
    events: list[FeedbackEvent] = []
    for question in range(questions):
        topic = TOPICS[question % 3]
        host = f"{chance.choice(('blob', 'cart', 'mail'))}-{question}"
        query = f"The {topic} of {host} misbehaves since this morning, which steps should I take now?"
        for _ in range(chance.choice((1, 1, 2))):
            user = f"{prefix}-{chance.randrange(users):03d}"
            for good in (True, False):
                number = len(interactions)
                steps = f"Look at the {topic} graph.\nRun `{topic}ctl heal {host}`."
                response = (
                    f"{steps}\nCheck that it is quiet.\nEscalate: #{topic}"
                    if good
                    else f"Perhaps restart {host} and wait a while, or ask in the general channel what others did."
                )
                context = f"Runbook: look at the {topic} graph, run {topic}ctl heal {host}, check that it is quiet."
                one = make_interaction(number, user, query=query, response=response, context=context, topic=topic)
                interactions.append(one)
                events.append(make_event(len(events), one, "thumbs_up" if good else "thumbs_down"))
                if not good and chance.random() < 0.3:
                    fix = f"First, as always: {steps}\nEscalate: #{topic}-oncall"
                    events.append(
                        make_event(
                            len(events),
                            one,
                            "correction",
                            corrected_response=fix,
                            timestamp=one.timestamp + timedelta(seconds=9),
                        )
                    )
    return interactions, events


class WordCounter:
    """Counts words as tokens."""

    def __call__(self, text: str) -> int:
        return len(text.split())

    def judge_lengths(self, texts: Sequence[str], low: int, high: int) -> list[int]:
        counts = [self(text) for text in texts]
        return [-1 if count < low else int(count > high) for count in counts]


def make_rules(**curation: Any) -> Rules:
    spec = CurationSpec(**{"max_rows_per_user": 50, "holdout_share": 0.0, **curation})
    return Rules(FeedbackSpec(), spec, BASE, WordCounter(), score)


def curate(
    window: Path,
    out: Path,
    *,
    replay: Path | None = None,
    seed: int = 7,
    workers: int = 1,
    progress: Any = None,
    **curation: Any,
) -> DatasetCard:
    return build_dataset(
        window,
        out,
        rules=make_rules(**curation),
        rlhf=RlhfSpec(),
        seed=seed,
        replay=replay,
        workers=workers,
        progress=progress,
    )
