"""Weeks with everything in them, for the tests of curation from end to end."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from flytewheel.curation.build import join_prepared
from flytewheel.curation.deal import deal_window
from flytewheel.curation.prepare import prepare_share
from flytewheel.dataset import DatasetCard
from flytewheel.recipe import RlhfSpec
from flytewheel.records import FeedbackEvent, Interaction, Message
from tests.curation.windows import at, make_event, make_interaction, make_rules, make_week, write_window

Week = tuple[list[Interaction], list[FeedbackEvent]]

HOLDOUT = {"holdout_share": 0.1, "train_share": 0.6, "validation_share": 0.2}
QUERY = "The {} of {} misbehaves since {}, which of the usual steps should I take now to get it healthy again?"
ANSWER = "Look at the {} graph of {}, then run `{}ctl heal {}` and check that every write succeeds again. Ask {}."
COMMENTS = (
    "exactly what I needed, thank you", "wrong, it says nothing about the replica", "too long",
    "mail jo.doe@example.com",
)  # fmt: skip
BAD = (b"{", b"[]", b"\xff\xfe{}", b'{"interaction_id": 7}', b"null")


def make_busy_week(seed: int, *, users: int = 40, sessions: int = 70, prefix: str = "user") -> Week:
    """Sessions of one to four turns: shared and near prompts, silent turns, edits, duels, comments, personal data."""
    chance = random.Random(seed)
    interactions: list[Interaction] = []
    events: list[FeedbackEvent] = []

    def react(about: Interaction, kind: str, **fields: Any) -> None:
        time = about.timestamp + timedelta(seconds=chance.uniform(3, 900))
        events.append(make_event(len(events), about, kind, timestamp=time, **fields))

    for session in range(sessions):
        user, topic = f"{prefix}-{chance.randrange(users):03d}", chance.choice(("disk", "cache", "queue", None))
        name = chance.choice((None, f"s{session}", f"s{session}"))
        history: list[Message] = []
        brings = chance.random() < 0.5
        start = chance.uniform(0, 500_000)
        for turn in range(chance.choice((1, 1, 2, 3, 4)) if name else 1):
            host = f"{chance.choice(('blob', 'cart'))}-{chance.randrange(12)}"
            since = chance.choice(("this morning", "this morning", "yesterday"))
            query = QUERY.format(topic or "shard", host, since)
            if chance.random() < 0.2:
                query += f" Mail me: user{session}@example.com or +44 20 7946 0{chance.randrange(100, 999)}."
            answer = ANSWER.format(topic, host, topic, host, chance.choice(("#oncall", "the owner", "nobody")))
            one = make_interaction(
                len(interactions), user, session_id=name, query=query, response=answer, topic=topic,
                timestamp=at(start + 60 * turn), history=tuple(history) if brings else (),
                context=f"Runbook: {answer}" if chance.random() < 0.4 else None,
                metadata={"mean_logprob": -chance.random()} if chance.random() < 0.5 else {},
            )  # fmt: skip
            interactions.append(one)
            history += [Message(role="user", content=query), Message(role="assistant", content=answer)]
            text = f"First, as always: {answer} Then tell user{session}@example.com about {host}."
            match chance.randrange(9):
                case 0 | 1 | 2:
                    react(one, "thumbs_up", comment=chance.choice(COMMENTS))
                case 3 | 4:
                    react(one, "thumbs_down", comment=chance.choice(COMMENTS))
                    react(one, "copied")
                case 5:
                    react(one, "correction", corrected_response=text)
                case 6:
                    react(one, "edit", corrected_response=text)
                    react(one, "rating", rating=chance.randrange(1, 6))
                case 7:
                    react(one, "duel", other_response=text, preferred=chance.choice(("this", "other", "tie")))
    for number in range(25):  # a burst, and a rude person
        one = make_interaction(50_000 + number, "spammer", query=f"Shill question {number} about spam, is it good?")
        interactions.append(one)
        events.append(make_event(50_000 + number, one, timestamp=at(7 + number / 10)))
    interactions.append(make_interaction(60_000, "rude", query="You stupid bot, how do I free the disk?"))
    events.append(make_event(60_000, interactions[-1]))
    return interactions, events


def write_busy_window(folder: Path, week: Week, *, shuffle: int | None = None, late: int = 9) -> Path:
    """The window with bad lines, repeated ids with other bodies and late events, in the order of `shuffle`."""
    interactions, events = week
    window = write_window(folder, interactions[late:], events)
    write_window(folder / "earlier", interactions[:late], events[:3])
    (folder / "earlier" / "interactions.jsonl").rename(folder / "earlier_interactions.jsonl")
    (folder / "earlier" / "feedback.jsonl").rename(folder / "earlier_feedback.jsonl")
    twins = [
        interactions[20].model_copy(update={"user_id": "twin", "query": "A twin's question?"}),
        interactions[30].model_copy(update={"user_id": interactions[31].user_id}),
    ]
    twice = [events[n].model_copy(update={"interaction_id": events[n + 5].interaction_id}) for n in (11, 12, 13)]
    for name, extra in (("interactions.jsonl", twins), ("feedback.jsonl", twice)):
        lines = (folder / name).read_bytes().splitlines()
        lines += [one.model_dump_json().encode() for one in extra] + [*BAD, *BAD[:2]]
        nan = json.dumps({**json.loads(lines[0]), "metadata": {"count": float("nan")}}).encode()
        lines.append(nan)
        if shuffle is not None:
            random.Random(shuffle).shuffle(lines)
        (folder / name).write_bytes(b"\n".join(lines))
    return window


def curate_in_shares(
    window: Path, scratch: Path, out: Path, *, shares: int, workers: int = 1, turned: bool = False, **curation: Any
) -> DatasetCard:
    """Deals, prepares every share by itself and joins them, as a cluster does."""
    rules = make_rules(**curation)
    folders: Sequence[Path] = deal_window(window, scratch / "dealt", shares=shares)
    for share in folders:
        prepare_share(share, scratch / "prepared" / share.name, rules, workers=workers)
    prepared = sorted((scratch / "prepared").iterdir(), reverse=turned)
    return join_prepared(prepared, out, rules=rules, rlhf=RlhfSpec(), seed=7)


def read_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


__all__ = [
    "BAD", "HOLDOUT", "Week", "curate_in_shares", "make_busy_week", "make_week", "read_bytes", "write_busy_window",
]  # fmt: skip
