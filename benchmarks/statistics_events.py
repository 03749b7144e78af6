"""Events of many users for `benchmarks.statistics`: drawn in NumPy, stored with COPY, and written to Parquet.

Three of four events are answers, the fourth is what was said of one; users' usage is skewed. Of one answer at most one
thing is said, so that whoever reads the Parquet file needs no last vote to count right: the file is the easier half.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flytewheel.database import Connection, connect

KINDS = ("thumbs_up", "thumbs_down", "rating", "correction", "copied", "reformulation")
CHANCES = (0.5, 0.15, 0.2, 0.05, 0.05, 0.05)
CHUNK = 500_000
_MOMENT = "2026-11-21T12:00:00Z"


@dataclass(frozen=True)
class Events:
    """Arrays of answers, `(answers,)`, and of reactions, `(reactions,)`; `answer` is a reaction's place among answers.

    `answers` and `reactions` are how many there were before the new ones.
    """

    users: NDArray[np.int64]
    latency_ms: NDArray[np.float64]
    failed: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    answer: NDArray[np.int64]
    kind: NDArray[np.int64]
    rating: NDArray[np.int64]
    answers: int
    reactions: int

    @property
    def treated(self) -> NDArray[np.bool_]:
        """Whether each answer's user is in the treatment: half of them."""
        treated: NDArray[np.bool_] = (self.users * 2_654_435_761 >> 8) % 2 == 1
        return treated


def draw_events(count: int, users: int, new: int, seed: int) -> Events:
    """Draws `count` events of at most `users` users, and `new` ones after them, half of whose reactions are late."""
    rng = np.random.default_rng(seed)
    answers, later = count * 3 // 4, new * 3 // 4
    everyone = answers + later
    latencies = np.round(rng.lognormal(6.0, 0.5, everyone), 3)
    places = rng.permutation(answers)
    reactions, new_reactions = count - answers, new - later
    late = new_reactions // 2
    answer = np.concatenate(
        [
            places[: reactions + late],
            answers + rng.permutation(later)[: new_reactions - late],
        ]
    )
    return Events(
        users=(users * rng.random(everyone) ** 1.5).astype(np.int64),
        latency_ms=latencies,
        failed=rng.random(everyone) < 0.01,
        tokens=rng.integers(5, 400, everyone),
        answer=answer,
        kind=rng.choice(len(KINDS), len(answer), p=CHANCES),
        rating=rng.integers(1, 6, len(answer)),
        answers=answers,
        reactions=reactions,
    )


def store_events(database_url: str, events: Events, experiment_id: str, *, new: bool) -> None:
    """Stores the events before the new ones, or these."""
    answers = (events.answers, len(events.users)) if new else (0, events.answers)
    reactions = (events.reactions, len(events.answer)) if new else (0, events.reactions)
    with connect(database_url) as connection:
        for low, high in _cut(*answers):
            _copy(connection, "interactions", _frame_answers(events, experiment_id, low, high))
            _tell(f"stored {high:,} of {events.answers:,} answers", high)
        for low, high in _cut(*reactions):
            _copy(connection, "feedback_events", _frame_reactions(events, low, high))
            _tell(f"stored {high:,} of {events.reactions:,} reactions", high)


def write_parquet(events: Events, path: Path) -> None:
    """The events before the new ones as one flat table: who, which arm, what, and its figures."""
    answers, reactions = events.answers, events.reactions
    arm = pl.Series(np.where(events.treated, "treatment", "control"))
    user = _name("u", events.users, 7)
    said = events.answer[:reactions]
    kinds = pl.Series(KINDS).gather(events.kind[:reactions])
    rating = pl.Series(events.rating[:reactions], dtype=pl.Float64)
    pl.concat(
        [
            pl.DataFrame(
                {
                    "user_id": user[:answers],
                    "arm": arm[:answers],
                    "kind": pl.repeat("answer", answers, eager=True),
                    "failed": events.failed[:answers],
                    "latency_ms": events.latency_ms[:answers],
                    "tokens": events.tokens[:answers],
                    "rating": pl.repeat(None, answers, dtype=pl.Float64, eager=True),
                }
            ),
            pl.DataFrame(
                {
                    "user_id": user.gather(said),
                    "arm": arm.gather(said),
                    "kind": kinds,
                    "failed": pl.repeat(False, reactions, dtype=pl.Boolean, eager=True),
                    "latency_ms": pl.repeat(None, reactions, dtype=pl.Float64, eager=True),
                    "tokens": pl.repeat(None, reactions, dtype=pl.Int64, eager=True),
                    "rating": rating.to_frame("r").select(pl.when(kinds == "rating").then("r")).to_series(),
                }
            ),
        ]
    ).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(path)


