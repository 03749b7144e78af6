"""What a look reads of a window: all of it while it is small, then a fixed sample by a hash of the rows' ids.

A hash is even over users, hours and transactions, the same at every look, and has partial indexes (`schema.sql`), so
that a look at a million interactions reads some thousands: bounded in time and memory. Counts are of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from flytewheel.database import Connection
from flytewheel.drift.differences import Floats, Integers
from flytewheel.drift.wording import CHARACTERS, hash_ngrams
from flytewheel.records import NO_TEXT, TEXT_NOT_KEPT
from flytewheel.screens.language import name_language

MOST_ROWS = 20_000
SAMPLES = (1, 8, 64, 512)  # one row in so many
BLOCK_HOURS = 6
SETTLED_HOURS = 24  # a reaction that comes later is not waited for

# What stands for a text has no length: of a text that was not kept it is logged, a prompt of pictures alone has none.
_HAS_PROMPT = f"i.body ->> 'query' <> '{NO_TEXT}' AND (i.body #>> '{{metadata,no_text}}') IS DISTINCT FROM 'true'"
_NOT_KEPT = f"i.body ->> 'query' = '{TEXT_NOT_KEPT}'"
_ROWS = f"""
SELECT i.user_id, extract(epoch FROM i."timestamp")::float8,
    CASE WHEN NOT ({_HAS_PROMPT}) THEN NULL
        WHEN {_NOT_KEPT} AND jsonb_typeof(i.body #> '{{metadata,query_chars}}') = 'number'
        THEN (i.body #>> '{{metadata,query_chars}}')::float8
        WHEN {_NOT_KEPT} THEN NULL ELSE length(i.body ->> 'query') END,
    CASE WHEN NOT {_NOT_KEPT} AND {_HAS_PROMPT} THEN left(i.body ->> 'query', 600) END,
    i.body ->> 'topic', coalesce(i.body ->> 'model_version', ''),
    i.body ->> 'arm' IS NOT DISTINCT FROM 'treatment',
    extract(epoch FROM said.first)::float8, said.thumb
FROM interactions i LEFT JOIN LATERAL (
    SELECT min(e."timestamp") AS first, (array_agg(e.feedback_type = 'thumbs_up' ORDER BY e.xid DESC, e.event_id DESC)
        FILTER (WHERE e.feedback_type IN ('thumbs_up', 'thumbs_down')))[1] AS thumb
    FROM feedback_events e WHERE e.interaction_id = i.interaction_id) AS said ON true
WHERE i.source = ANY(%(sources)s) AND i.xid >= %(low)s::xid8 AND i.xid < %(high)s::xid8 AND {{only}}
    AND i."timestamp" < to_timestamp(%(over)s)
ORDER BY hashtextextended(i.interaction_id, 1), i.interaction_id LIMIT {MOST_ROWS}
"""
_COUNT = """
SELECT count(*) FROM interactions
WHERE source = ANY(%(sources)s) AND xid >= %(low)s::xid8 AND xid < %(high)s::xid8
"""
_END = str(2**63 - 1)  # after every transaction


@dataclass(frozen=True, slots=True)
class Sample:
    """Columns of the sampled rows, `(rows,)` each, in an order that says nothing.

    `stored` counts the window's rows, `level` is the place in SAMPLES. `lengths` are characters, NaN where a prompt has
    none; `features` rows of `hash_ngrams`. `texts` says which prompts are kept, `reacted` is 1 or 0, NaN until a day
    is over; `thumbs` 1 up, 0 down, NaN neither.
    """

    stored: int
    level: int
    users: NDArray[Any]
    times_s: Floats
    lengths: Floats
    topics: NDArray[Any]
    languages: NDArray[Any]
    texts: NDArray[np.bool_]
    features: csr_matrix
    versions: NDArray[Any]
    treated: NDArray[np.bool_]
    reacted: Floats
    thumbs: Floats

    @property
    def blocks(self) -> Integers:
        """The six hours that each row came in, counted since the epoch."""
        return (self.times_s // (BLOCK_HOURS * 3600)).astype(np.int64)


def count_rows(connection: Connection, sources: Sequence[str], low: str, high: str = _END) -> int:
    """Interactions with low ≤ xid < high."""
    row = connection.execute(_COUNT, {"sources": list(sources), "low": low, "high": high}).fetchone()
    return int(row[0]) if row else 0


def choose_level(*stored: int) -> int:
    """The one level for windows that are to be compared: a sample tells other things of who writes much."""
    most = max(stored)
    return next((place for place, one in enumerate(SAMPLES) if most <= one * MOST_ROWS), len(SAMPLES) - 1)


def read_sample(
    connection: Connection, sources: Sequence[str], low: str, high: str = _END, *, stored: int, level: int, now_s: float
) -> Sample:
    """Reads rows of a window, at most MOST_ROWS, of the six-hour blocks that are over.

    Args:
        connection: PostgreSQL.
        sources: feedback streams.
        low: first transaction.
        high: the one after the last.
        stored: rows of the window, as `count_rows` has them.
        level: place in SAMPLES.
        now_s: seconds of the epoch.
    """
    only = f"hashtextextended(i.interaction_id, 0) & {SAMPLES[level] - 1} = 0" if level else "true"
    block_s = BLOCK_HOURS * 3600
    given = {"sources": list(sources), "low": low, "high": high, "over": now_s // block_s * block_s}
    rows = connection.execute(_ROWS.replace("{only}", only).encode(), given).fetchall()
    return arrange(stored, level, rows, now_s=now_s)


def arrange(stored: int, level: int, rows: Sequence[tuple[Any, ...]], *, now_s: float) -> Sample:
    """Rows as columns. A row is user, time, length, text, topic, version, treated, time of the first reaction, thumb;
    texts are read here and not kept.
    """
    users, times, lengths, texts, topics, versions, treated, firsts, thumbs = (
        zip(*rows, strict=True) if rows else ((),) * 9
    )
    times_s, first = np.array(times, dtype=float), np.array(firsts, dtype=float)
    patience = 3600.0 * SETTLED_HOURS
    with np.errstate(invalid="ignore"):
        reacted = np.where(first - times_s <= patience, 1.0, 0.0)
    reacted[times_s > now_s - patience] = np.nan
    return Sample(
        stored=stored,
        level=level,
        users=np.array(users, dtype=object),
        times_s=times_s,
        lengths=np.array(lengths, dtype=float),
        topics=np.array(topics, dtype=object),
        languages=np.array([None if text is None else name_language(text) for text in texts], dtype=object),
        texts=np.array([text is not None for text in texts], dtype=bool),
        features=hash_ngrams([(text or "")[:CHARACTERS] for text in texts]),
        versions=np.array(versions, dtype=object),
        treated=np.array(treated, dtype=bool),
        reacted=reacted,
        thumbs=np.array(thumbs, dtype=float),
    )
