"""The prepared buckets as one table: light columns in memory, texts in their files until somebody asks for them.

Rows stand in the order of time and id, whatever buckets they came from; their place in that order names them from here
on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flytewheel.curation.features import ROWS, VOTES
from flytewheel.curation.reactions import read_heard
from flytewheel.curation.score import UNLABELLED, RewardLike, measure_quality
from flytewheel.errors import DatasetError
from flytewheel.recipe import QualityWeights
from flytewheel.records import FeedbackEvent

SESSIONS = "sessions.parquet"

_LIGHT = (
    "id",
    "user",
    "session",
    "time_us",
    "topic",
    "response_words",
    "response_key",
    "correction_source",
    "correction_key",
    "other_key",
    "other_preferred",
    "explicit",
    "total",
    "quality",
    "correction_quality",
    "surprise",
)


class Judged(NamedTuple):
    """An answer with what one person thought of it.

    `place` is its row in the table; `prompt`, `cluster` and `question` number the distinct prompts, `answer` and
    `correction` are keys of texts. `explicit` is `None` where nothing was said; `total` is in [-1, 1], `quality` in
    [0, 1]. `correction` is the text that its reader wanted instead, or made of it.
    """

    place: int
    id: str
    user: str
    topic: str
    prompt: int
    cluster: int
    question: int
    answer: int
    explicit: float | None
    total: float
    quality: float
    surprise: float | None
    correction: int | None
    correction_source: str | None
    correction_quality: float | None
    other: int | None
    other_preferred: bool | None


class Table:
    """All interactions that somebody reacted to, and turns of their sessions."""

    def __init__(self, buckets: Sequence[Path]) -> None:
        self._buckets = list(buckets)
        frames = [
            pl.read_ipc(bucket / ROWS, columns=list(_LIGHT))
            .with_row_index("index")
            .with_columns(pl.lit(number, pl.Int32).alias("bucket"))
            for number, bucket in enumerate(self._buckets)
        ]
        self.light = pl.concat(frames).sort("time_us", "id")
        self._bucket = self.light["bucket"].to_numpy()
        self._index = self.light["index"].to_numpy()

    def __len__(self) -> int:
        return self.light.height

    def count_scored(self) -> int:
        """Rows that have a reward."""
        return len(self) - self.light["total"].null_count()

    def fetch(self, places: Sequence[int] | NDArray[np.int64], columns: Sequence[str]) -> pl.DataFrame:
        """The rows at `places`, in that order, with `columns` of `rows.arrow`."""
        wanted = np.asarray(places, dtype=np.int64)
        buckets, index = self._bucket[wanted], self._index[wanted]
        found, order = [], []
        for number in np.unique(buckets):
            mine = np.flatnonzero(buckets == number)
            frame = pl.read_ipc(self._buckets[number] / ROWS, columns=list(columns))
            found.append(frame[index[mine]])
            order.append(mine)
        if not found:
            return pl.read_ipc(self._buckets[0] / ROWS, columns=list(columns)).head(0)
        back = np.empty(len(wanted), dtype=np.int64)
        back[np.concatenate(order)] = np.arange(len(wanted))
        return pl.concat(found)[back]

    def read_sessions(self, names: Sequence[str]) -> pl.DataFrame:
        """The trajectories with these ids, as the partitions wrote them."""
        wanted = pl.col("id").is_in(pl.Series(names, dtype=pl.String).implode())
        return pl.concat(pl.read_parquet(bucket / SESSIONS).filter(wanted) for bucket in self._buckets)

    def read_votes(self, columns: Sequence[str]) -> pl.DataFrame:
        """All reactions, with the `place` of their interaction, by time and id of the event."""
        places = pl.DataFrame({"bucket": self._bucket, "row": self._index.astype(np.int64)}).with_row_index("place")
        frames = [
            pl.read_ipc(bucket / VOTES, columns=sorted({"row", "event_id", "time_us", *columns})).with_columns(
                pl.lit(number, pl.Int32).alias("bucket")
            )
            for number, bucket in enumerate(self._buckets)
        ]
        return pl.concat(frames).join(places, on=("bucket", "row"), how="inner").sort("time_us", "event_id")

    def score_again(
        self,
        places: NDArray[np.int64],
        held: frozenset[str],
        score: Callable[[Sequence[FeedbackEvent], float | None], RewardLike],
        weights: QualityWeights,
    ) -> None:
        """Takes the events `held` out of the rows at `places`, and gives those rows the reward that is left."""
        if not len(places):
            return
        rows = self.fetch(places, ("heard", "session_s", "context_used", "written_event", "duel_event"))
        explicit, total, quality, written, duel = [], [], [], [], []
        for heard, session_s, context_used, written_event, duel_event in rows.iter_rows():
            reward = score([event for event in read_heard(heard) if event.event_id not in held], session_s)
            explicit.append(reward.explicit)
            total.append(reward.total)
            quality.append(
                measure_quality(weights, explicit=reward.explicit, implicit=reward.implicit, context_used=context_used)
            )
            written.append(written_event not in held)
            duel.append(duel_event not in held)
        changed = pl.DataFrame(
            {
                "place": places,
                "explicit": explicit,
                "total": total,
                "quality": quality,
                "written": written,
                "duel": duel,
            },
            schema={
                "place": pl.Int64,
                "explicit": pl.Float64,
                "total": pl.Float64,
                "quality": pl.Float64,
                "written": pl.Boolean,
                "duel": pl.Boolean,
            },
        )
        kept = self.light.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place")).join(
            changed, on="place", how="left", suffix="_new", maintain_order="left"
        )
        touched = pl.col("written").is_not_null()
        self.light = kept.with_columns(
            *(
                pl.when(touched).then(pl.col(f"{name}_new")).otherwise(pl.col(name)).alias(name)
                for name in ("explicit", "total", "quality")
            ),
            *(
                pl.when(pl.col("written").fill_null(value=True)).then(pl.col(name)).alias(name)
                for name in ("correction_source", "correction_key", "correction_quality")
            ),
            *(
                pl.when(pl.col("duel").fill_null(value=True)).then(pl.col(name)).alias(name)
                for name in ("other_key", "other_preferred")
            ),
        ).select(self.light.columns)

    def place_prompts(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The distinct prompt of every row; `index` gives it bucket by bucket, in the order of their rows.

        Raises:
            DatasetError: a bucket is not whole.
        """
        if len(index) != len(self):
            raise DatasetError(f"{len(self)} rows but {len(index)} prompts: prepare the window again")
        sizes = np.bincount(self._bucket, minlength=len(self._buckets))
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        return np.asarray(index[starts[self._bucket] + self._index], dtype=np.int64)

    def set_topics(self, topics: Sequence[str | None]) -> None:
        """Gives every row its topic."""
        self.light = self.light.with_columns(pl.Series("topic", topics, dtype=pl.String))

    def list_judged(
        self, prompts: NDArray[np.int64], clusters: NDArray[np.int64], questions: NDArray[np.int64]
    ) -> list[Judged]:
        """Every row that has a reward.

        Args:
            prompts: distinct prompt of each row.
            clusters: cluster of each distinct prompt.
            questions: question of each distinct prompt.
        """
        frame = self.light.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("place"),
            "id",
            "user",
            pl.col("topic").fill_null(UNLABELLED),
            pl.Series("prompt", prompts),
            pl.Series("cluster", clusters[prompts]),
            pl.Series("question", questions[prompts]),
            "response_key",
            "explicit",
            "total",
            "quality",
            "surprise",
            "correction_key",
            "correction_source",
            "correction_quality",
            "other_key",
            "other_preferred",
        ).filter(pl.col("total").is_not_null())
        return [Judged._make(row) for row in frame.iter_rows()]
