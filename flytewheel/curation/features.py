"""Writes what later steps decide by: an interaction's reward, quality, keys and texts, its votes, its session.

What can be is worked out for all rows at once, and what few rows have only for those. An interaction that nobody
reacted to is kept only as a turn of a session of several, with no reward: it shows nothing by itself, but a trajectory
holds it. Tables are Arrow files: they are read once or twice and thrown away, and Parquet costs twice as much to write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from flytewheel.curation.events import Reviewed, mask_names
from flytewheel.curation.fingerprints import fingerprint_prompts
from flytewheel.curation.grounding import find_grounded
from flytewheel.curation.keys import key_texts
from flytewheel.curation.ledger import Tally
from flytewheel.curation.prompts import join_prompt, normalise_all
from flytewheel.curation.reactions import find_duel, find_sign, find_written, note_events
from flytewheel.curation.score import CORRECTION_REWARD, RewardLike, ScoreRewards, measure_quality
from flytewheel.curation.shingles import Ints
from flytewheel.dataset import Step
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec, QualityWeights
from flytewheel.records import EXPLICIT_TYPES, FeedbackEvent, Interaction, Message, build_prompt

Column: TypeAlias = Sequence[Any] | npt.NDArray[Any] | pl.Series

COPIED_WORDS = 5  # shorter comments ("wrong", "thanks!") are alike without being copied

ROWS, VOTES, PROMPTS = "rows.arrow", "votes.arrow", "prompts"

_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # of years 1 to 9999, UTC
_TURN = pl.Struct({"role": pl.String, "content": pl.String})
_ROW_SCHEMA: dict[str, Any] = {
    "id": pl.String,
    "user": pl.String,
    "session": pl.String,
    "time_us": pl.Int64,
    "topic": pl.String,
    "before": pl.List(_TURN),
    "query": pl.String,
    "words": pl.String,  # the query, normalised
    "background": pl.String,  # what stands before it, normalised
    "response": pl.String,
    "response_words": pl.Int64,
    "response_key": pl.UInt64,
    "correction": pl.String,
    "correction_source": pl.String,  # correction | edit
    "correction_key": pl.UInt64,
    "written_event": pl.String,  # that brought the correction
    "other": pl.String,  # the other answer of a duel
    "other_key": pl.UInt64,
    "other_preferred": pl.Boolean,
    "duel_event": pl.String,
    "explicit": pl.Float64,
    "implicit": pl.Float64,
    "total": pl.Float64,
    "quality": pl.Float64,
    "correction_quality": pl.Float64,
    "context_used": pl.Boolean,
    "session_s": pl.Float64,
    "surprise": pl.Float64,
    "event_ids": pl.List(pl.String),
    "heard": pl.String,  # the events without texts, for scoring again without some of them
}
_VOTE_SCHEMA: dict[str, Any] = {
    "row": pl.Int64,
    "event_id": pl.String,
    "sign": pl.Int8,
    "explicit": pl.Boolean,
    "time_us": pl.Int64,
    "account_age_s": pl.Float64,
    "said_key": pl.UInt64,  # of a comment or correction that is long enough to be copied
    "comment": pl.String,
}


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
    kept: list[Reviewed] = []
    rewards: list[RewardLike] = []
    turns: Counter[tuple[str, str | None]] | None = None
    for item in reviewed:
        reward = score_rewards(item.events, feedback, session_duration_s=item.session_s)
        if reward.total is None:
            one = item.interaction
            tally.drop("no reaction", one.query)
            turns = turns or Counter((item.interaction.user_id, item.interaction.session_id) for item in reviewed)
            if one.session_id is None or turns[one.user_id, one.session_id] < 2:
                continue
        kept.append(item)
        rewards.append(reward)
    words = normalise_all([item.interaction.query for item in kept])
    before, background, backgrounds = _list_before([item.interaction for item in kept], base.system_prompt)
    rows: dict[str, Column] = {"before": before, "words": words, "background": background}
    rows |= _list_served(kept) | _list_scores(kept, rewards, feedback, curation.quality)
    fingerprint_prompts(words, backgrounds, curation.near_duplicate_similarity).write(out / PROMPTS)
    _write(out / ROWS, rows, _ROW_SCHEMA)
    _write(out / VOTES, _list_votes(kept), _VOTE_SCHEMA)
    return tally.close()


def _write(path: Path, columns: Mapping[str, Column], schema: Mapping[str, Any]) -> None:
    pl.DataFrame(
        {
            name: given if isinstance(given := columns[name], pl.Series) else pl.Series(name, given, kind)
            for name, kind in schema.items()
        }
    ).write_ipc(path, compression="uncompressed")  # so that it is mapped, and only rows that are wanted are read


def _nest(sizes: Sequence[int], flat: Mapping[str, Sequence[str]], kind: Any) -> pl.Series:
    """Lists of these sizes of what is strung together in `flat`: of texts, or of structs of several."""
    # Polars takes nested lists of Python apart at 50 times the cost.
    held = pl.DataFrame(
        {"row": np.repeat(np.arange(len(sizes)), sizes), **flat},
        schema={"row": pl.Int64, **dict.fromkeys(flat, pl.String)},
    )
    one = pl.struct(*flat) if isinstance(kind.inner, pl.Struct) else pl.col(*flat)
    lists = held.group_by("row", maintain_order=True).agg(one.alias("list"))
    filled = pl.DataFrame({"row": np.arange(len(sizes))}).join(lists, on="row", how="left", maintain_order="left")
    return filled["list"].cast(kind).fill_null([])


def _list_before(ones: Sequence[Interaction], system_prompt: str | None) -> tuple[pl.Series, pl.Series, list[str]]:
    """Columns of what stands before each query, and of its normalised words, and these once more.

    Most interactions bring no history, and stand behind the same system turn as all with their context.
    """
    known: dict[str | None, int] = {}
    prompts: list[tuple[Message, ...]] = []
    which = []
    for one in ones:
        place = len(prompts) if one.history else known.setdefault(one.context, len(prompts))
        if place == len(prompts):
            prompts.append(build_prompt(one.query, system=system_prompt, context=one.context, history=one.history))
        which.append(place)
    words = normalise_all([join_prompt(prompt, system_prompt)[1] for prompt in prompts])
    turns = [turn for prompt in prompts for turn in prompt[:-1]]
    flat: dict[str, list[str]] = {"role": [turn.role for turn in turns], "content": [turn.content for turn in turns]}
    before = _nest([len(prompt) - 1 for prompt in prompts], flat, _ROW_SCHEMA["before"])
    background = pl.Series("background", words, pl.String)
    # Gathered texts are one text in memory and in the file.
    return before.gather(which), background.gather(which), [words[place] for place in which]


def _list_served(kept: Sequence[Reviewed]) -> dict[str, Column]:
    """Columns of what was asked and answered, and when, and to whom."""
    ones = [item.interaction for item in kept]
    users = mask_names(one.user_id for one in ones)
    responses = [one.response for one in ones]
    keys, sizes = key_texts(responses)
    return {
        "id": [one.interaction_id for one in ones],
        "user": [users[one.user_id] for one in ones],
        "session": [one.session_id for one in ones],
        "time_us": _list_microseconds([one.timestamp for one in ones]),
        "topic": [one.topic for one in ones],
        "query": [one.query for one in ones],
        "response": responses,
        "response_words": sizes,
        "response_key": keys,
        "session_s": [item.session_s for item in kept],
        "surprise": [_read_surprise(one.metadata) for one in ones],
        "event_ids": _nest(
            [len(item.events) for item in kept],
            {"event_id": [event.event_id for item in kept for event in item.events]},
            _ROW_SCHEMA["event_ids"],
        ),
        "heard": [note_events(item.events) for item in kept],
    }


def _list_scores(
    kept: Sequence[Reviewed], rewards: Sequence[RewardLike], feedback: FeedbackSpec, weights: QualityWeights
) -> dict[str, Column]:
    """Columns of what people thought of an answer, and of the texts that they wanted instead."""
    contexts = [item.interaction.context for item in kept]
    used = find_grounded([item.interaction.response for item in kept], contexts).tolist()
    written: dict[int, FeedbackEvent] = {}
    duels: dict[int, FeedbackEvent] = {}
    for row, item in enumerate(kept if feedback.enable_explicit else ()):
        for event in item.events:
            if event.corrected_response and row not in written and (found := find_written(item.events)):
                written[row] = found
            if event.other_response and row not in duels and (found := find_duel(item.events)):
                duels[row] = found
    fixes = [event.corrected_response or "" for event in written.values()]
    grounded = find_grounded(fixes, [contexts[row] for row in written]).tolist()
    qualities = [
        measure_quality(weights, explicit=CORRECTION_REWARD, implicit=None, context_used=own) for own in grounded
    ]
    others = [event.other_response or "" for event in duels.values()]

    def spread(rows: Iterable[int], values: Iterable[Any]) -> list[Any]:
        column: list[Any] = [None] * len(kept)
        for row, value in zip(rows, values, strict=True):
            column[row] = value
        return column

    known: dict[tuple[float | None, float | None, bool], float] = {}
    quality = []
    for reward, own in zip(rewards, used, strict=True):
        parts = (reward.explicit, reward.implicit, own)
        if parts not in known:
            known[parts] = measure_quality(weights, explicit=parts[0], implicit=parts[1], context_used=own)
        quality.append(known[parts])
    return {
        "explicit": [reward.explicit for reward in rewards],
        "implicit": [reward.implicit for reward in rewards],
        "total": [reward.total for reward in rewards],
        "quality": quality,
        "context_used": used,
        "correction": spread(written, fixes),
        "correction_source": spread(written, [event.feedback_type.value for event in written.values()]),
        "correction_key": spread(written, key_texts(fixes)[0].tolist()),
        "correction_quality": spread(written, qualities),
        "written_event": spread(written, [event.event_id for event in written.values()]),
        "duel_event": spread(duels, [event.event_id for event in duels.values()]),
        "other": spread(duels, others),
        "other_key": spread(duels, key_texts(others)[0].tolist()),
        "other_preferred": spread(duels, [event.preferred == "other" for event in duels.values()]),
    }


def _list_votes(kept: Sequence[Reviewed]) -> dict[str, Column]:
    events = [event for item in kept for event in item.events]
    created = [item.interaction.metadata.get("account_created_at") for item in kept for _ in item.events]
    return {
        "row": [row for row, item in enumerate(kept) for _ in item.events],
        "event_id": [event.event_id for event in events],
        "sign": [find_sign(event) for event in events],
        "explicit": [event.feedback_type in EXPLICIT_TYPES for event in events],
        "time_us": _list_microseconds([event.timestamp for event in events]),
        "account_age_s": [
            _measure_age(born, event) if (born := event.metadata.get("account_created_at", known)) is not None else None
            for event, known in zip(events, created, strict=True)
        ],
        "said_key": _key_said([event.comment or event.corrected_response for event in events]),
        "comment": [event.comment for event in events],
    }


def _key_said(texts: Sequence[str | None]) -> list[int | None]:
    """Keys of texts that are long enough to be copied."""
    keys: list[int | None] = [None] * len(texts)
    rows = [row for row, text in enumerate(texts) if text]
    found, words = key_texts([(texts[row] or "").casefold() for row in rows])
    for row, key, count in zip(rows, found.tolist(), words.tolist(), strict=True):
        if count >= COPIED_WORDS:
            keys[row] = key
    return keys


def _list_microseconds(times: Sequence[datetime]) -> Ints:
    seconds = np.array([at.timestamp() for at in times], dtype=np.float64)
    # an offset can put the first and the last day of the calendar outside of it
    return np.clip(np.rint(seconds * 1_000_000).astype(np.int64), _FIRST_US, _LAST_US)


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
