"""Ends a review: its duels become feedback that the next window's curation makes preferences of.

Events are written once, when no label can change any more, so that a changed mind or an undo never leaves two that
contradict each other. A duel that several people labelled is one event, with what they say together (`labels.decide`).

Each duel is stored as an interaction of the *user whose prompt it is*, under ids made of review and duel. Parts are
dealt by user, so a test user's prompt stays in the test part, and a holdout user's out of everything: people's labels
sharpen the next evaluation's held-out preferences, and never train on what they judge.

Its `response` is the answer that lost, `other_response` the one that won. Curation makes the same pair of it in either
order, but an answer that was liked would also become a row to imitate, and so a model's own words the reference that
the next models' test answers are compared with. Reviewers' names and comments stay with the labels: a comment on a pair
says nothing about one answer alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.feedback.store import FeedbackStore
from flytewheel.records import REVIEWED, FeedbackEvent, FeedbackType, Interaction, Message, build_prompt
from flytewheel.review.labels import StoredLabel, decide, read_labels
from flytewheel.review.store import Duel, Review, find_review, get_review, list_duels, list_reviews

_CONTEXT = "Context:\n"


@dataclass(frozen=True, slots=True)
class Closed:
    """What a review's duels became: `preferences` and `ties` were stored in stream `source`, `unlabelled` were not.

    `empty`: duels that an empty answer won, or tied; there is no text to learn from.
    """

    source: str
    preferences: int
    ties: int
    unlabelled: int
    empty: int

    @property
    def stored(self) -> int:
        return self.preferences + self.ties


def close_review(database_url: str, name: str, *, source: str) -> Closed:
    """Closes a review and stores its duels; what a broken-off call left out is made up for, else nothing changes.

    Args:
        database_url: PostgreSQL.
        name: of the review or its run.
        source: the model's feedback stream.

    Raises:
        ReviewError: there is none.
        FeedbackError: an id that the store holds already stands for something else.
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        review = find_review(connection, name, lock="FOR UPDATE")
        if review.stored is not None:
            return Closed(**review.stored)
        # A label waits for this lock and then finds the review closed; from here on nothing changes.
        connection.execute(
            "UPDATE reviews SET closed_at = coalesce(closed_at, now()) WHERE review_id = %s", (review.review_id,)
        )
    closed = _store(database_url, get_review(database_url, review.review_id), source)
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE reviews SET stored = %s WHERE review_id = %s", (Jsonb(asdict(closed)), review.review_id)
        )
    return closed


def close_due(
    database_url: str, name: str, *, source: str, now: datetime, open_days: float, but: str | None = None
) -> list[tuple[Review, Closed]]:
    """Closes the reviews of a model that are complete, or have been open for `open_days`, before its next window.

    Complete: each duel has a label, each shared one two. One that nobody has looked at ends by age like any other.

    Args:
        database_url: PostgreSQL.
        name: of the model.
        source: its feedback stream.
        now: current time.
        open_days: how long people have.
        but: a run that is about to go on, and with it its review.
    """
    found = []
    for review in list_reviews(database_url, name=name):
        if review.stored is not None or review.run_id == but:
            continue
        aged = now - review.opened_at >= timedelta(days=open_days)
        if not review.open or aged or _is_complete(database_url, review):
            found.append((review, close_review(database_url, review.review_id, source=source)))
    return found


def _is_complete(database_url: str, review: Review) -> bool:
    counts: dict[str, int] = defaultdict(int)
    shared = set()
    for label in read_labels(database_url, review.review_id):
        counts[label.duel_id] += 1
        if label.shared:
            shared.add(label.duel_id)
    return len(counts) == review.duels and sum(counts[name] > 1 for name in shared) == review.common


def _store(database_url: str, review: Review, source: str) -> Closed:
    said: dict[str, list[StoredLabel]] = defaultdict(list)
    for label in read_labels(database_url, review.review_id):
        said[label.duel_id].append(label)
    duels = list_duels(database_url, review.review_id)
    store = FeedbackStore(database_url)
    preferences = ties = empty = 0
    for duel in duels:
        labels = said[duel.duel_id]
        if not labels:
            continue
        records = write_records(review, duel, labels)
        if records is None:
            empty += 1
            continue
        store.record_interaction(records[0], source)
        store.record_event(records[1])
        ties += records[1].preferred == "tie"
        preferences += records[1].preferred != "tie"
    return Closed(source, preferences, ties, len(duels) - preferences - ties - empty, empty)


def write_records(
    review: Review, duel: Duel, labels: Sequence[StoredLabel]
) -> tuple[Interaction, FeedbackEvent] | None:
    """The interaction and the event of a labelled duel; `None` where an empty answer won or tied."""
    preferred = decide(label.preferred for label in labels)
    lost, won = (duel.theirs, duel.ours) if preferred == "ours" else (duel.ours, duel.theirs)
    if not won.strip():
        return None
    name = f"{REVIEWED}{review.review_id}/{duel.duel_id}"
    history, query, context = take_apart(duel.prompt, review.system)
    about = {
        "run_id": review.run_id,
        "review_id": review.review_id,
        "response_by": "champion" if preferred == "ours" else "candidate",
        "labels": len(labels),
    }
    interaction = Interaction(
        interaction_id=name,
        user_id=duel.user,
        timestamp=review.opened_at,
        query=query,
        response=lost,
        context=context,
        history=history,
        topic=duel.topic or None,
        metadata=about,
    )
    event = FeedbackEvent(
        event_id=f"{name}/duel",
        interaction_id=name,
        user_id=duel.user,
        feedback_type=FeedbackType.DUEL,
        timestamp=max(label.at for label in labels),
        other_response=won,
        preferred="tie" if preferred == "tie" else "other",
        metadata=about,
    )
    return interaction, event


def take_apart(prompt: Sequence[Message], system: str | None) -> tuple[tuple[Message, ...], str, str | None]:
    """History, query and context of which `records.build_prompt` makes the prompt again.

    A prompt has them joined. The recipe's system prompt is left out, since curation puts its own there.

    Args:
        prompt: opens with the system turn, if there is one, and ends with the user's.
        system: the recipe's system prompt.
    """
    *before, last = prompt
    turns = tuple(before)
    if not turns or turns[0].role != "system":
        return turns, last.content, None
    head, rest = turns[0].content, turns[1:]
    own, gap, context = head.partition(f"\n\n{_CONTEXT}")
    attempts: list[tuple[tuple[Message, ...], str | None]] = []
    if head == system:
        attempts.append((rest, None))
    if system and head.startswith(f"{system}\n\n{_CONTEXT}"):
        attempts.append((rest, head.removeprefix(f"{system}\n\n{_CONTEXT}")))
    if not system and head.startswith(_CONTEXT):
        attempts.append((rest, head.removeprefix(_CONTEXT)))
    if gap:
        attempts.append(((Message(role="system", content=own), *rest), context))
    for history, found in attempts:
        if build_prompt(last.content, system=system, context=found, history=history) == tuple(prompt):
            return history, last.content, found
    return turns, last.content, None
