"""Minutes of load on the real router while everything around it is killed: what was acknowledged is kept, who asks is
answered, memory stays flat.

`python -m benchmarks.soak [--minutes 10 | --quick] [--seed 7] [--json FILE]`. A router with its workers, PostgreSQL and
object store of its own, and an upstream for each arm that says recorded answers of llama.cpp again; 200 requests a
second, half of them streams, feedback on a third. Killed (−9) by a schedule made from the seed: PostgreSQL, each arm's
upstream, object store, workers, keepers. Everything is on loopback, bounded in time, and ends with this process.

*Answered by a healthy path* counts every request, without an excuse: those that were in flight on a process that was
killed, and streams that broke there, count as not answered. A client tries again where no answer began, as the
official ones do; `answered at the first try` is printed beside it. Feedback is compared by id with the database, after
everything was replayed. Memory is a process's resident set: the median of the last quarter of the run against that of
the first quarter after the warm-up, of processes that lived that long.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from benchmarks import Goal, report
from benchmarks.soak.checks import Stored, Watch, check_stored, percentile, wait_replayed
from benchmarks.soak.faults import Recovery, break_things, plan_faults
from benchmarks.soak.place import MODEL, Place, wait_until
from benchmarks.soak.reaper import Reaper
from benchmarks.soak.record import record
from benchmarks.soak.traffic import OUTCOMES, Tally, Traffic
from router.access.wire import lift_file_limit

RATE = 200.0
ANSWERED = 0.999
GROWN_MIB = 16.0
RECOVERED_S = 20.0
REPLAY_S = 180.0
READY_S = 60.0


def measure(quick: bool, minutes: float, rate: float, workers: int, seed: int, keep: Path | None) -> Sequence[Goal]:
    """One run, and what it showed."""
    seconds = 60.0 if quick else 60.0 * minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, and so ends every process
    lift_file_limit()
    recordings = record(8)
    reaper = Reaper()
    folder = tempfile.TemporaryDirectory(prefix="flytewheel-soak-", ignore_cleanup_errors=True)
    place = Place(Path(folder.name), reaper, workers, recordings)
    try:
        place.start()
        return asyncio.run(_run(place, seconds, rate, seed))
    finally:
        try:
            code = place.stop()
            print(f"router ended with code {code}", flush=True)
        finally:
            reaper.close()
            _keep_logs(place, keep)
            _remove(place, folder)


async def _run(place: Place, seconds: float, rate: float, seed: int) -> list[Goal]:
    traffic = Traffic(place.url, place.key, MODEL, place.recordings, rate=rate, seed=seed)
    watch = Watch()
    watching = asyncio.create_task(watch.run(place))
    faults = plan_faults(seconds, seed, workers=place.workers)
    breaking = asyncio.create_task(
        break_things(place, faults, lambda: _is_ready(place), lambda line: print(line, flush=True))
    )
    try:
        await traffic.run(seconds)
        recoveries, missed = await breaking
        replay_s = await asyncio.to_thread(wait_replayed, place, traffic.tally, REPLAY_S)
        await asyncio.to_thread(wait_until, lambda: _status(place) == "ready", "the router is ready again", READY_S)
    finally:
        for task in (watching, breaking):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    stored = await asyncio.to_thread(check_stored, place, traffic.tally)
    _print(traffic.tally, stored, replay_s, missed)
    print(f"scrapes without a keeper: {watch.without_keeper}")
    slowest = _tell_recoveries(recoveries)
    goals = _judge(traffic.tally, stored, watch, seconds)
    return [*goals, Goal("seconds until the router was ready again after a kill, at most", slowest, RECOVERED_S)]


def _judge(tally: Tally, stored: Stored, watch: Watch, seconds: float) -> list[Goal]:
    answered = tally.outcomes["answered"] + tally.outcomes["answered, second try"]
    warm_s = 0.2 * seconds
    grown: dict[str, float] = {}
    for memory in watch.memory.values():
        if (mib := memory.grown(warm_s, seconds)) is not None:
            role = memory.role.split()[0]
            grown[role] = max(mib, grown.get(role, -1e9))
            slope = 60 * memory.slope(warm_s, seconds)
            print(f"memory of {memory.role}: {memory.mib[-1]:.0f} MiB, {mib:+.1f}; slope {slope:+.1f} MiB an hour")
    goals = [
        Goal(
            "share of the planned requests that this machine could send",
            tally.sent / tally.planned,
            0.99,
            at_most=False,
        ),
        Goal("share of requests answered by a healthy path", answered / max(1, tally.sent), ANSWERED, at_most=False),
        Goal("answers that are not the recorded ones", tally.outcomes["wrong"], 0),
        Goal("feedback acknowledged", len(tally.acknowledged), 0.9 * answered / 3, at_most=False),
        Goal("acknowledged feedback lost", stored.lost, 0),
        Goal("acknowledged feedback doubled", stored.doubled, 0),
        Goal("acknowledged feedback changed", stored.changed, 0),
        Goal("acknowledged feedback without its interaction", stored.without_interaction, 0),
        Goal("feedback refused or given up", sum(tally.given_up.values()), 0),
        Goal("scrapes of the metrics", watch.scrapes, seconds / 12, at_most=False),
        Goal("scrapes that were refused, or in which a counter had fallen", len(watch.refused + watch.fallen), 0),
    ]
    goals += [Goal(f"MiB that a {role} grew by", mib, GROWN_MIB) for role, mib in sorted(grown.items())]
    return goals


def _print(tally: Tally, stored: Stored, replay_s: float, missed: list[str]) -> None:
    print(f"\n{tally.sent:,} requests")
    for outcome in OUTCOMES:
        print(f"  {outcome:<22} {tally.outcomes[outcome]:>8,}  {tally.outcomes[outcome] / max(1, tally.sent):.4%}")
    for share in (0.5, 0.99):
        whole, first = (1000 * percentile(values, share) for values in (tally.latencies_s, tally.first_s))
        print(f"  p{share:.0%}: first bytes {first:.1f} ms, whole {whole:.1f} ms".replace("%:", ":"))
    print(f"  by version: {dict(tally.by_version)}, by the control for the treatment: {tally.fallbacks:,}")
    print(f"tries that failed: {dict(tally.faults.most_common())}")
    for what, example in tally.examples.items():
        print(f"  {what}: {example}")
    print(
        f"feedback: {len(tally.acknowledged):,} acknowledged, given up {dict(tally.given_up)};"
        f" replayed within {replay_s:.1f} s; answers that left no interaction: {stored.unlogged:,}"
    )
    for line in missed:
        print(f"not broken: {line}")


def _tell_recoveries(recoveries: list[Recovery]) -> float:
    """Prints how long each kind took, and returns the longest; of one that was cut short the next one tells."""
    print("ready again after a kill, in seconds (median, longest):")
    for kind in sorted({one.kind for one in recoveries}):
        took = [one.seconds for one in recoveries if one.kind == kind]
        known = [seconds for seconds in took if seconds is not None]
        cut = f", {len(took) - len(known)} not before the next kill" if len(known) < len(took) else ""
        print(f"  {kind:<10} {len(took)} times: {percentile(known, 0.5):.1f}, {max(known, default=0.0):.1f}{cut}")
    return max((one.seconds for one in recoveries if one.seconds is not None), default=0.0)


def _is_ready(place: Place) -> bool:
    return _status(place) == "ready"


def _status(place: Place) -> str:
    with suppress(httpx.TransportError):
        return str(httpx.get(place.url + "/healthz", timeout=5, trust_env=False).json()["status"])
    return "away"


def _keep_logs(place: Place, keep: Path | None) -> None:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for log in (place.folder / "logs").glob("*.log"):
            (keep / log.name).write_bytes(log.read_bytes())


def _remove(place: Place, folder: Any) -> None:
    from flytewheel.local import places

    places.remove_place(place.folder)
    folder.cleanup()


if __name__ == "__main__":
    sys.exit(
        report(
            measure,
            __doc__ or "",
            {
                "minutes": {"type": float, "default": 10.0, "help": "how long"},
                "rate": {"type": float, "default": RATE, "help": "requests a second"},
                "workers": {"type": int, "default": 2, "help": "of the router"},
                "seed": {"type": int, "default": 7, "help": "of the schedule of faults"},
                "keep": {"type": Path, "default": None, "help": "a folder that gets the processes' logs"},
            },
        )
    )
