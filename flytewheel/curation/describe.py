"""Draws up the card of a data set: the funnel, distributions before and after, where it comes from.

What came in is read off the table of interactions, what came out off the parts that were written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from flytewheel.curation.comments import summarise_comments
from flytewheel.curation.deal import Dealt
from flytewheel.curation.judged import Table
from flytewheel.curation.score import UNLABELLED
from flytewheel.dataset import (
    DatasetCard,
    Step,
    count_lengths,
    count_scores,
    describe_pairs,
    digest_content,
    part_file,
    read_rows,
)
from flytewheel.records import HOLDOUT, PARTS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = ("sft", "preference", "unpaired")
_PARTS = (*PARTS, HOLDOUT)
_WINDOW = ("series", "number", "low_xid", "high_xid", "skipped")


def describe_dataset(
    folder: Path,
    dealt: Dealt,
    table: Table,
    steps: Sequence[Step],
    sizes: Mapping[str, Mapping[str, int]],
    *,
    digest: str,
    code_version: str,
    recipe: Mapping[str, Any],
    held: frozenset[str],
) -> DatasetCard:
    """The card of the data set whose parts are written in `folder`.

    Args:
        folder: the data set.
        dealt: the window.
        table: its interactions, scored.
        steps: what every step took away.
        sizes: rows by kind and part.
        digest: the data set's name.
        code_version: of curation.
        recipe: the sections that the rows depend on.
        held: ids of events in quarantine.
    """
    with ThreadPoolExecutor(1) as aside:  # most of it is hashing, which lets others run
        content_digest = aside.submit(digest_content, folder)
        scored = table.light.filter(pl.col("total").is_not_null())
        sft = _read(folder, "sft", ("user", "topic", "quality", "completion"))
        trained = _read(folder, "sft", ("topic",), ("train",))
        signs = scored["total"].sign().cast(pl.Int64).value_counts()
        counted = dict(zip(signs["total"], signs["count"], strict=True))
        times = table.light["time_us"]
        window = dealt.window
        license_ = recipe["curation"]["license"]
        words = sft["completion"].str.count_matches(r"\S+") if sft.height else sft["completion"]
        return DatasetCard(
            digest=digest,
            content_digest=content_digest.result(),
            sources=tuple(window.get("sources", ())),
            interactions=dealt.interactions,
            events=dealt.events,
            steps=tuple(steps),
            counts={kind: dict(parts) for kind, parts in sizes.items()},
            users={
                part: pl.concat([_read(folder, kind, ("user",), (part,)) for kind in _KINDS])["user"].n_unique()
                for part in _PARTS
            },
            topics=_count(sft["topic"]),
            rewards={name: counted.get(sign, 0) for name, sign in (("positive", 1), ("zero", 0), ("negative", -1))},
            funnel=tuple(_draw_funnel(dealt, steps, sizes)),
            license=license_,
            time_range=(_say_time(times.min()), _say_time(times.max())) if len(times) else None,
            recipe=dict(recipe),
            code_version=code_version,
            window={
                key: window[key] for key in ("series", "number", "low_xid", "high_xid", "skipped") if key in window
            },
            scores={"before": count_scores(scored["quality"]), "after": count_scores(sft["quality"])},
            lengths={"before": count_lengths(scored["response_words"]), "after": count_lengths(words)},
            topics_before=_count(scored["topic"].fill_null(UNLABELLED)),
            topics_after=_count(trained["topic"]),
            pairs=describe_pairs(
                chain.from_iterable(read_rows(part_file(folder, "preference", part), "preference") for part in _PARTS)
            ),
            comments=summarise_comments(_list_comments(table, held)),
            redacted=next((step.changed for step in steps if step.name.startswith("redact")), {}),
        )


def _read(folder: Path, kind: str, columns: Sequence[str], parts: Sequence[str] = _PARTS) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part_file(folder, kind, part), columns=list(columns)) for part in parts])


def _count(names: pl.Series) -> dict[str, int]:
    counted = names.value_counts()
    return dict(sorted(zip(counted[names.name].to_list(), counted["count"].to_list(), strict=True)))


def _say_time(microseconds: Any) -> str:
    return (_EPOCH + timedelta(microseconds=int(microseconds))).isoformat()


def _list_comments(table: Table, held: frozenset[str]) -> list[tuple[str, int]]:
    votes = table.read_votes(("comment", "sign")).filter(pl.col("comment").is_not_null())
    return [
        (comment, sign)
        for event_id, comment, sign in votes.select("event_id", "comment", "sign").iter_rows()
        if event_id not in held
    ]


def _draw_funnel(dealt: Dealt, steps: Sequence[Step], sizes: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int]]:
    """Interactions first, then rows for supervised tuning: from what came in to what is trained on."""
    left = {step.name: step.rows_out for step in steps}
    stages = [
        ("interactions in the window", dealt.interactions),
        ("readable", left["read interactions"]),
        ("somebody reacted", left["keep what was reacted to"]),
        ("pass the screens", left["screen answers"]),
        ("with a reward", left["score"]),
        ("reactions not in quarantine", left["score without quarantine"]),
        ("user and prompt in one part", left["split by user"]),
        ("worth imitating", sum(rows for name, rows in left.items() if name.startswith("sft rows"))),
        ("in training", left["sft rows (train)"]),
        ("within caps", left["cap users and prompts (sft)"]),
    ]
    if "balance topics (sft)" in left:
        stages.append(("balanced over topics", left["balance topics (sft)"]))
    stages.append(("with paraphrases", left["paraphrase (sft)"]))
    if "replay (sft)" in left:
        stages.append(("with replay", left["replay (sft)"]))
    return [*stages, ("trained on", sizes["sft"]["train"])]