def _tell(what: str, count: int) -> None:
    if count % CHUNK == 0:
        print(what, file=sys.stderr, flush=True)


def _cut(low: int, high: int) -> Iterator[tuple[int, int]]:
    for start in range(low, high, CHUNK):
        yield start, min(high, start + CHUNK)


def _name(letter: str, numbers: NDArray[np.int64], digits: int) -> pl.Series:
    return pl.Series(numbers).cast(pl.String).str.zfill(digits).str.replace("^", letter, literal=False)


def _copy(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)".encode()) as copy,
    ):
        copy.write(frame.write_csv(include_header=False).encode())


def _frame_answers(events: Events, experiment_id: str, low: int, high: int) -> pl.DataFrame:
    place = np.arange(low, high)
    frame = pl.DataFrame(
        {
            "interaction_id": _name("i", place, 9),
            "source": pl.repeat("bench", high - low, eager=True),
            "user_id": _name("u", events.users[low:high], 7),
            "timestamp": pl.repeat(_MOMENT, high - low, eager=True),
            "arm": np.where(events.treated[low:high], "treatment", "control"),
            "completed": np.where(events.failed[low:high], "false", "true"),
            "latency_ms": events.latency_ms[low:high],
            "tokens": events.tokens[low:high],
        }
    )
    body = pl.concat_str(
        pl.lit('{"arm":"'), "arm", pl.lit('","completed":'), "completed",
        pl.lit(f',"experiment_id":"{experiment_id}","interaction_id":"'), "interaction_id",
        pl.lit('","latency_ms":'), "latency_ms", pl.lit(',"metadata":{"completion_tokens":'), "tokens",
        pl.lit(f'}},"propensity":0.5,"query":"q","response":"a","timestamp":"{_MOMENT}","user_id":"'), "user_id",
        pl.lit('"}'),
    )  # fmt: skip
    return frame.select(
        "interaction_id", "source", "user_id", "timestamp", body.alias("body"), pl.lit("").alias("digest")
    )


def _frame_reactions(events: Events, low: int, high: int) -> pl.DataFrame:
    place = np.arange(low, high)
    kinds = pl.Series(KINDS).gather(events.kind[low:high])
    frame = pl.DataFrame(
        {
            "event_id": _name("e", place, 9),
            "interaction_id": _name("i", events.answer[low:high], 9),
            "source": pl.repeat("bench", high - low, eager=True),
            "user_id": _name("u", events.users[events.answer[low:high]], 7),
            "feedback_type": kinds,
            "timestamp": pl.repeat(_MOMENT, high - low, eager=True),
            "rating": events.rating[low:high],
        }
    )
    rated = pl.when(kinds == "rating").then(pl.col("rating").cast(pl.String)).otherwise(pl.lit("null"))
    body = pl.concat_str(
        pl.lit('{"event_id":"'), "event_id", pl.lit('","feedback_type":"'), "feedback_type",
        pl.lit('","interaction_id":"'), "interaction_id", pl.lit('","rating":'), rated, pl.lit("}"),
    )  # fmt: skip
    return frame.select(
        "event_id", "interaction_id", "source", "user_id", "feedback_type", "timestamp", body.alias("body"),
        pl.lit("").alias("digest"),
    )  # fmt: skip
