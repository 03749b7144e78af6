"""Writes what later steps decide by: an interaction's reward, quality, keys and texts, its votes, its session.

Answers are compared by a 64-bit key of their text (BLAKE2b), white space aside. An interaction that nobody reacted to
is kept only as a turn of a session of several, with no reward: it shows nothing by itself, but a trajectory holds it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from flytewheel.curation.events import Reviewed, mask_names
from flytewheel.curation.fingerprints import fingerprint_prompts
from flytewheel.curation.ledger import Tally
from flytewheel.curation.prompts import join_prompt, normalise_all
from flytewheel.curation.score import (
    CORRECTION_REWARD,
    RewardLike,
    ScoreRewards,
    list_context_words,
    measure_quality,
    uses_context,
)
from flytewheel.curation.screening import identify_text
from flytewheel.dataset import Step
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec
from flytewheel.records import EXPLICIT_TYPES, FeedbackEvent, FeedbackType, build_prompt

COPIED_WORDS = 5  # shorter comments ("wrong", "thanks!") are alike without being copied

ROWS, VOTES, PROMPTS = "rows.parquet", "votes.parquet", "prompts"

_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # of years 1 to 9999, UTC
_TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
_ROW_SCHEMA: dict[str, Any] = {
    "id": pa.string(),
    "user": pa.string(),
    "session": pa.string(),
    "time_us": pa.int64(),
    "topic": pa.string(),
    "before": pa.list_(_TURN),
    "query": pa.string(),
    "words": pa.string(),  # the query, normalised
    "background": pa.string(),  # what stands before it, normalised
    "response": pa.string(),
    "response_words": pa.int64(),
    "response_key": pa.uint64(),
    "correction": pa.string(),
    "correction_source": pa.string(),  # correction | edit
    "correction_key": pa.uint64(),
    "written_event": pa.string(),  # that brought the correction
    "other": pa.string(),  # the other answer of a duel
    "other_key": pa.uint64(),
    "other_preferred": pa.bool_(),
    "duel_event": pa.string(),
    "explicit": pa.float64(),
    "implicit": pa.float64(),
    "total": pa.float64(),
    "quality": pa.float64(),
    "correction_quality": pa.float64(),
    "context_used": pa.bool_(),
    "session_s": pa.float64(),
    "surprise": pa.float64(),
    "event_ids": pa.list_(pa.string()),
    "heard": pa.string(),  # the events without texts, for scoring again without some of them
}
_VOTE_SCHEMA: dict[str, Any] = {
    "row": pa.int64(),
    "event_id": pa.string(),
    "sign": pa.int8(),
    "explicit": pa.bool_(),
    "time_us": pa.int64(),
    "account_age_s": pa.float64(),
    "said_key": pa.uint64(),  # of a comment or correction that is long enough to be copied
    "comment": pa.string(),
}


def key_text(text: str) -> int:
    """The 64-bit key of an answer's text."""
    return int.from_bytes(hashlib.blake2b(identify_text(text).encode(errors="replace"), digest_size=8).digest())


def write_features(
    out: Path,
    reviewed: Sequence[Reviewed],
    *,
    feedback: FeedbackSpec,
    curation: CurationSpec,
    base: BaseModelSpec,
    score_rewards: ScoreRewards,
) -> Step:
    """Writes the files of one bucket (see `prepare`); returns the step `score`."""
    tally = Tally("score", len(reviewed))
    turns = Counter((item.interaction.user_id, item.interaction.session_id) for item in reviewed)
    rows: dict[str, list[Any]] = {name: [] for name in _ROW_SCHEMA}
    votes: dict[str, list[Any]] = {name: [] for name in _VOTE_SCHEMA}
    contexts = _ContextWords()
    prepared: list[tuple[Reviewed, RewardLike]] = []
    for item in reviewed:
        reward = score_rewards(item.events, feedback, session_duration_s=item.session_s)
        if reward.total is None:
            tally.drop("no reaction", item.interaction.query)
            session = item.interaction.session_id
            if session is None or turns[item.interaction.user_id, session] < 2:
                continue
        prepared.append((item, reward))
    users = mask_names(item.interaction.user_id for item, _ in prepared)
    texts = normalise_all([item.interaction.response for item, _ in prepared])
    words = normalise_all([item.interaction.query for item, _ in prepared])
    asked = [
        build_prompt(
            item.interaction.query,
            system=base.system_prompt,
            context=item.interaction.context,
            history=item.interaction.history,
        )
        for item, _ in prepared
    ]
    backgrounds = normalise_all([join_prompt(prompt, base.system_prompt)[1] for prompt in asked])
    for place, (item, reward) in enumerate(prepared):
        one = item.interaction
        known = contexts.find(one.context)
        used = uses_context(texts[place], known)
        written = find_written(item.events) if feedback.enable_explicit else None
        fix = written.corrected_response if written else None
        duel = find_duel(item.events) if feedback.enable_explicit else None
        event_ids = [event.event_id for event in item.events]
        for name, value in {
            "id": one.interaction_id,
            "user": users[one.user_id],
            "session": one.session_id,
            "time_us": _microseconds(one.timestamp),
            "topic": one.topic,
            "before": [{"role": turn.role, "content": turn.content} for turn in asked[place][:-1]],
            "query": one.query,
            "words": words[place],
            "background": backgrounds[place],
            "response": one.response,
            "response_words": len(one.response.split()),
            "response_key": key_text(one.response),
            "correction": fix,
            "correction_source": written.feedback_type.value if written else None,
            "correction_key": key_text(fix) if fix else None,
            "written_event": written.event_id if written else None,
            "duel_event": duel.event_id if duel else None,
            "other": duel.other_response if duel else None,
            "other_key": key_text(duel.other_response or "") if duel else None,
            "other_preferred": duel.preferred == "other" if duel else None,
            "explicit": reward.explicit,
            "implicit": reward.implicit,
            "total": reward.total,
            "quality": measure_quality(
                curation.quality, explicit=reward.explicit, implicit=reward.implicit, context_used=used
            ),
            "correction_quality": measure_quality(
                curation.quality,
                explicit=CORRECTION_REWARD,
                implicit=None,
                context_used=bool(known) and uses_context(normalise_all([fix])[0], known),
            )
            if fix
            else None,
            "context_used": used,
            "session_s": item.session_s,
            "surprise": _read_surprise(one.metadata),
            "event_ids": event_ids,
            "heard": _note_events(item.events),
        }.items():
            rows[name].append(value)
        created = one.metadata.get("account_created_at")
        for event in item.events:
            said = event.comment or event.corrected_response
            votes["row"].append(place)
            votes["event_id"].append(event.event_id)
            votes["sign"].append(find_sign(event))
            votes["explicit"].append(event.feedback_type in EXPLICIT_TYPES)
            votes["time_us"].append(_microseconds(event.timestamp))
            votes["account_age_s"].append(_measure_age(event.metadata.get("account_created_at", created), event))
            votes["said_key"].append(key_text(said.casefold()) if said and len(said.split()) >= COPIED_WORDS else None)
            votes["comment"].append(event.comment)
    fingerprint_prompts(words, backgrounds, curation.near_duplicate_similarity).write(out / PROMPTS)
    _write(out / ROWS, rows, _ROW_SCHEMA)
    _write(out / VOTES, votes, _VOTE_SCHEMA)
    return tally.close()


