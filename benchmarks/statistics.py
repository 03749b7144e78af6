"""CPU time of counting and analysing an experiment: PostgreSQL's counters against pandas and DuckDB on the same events.

10,000,000 events of up to 2,000,000 users (`--quick`: 200,000 of 40,000). Eight ratio metrics, each from user totals
with the delta method. pandas and DuckDB read the events from one Parquet file, where each event is a row with its
user, arm and figures: the easier half, since they are told the threshold of slow answers, need no last vote, and read
no JSON. Our side does what a tick does: is there anything new, then every metric's findings with CUPED, out of the sums
over users that PostgreSQL keeps; what all of PostgreSQL's processes spend counts. Beside it stand

- the first look, which counts every row of the log from nothing: the price that the counters save, paid once, and what
  a re-look after 1 % new events is held against (in the quick form loosely: 2,000 events, beside 30 ms of planning);
- a look that reads every user, as a metric with a cap on heavy users needs.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks import Goal, report
from benchmarks.statistics_events import KINDS, Events, draw_events, store_events, write_parquet
from flytewheel.database import Connection, connect, migrate
from flytewheel.experiment.analysis.look import analyse as analyse_look
from flytewheel.experiment.analysis.ratio import estimate_ratio
from flytewheel.experiment.analysis.records import Design
from flytewheel.experiment.experiments import open_experiment
from flytewheel.experiment.metrics import METRICS, Metric, count_stages
from flytewheel.local import places, postgres

ASKED = (
    "thumbs_up_rate", "error_rate", "latency_p95", "correction_rate", "satisfaction", "reformulation_rate",
    "feedback_rate", "tokens_per_answer",
)  # fmt: skip
ARMS = ("control", "treatment")
Figures = dict[tuple[str, str], tuple[float, float]]  # metric and arm: estimate, variance

# A row of the Parquet file as the counters that the metrics need.
COLUMNS: Mapping[str, str] = {
    "requests": "kind = 'answer'",
    "failed": "failed",
    "slow": "latency_ms > $threshold",
    "metered": "kind = 'answer'",
    "timed": "kind = 'answer'",
    "tokens": "tokens",
    "votes": "kind IN ('thumbs_up', 'thumbs_down', 'correction') OR rating <> 3",
    "ups": "kind = 'thumbs_up' OR rating >= 4",
    "ratings": "kind = 'rating'",
    "rating_sum": "rating",
    "corrected": "kind = 'correction'",
    "reformulated": "kind = 'reformulation'",
    "responded": "kind IN ('thumbs_up', 'thumbs_down', 'correction', 'rating')",
}
_SUMMED = ("tokens", "rating_sum")


def measure(quick: bool, events: int) -> list[Goal]:
    """All sides in one run."""
    count = 200_000 if quick else events
    users = count // 5
    drawn = draw_events(count, users, count // 100, seed=7)
    with started() as (url, folder, server):
        experiment = open_experiment(
            url, name="bench", control="v1", treatment="v2", share=0.5, launch_key="bench", body={}
        ).experiment.experiment_id
        store_events(url, drawn, experiment, new=False)
        settle(url)
        metrics = [METRICS[name] for name in ASKED]

        def look(by_user: bool = False) -> tuple[Figures, float]:
            with connect(url) as connection:
                connection.execute("SET max_parallel_workers_per_gather = 0")
                before = read_cpu(server)
                figures = analyse(connection, experiment, metrics, by_user=by_user)
                after = read_cpu(server)  # a backend's time is nowhere for a moment when it has ended
                return figures, sum(spent - before.get(pid, 0.0) for pid, spent in after.items())

        _, first_s = tell("first look, from nothing", look)
        figures, ours_s = tell("a look at counters that are up to date", look)
        threshold = read_threshold(url)
        wrong = [compare(figures, refer(drawn, metrics, threshold, new=False))]
        read, users_s = tell("the same with every user read", lambda: look(by_user=True))
        wrong.append(compare(read, figures))
        parquet = folder / "events.parquet"
        write_parquet(drawn, parquet)
        theirs, pandas_s = tell("pandas", lambda: (group_in_pandas(parquet, metrics, threshold), 0.0))
        wrong.append(compare(theirs, figures))
        theirs, duckdb_s = tell("DuckDB", lambda: (aggregate_in_duckdb(parquet, metrics, threshold), 0.0))
        wrong.append(compare(theirs, figures))
        store_events(url, drawn, experiment, new=True)
        figures, again_s = tell("a look after 1 % new events", look)
        wrong.append(compare(figures, refer(drawn, metrics, threshold, new=True)))
    for what, spent in (("first look", first_s), ("every user read", users_s), ("after 1 % new events", again_s)):
        print(f"{what}: {spent / duckdb_s:.2f} × DuckDB, {spent / pandas_s:.2f} × pandas", file=sys.stderr)
    return [
        Goal("CPU of pandas / ours, eight metrics", pandas_s / ours_s, 5.0, at_most=False),
        Goal("CPU of ours / DuckDB's aggregate", ours_s / duckdb_s, 2.0),
        Goal("CPU of a look after 1 % new events / first look", again_s / first_s, 0.15 if quick else 0.05),
        Goal("largest relative difference from NumPy's figures", max(wrong), 1e-9),
    ]


def analyse(connection: Connection, experiment: str, metrics: list[Metric], *, by_user: bool) -> Figures:
    """What a tick does at a look; estimate and variance of every metric and arm are what is compared."""
    stages = count_stages(connection, experiment, metrics, before=True, keys=by_user)
    analyse_look(Design(tuple(metrics)), stages, look=0)
    figures: Figures = {}
    for metric in metrics:
        for arm in ARMS:
            ratio = estimate_ratio(stages[-1].sums[metric.name][arm])
            assert ratio is not None
            figures[metric.name, arm] = (ratio.estimate, ratio.variance or math.nan)
    return figures


def read_cpu(server: int) -> dict[int, float]:
    """CPU seconds of each of PostgreSQL's processes, by number."""
    spent = {}
    for process in (psutil.Process(server), *psutil.Process(server).children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
    return spent


def group_in_pandas(path: Path, metrics: list[Metric], threshold: float) -> Figures:
    """The same in pandas: a group-by of users, then arithmetic on its columns."""
    import pandas as pd

    rows = pd.read_parquet(path)
    kind, rating = rows["kind"], rows["rating"]
    answers, up = kind == "answer", kind == "thumbs_up"
    spoken = up | (kind == "thumbs_down") | (kind == "correction")
    frame = pd.DataFrame(
        {
            "arm": rows["arm"], "user_id": rows["user_id"], "requests": answers, "failed": rows["failed"],
            "slow": rows["latency_ms"] > threshold, "tokens": rows["tokens"].fillna(0),
            "votes": spoken | (rating.notna() & (rating != 3)), "ups": up | (rating >= 4), "ratings": rating.notna(),
            "rating_sum": rating.fillna(0), "corrected": kind == "correction", "reformulated": kind == "reformulation",
            "responded": spoken | rating.notna(),
        }
    )  # fmt: skip
    sums = frame.groupby(["arm", "user_id"], sort=False).sum()
    figures: Figures = {}
    for arm in ARMS:
        of_arm = sums.loc[arm]
        of_arm = of_arm.assign(timed=of_arm["requests"], metered=of_arm["requests"])
        columns = {name: of_arm[name].to_numpy(dtype=float) for name in COLUMNS}
        figures |= _figure(columns, metrics, arm)
    return figures


def aggregate_in_duckdb(path: Path, metrics: list[Metric], threshold: float) -> Figures:
    """The same in one statement of DuckDB: users' sums, then the moments of each metric."""
    import duckdb

    sums = ", ".join(
        f"coalesce(sum({what}), 0)::DOUBLE AS {name}" if name in _SUMMED else f"count(*) FILTER ({what}) AS {name}"
        for name, what in COLUMNS.items()
    )
    moments = ", ".join(
        f"count(*) FILTER ({n} > 0), sum({x}), sum({n}), sum({x} * {x}), sum({x} * {n}), sum({n} * {n})"
        for x, n in ((metric.numerator, metric.denominator) for metric in metrics)
    )
    query = (
        f"SELECT arm, {moments} FROM (SELECT arm, user_id, {sums} FROM read_parquet($path) GROUP BY arm, user_id)"
        " GROUP BY arm"
    )
    figures: Figures = {}
    with duckdb.connect() as database:
        for arm, *found in database.execute(query, {"path": str(path), "threshold": threshold}).fetchall():
            for place, metric in enumerate(metrics):
                users, x, n, xx, xn, nn = (float(value) for value in found[6 * place : 6 * place + 6])
                ratio = x / n
                variance = users / (users - 1) * (xx - 2 * ratio * xn + ratio**2 * nn) / n**2
                figures[metric.name, arm] = (ratio, variance)
    return figures


def refer(events: Events, metrics: list[Metric], threshold: float, *, new: bool) -> Figures:
    """The plain reference: NumPy's bincount over the arrays that the events were made from."""
    answers = len(events.users) if new else events.answers
    reactions = len(events.answer) if new else events.reactions
    users, kind, rating = events.users[:answers], events.kind[:reactions], events.rating[:reactions]
    speakers = events.users[events.answer[:reactions]]
    is_kind = {name: kind == place for place, name in enumerate(KINDS)}
    rated = is_kind["rating"]
    spoken = is_kind["thumbs_up"] | is_kind["thumbs_down"] | is_kind["correction"]

    def add(who: NDArray[np.int64], what: NDArray[np.generic] | None = None) -> NDArray[np.float64]:
        weights = None if what is None else what.astype(np.float64)
        return np.bincount(who, weights, minlength=int(events.users.max()) + 1).astype(np.float64)

    requests = add(users)
    columns = {
        "requests": requests, "timed": requests, "metered": requests, "failed": add(users, events.failed[:answers]),
        "slow": add(users, events.latency_ms[:answers] > threshold), "tokens": add(users, events.tokens[:answers]),
        "votes": add(speakers, spoken | (rated & (rating != 3))),
        "ups": add(speakers, is_kind["thumbs_up"] | (rated & (rating >= 4))), "ratings": add(speakers, rated),
        "rating_sum": add(speakers, np.where(rated, rating, 0)), "corrected": add(speakers, is_kind["correction"]),
        "reformulated": add(speakers, is_kind["reformulation"]), "responded": add(speakers, spoken | rated),
    }  # fmt: skip
    treated = (np.arange(len(requests)) * 2_654_435_761 >> 8) % 2 == 1
    figures: Figures = {}
    for arm, here in (("control", ~treated), ("treatment", treated)):
        figures |= _figure({name: column[here] for name, column in columns.items()}, metrics, arm)
    return figures


def _figure(columns: Mapping[str, NDArray[np.float64]], metrics: list[Metric], arm: str) -> Figures:
    figures: Figures = {}
    for metric in metrics:
        counted = columns[metric.denominator] > 0
        x, n = columns[metric.numerator][counted], columns[metric.denominator][counted]
        ratio = x.sum() / n.sum()
        variance = len(n) / (len(n) - 1) * ((x - ratio * n) ** 2).sum() / n.sum() ** 2
        figures[metric.name, arm] = (float(ratio), float(variance))
    return figures


def compare(found: Figures, expected: Figures) -> float:
    """The largest relative difference of an estimate or a variance."""
    assert found.keys() == expected.keys()
    pairs = [pair for key in found for pair in zip(found[key], expected[key], strict=True)]
    return max(abs(one - other) / abs(other) if math.isfinite(one) else math.inf for one, other in pairs)


def read_threshold(url: str) -> float:
    """What slow is: the control's 95 % quantile, frozen by the first look."""
    with connect(url) as connection:
        row = connection.execute("SELECT (thresholds ->> 'latency_ms')::float8 FROM metric_looks").fetchone()
    assert row is not None
    return float(row[0])


def settle(url: str) -> None:
    """What PostgreSQL does by itself sooner or later: statistics, hint bits."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) interactions, feedback_events")


def tell(what: str, act: Callable[[], tuple[Figures, float]]) -> tuple[Figures, float]:
    """Runs `act`, which gives figures and a server's CPU seconds, and prints these and its own."""
    before = time.process_time()
    figures, served = act()
    own = time.process_time() - before
    print(f"{what}: {own + served:.2f} CPU seconds, {served:.2f} of them PostgreSQL's", file=sys.stderr, flush=True)
    return figures, own + served


@contextmanager
def started() -> Iterator[tuple[str, Path, int]]:
    """A PostgreSQL of its own, a folder, and its first process."""
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="flytewheel-bench-"))
        folder.chmod(0o711)
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        data_dir = places.choose_place(folder, places.unprivileged_account())
        cleanup.callback(places.remove_place, folder)
        process, port = postgres.start(data_dir, password="bench", log=folder / "postgres.log", durable=False)
        cleanup.callback(postgres.stop, process)
        url = postgres.server_url(port, "bench", postgres.DATABASE)
        migrate(url)
        yield url, folder, process.pid


if __name__ == "__main__":
    raise SystemExit(report(measure, __doc__ or "", {"events": {"type": int, "default": 10_000_000}}))