def find_written(events: Sequence[FeedbackEvent]) -> FeedbackEvent | None:
    """The event whose text is the one to learn from: the last correction, else the last edit."""
    for kind in (FeedbackType.CORRECTION, FeedbackType.EDIT):
        given = [event for event in events if event.feedback_type is kind and event.corrected_response]
        if given:
            return max(given, key=_by_time)
    return None


def find_duel(events: Sequence[FeedbackEvent]) -> FeedbackEvent | None:
    """The last duel that one answer won."""
    given = [event for event in events if event.other_response and event.preferred in ("this", "other")]
    return max(given, key=_by_time) if given else None


def find_sign(event: FeedbackEvent) -> int:
    """The direction of what was said: -1, 0 or 1."""
    match event.feedback_type:
        case FeedbackType.THUMBS_UP:
            return 1
        case FeedbackType.THUMBS_DOWN | FeedbackType.CORRECTION | FeedbackType.ABANDONMENT:
            return -1
        case FeedbackType.RATING:
            rating = event.rating or 3
            return (rating > 3) - (rating < 3)
        case FeedbackType.DUEL:
            return {"this": 1, "other": -1}.get(event.preferred or "", 0)
        case _:
            return 0


def read_heard(noted: str) -> list[FeedbackEvent]:
    """Reads what `rows.parquet` notes of an interaction's events."""
    return [FeedbackEvent.model_validate(event) for event in orjson.loads(noted)]


def _write(path: Path, columns: Mapping[str, list[Any]], schema: Mapping[str, Any]) -> None:
    # Arrow's own conversion of nested lists takes a tenth of Polars'.
    arrays = {name: pa.array(columns[name], kind) for name, kind in schema.items()}
    pq.write_table(pa.table(arrays), path, compression="lz4")


class _ContextWords:
    """Words of contexts; many interactions rest on the same one."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}

    def find(self, context: str | None) -> frozenset[str]:
        if not context:
            return frozenset()
        if context not in self._known:
            self._known[context] = list_context_words(normalise_all([context])[0])
        return self._known[context]


def _by_time(event: FeedbackEvent) -> tuple[datetime, str]:
    return event.timestamp, event.event_id


def _microseconds(at: datetime) -> int:
    # an offset can put the first and the last day of the calendar outside of it
    return min(max(round(at.timestamp() * 1_000_000), _FIRST_US), _LAST_US)


def _note_events(events: Sequence[FeedbackEvent]) -> str:
    noted = [
        {
            "event_id": event.event_id,
            "interaction_id": event.interaction_id,
            "user_id": event.user_id,
            "feedback_type": event.feedback_type.value,
            "timestamp": event.timestamp,
            "rating": event.rating,
            "preferred": event.preferred,
            "metadata": {
                name: float(value)  # orjson writes no integer beyond 64 bits
                for name in ("seconds", "count", "read_s", "expected_s")
                if isinstance(value := event.metadata.get(name), int | float) and not isinstance(value, bool)
            },
        }
        for event in events
    ]
    return orjson.dumps(noted).decode()


def _measure_age(created: object, event: FeedbackEvent) -> float | None:
    if not isinstance(created, str):
        return None
    try:
        born = datetime.fromisoformat(created)
    except ValueError:
        return None
    return None if born.tzinfo is None else max(0.0, (event.timestamp - born).total_seconds())


def _read_surprise(metadata: Mapping[str, Any]) -> float | None:
    """The serving model's mean loss on its answer, where the log brings it: minus `mean_logprob`, nats a token."""
    value = metadata.get("mean_logprob")
    return -float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0 else None
