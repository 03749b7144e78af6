"""A simulated month on the embedded stack: four turns of the loop, what became of each, and what broke on the way.

`python -m benchmarks.month [--quick] [--people N] [--keep FOLDER] [--json FILE]`. Real PostgreSQL, object store, router
with two workers, trainings, gates and registry; real HTTP from people who keep their tastes and their arm. Two things
are made faster, and are said: a simulated day is a few seconds of the database's clock, which every duration of the
recipe is shortened by, and each version answers each distinct prompt once, by llama.cpp, and is replayed from then on
(`benchmarks/month/replay.py`). A turn of the loop takes as long as it takes: the month's calendar stands still in it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import Goal, report
from benchmarks.month.people import Day, draw_day, draw_pool, live_day
from benchmarks.month.place import NAME, Place
from benchmarks.month.weeks import plan_weeks
from flytewheel.database import connect
from flytewheel.drift.triggers import check_triggers
from flytewheel.experiment import driving
from flytewheel.experiment.experiments import list_experiments
from flytewheel.experiment.ledger import read_rollout
from flytewheel.local.pyflyte import find_workflow, run_weekly
from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from flytewheel.runs import list_runs
from router.access.wire import lift_file_limit

LOOKS_A_DAY = 4
LEAST_DAY_S = 6.0
ROOM = 1.5  # a day against the time that its people take on this machine, so that every day has room for them
DRIVER = "the month's hourly look"


@dataclass(slots=True)
class Month:
    """What happened, day by day."""

    place: Place
    services: Services
    people: int
    pool: int
    seed: int
    day_s: float = LEAST_DAY_S
    day: int = 0
    shifted: bool = False
    totals: Counter[str] = field(default_factory=Counter)
    decisions: list[tuple[int, str, float, str]] = field(default_factory=list)
    seconds_back: float = 0.0

    def say(self, what: str) -> None:
        """A line of the timeline."""
        print(f"day {self.day:3d}  {what}", flush=True)

    def live(self, recipe: Recipe, *, breaks: str | None = None) -> list[str]:
        """One day of people, with looks at the rollout; `breaks` is killed in the middle of it."""
        began = time.monotonic()
        self.people_of_a_day(breaks)
        time.sleep(max(0.0, self.day_s - (time.monotonic() - began)))
        return self.look(recipe)

    def people_of_a_day(self, breaks: str | None = None) -> None:
        """Everybody's questions and reactions of one day."""
        self.day += 1
        questions = draw_day(
            draw_pool(self.pool, self.seed), self.day, self.seed, users=self.people, each=2, shifted=self.shifted
        )
        url, key = self.services.router_url, self.services.api_key
        with ThreadPoolExecutor(1) as crowd:
            lived = crowd.submit(live_day, url, key, NAME, questions)
            if breaks:
                time.sleep(self.day_s / 3)
                self.place.kill(breaks)
                self.services = self.place.up()
                self.say(f"{breaks} killed −9 at noon, up again")
            day = lived.result()
        self.totals.update(
            {
                "asked": day.asked,
                "feedback": day.feedback,
                "second tries": day.second_tries,
                "unanswered": day.unanswered,
                "unheard": day.unheard,
            }
        )
        shares = ", ".join(
            f"{version} {count:,} ({_rate(day, version)})" for version, count in sorted(day.by_version.items())
        )
        self.say(f"{day.asked:,} asked, {day.feedback:,} reactions: {shares}")

    def look(self, recipe: Recipe) -> list[str]:
        """The looks of a day at the rollout; the decisions that changed something."""
        taken: list[str] = []
        for _ in range(LOOKS_A_DAY):
            began = time.monotonic()
            found = driving.step(
                self.services.database_url,
                recipe.ab_testing,
                recipe.automation,
                router_url=self.services.router_url,
                admin_key=self.services.admin_key,
                name=NAME,
                actor=DRIVER,
                rewards=recipe.feedback.rewards,
            )
            ticked = found.tick
            if found.drill is not None:
                self.say(f"the way back was exercised: {found.drill['seconds']:.2f} s")
                self.seconds_back = max(self.seconds_back, found.drill["seconds"])
            if ticked.decision in ("none", "hold"):
                break
            if ticked.decision == "roll_back":
                self.seconds_back = max(self.seconds_back, time.monotonic() - began)
            self.say(f"{found.message}")
            self.decisions.append((self.day, ticked.decision, ticked.share, ticked.treatment))
            taken.append(ticked.decision)
        return taken

    def turn(self, recipe: Recipe, why: str) -> str | None:
        """A turn of the loop; the version that got a canary, None where the gate let none through."""
        self.say(f"turn begins: {why}")
        before = {one.experiment_id for one in list_experiments(self.services.database_url, name=NAME)}
        began = time.monotonic()
        code = run_weekly(find_workflow().parents[1] / "recipes" / "demo.yaml", self.services, instead=recipe)
        run = list_runs(self.services.database_url, limit=1)[0]
        seconds = time.monotonic() - began
        opened = [
            one
            for one in list_experiments(self.services.database_url, name=NAME, running=True)
            if one.experiment_id not in before
        ]
        self.say(f"turn {run.run_id} ended after {seconds:.0f} s: {run.status}")
        if code:
            raise SystemExit(f"error: the turn failed with code {code}: `--keep FOLDER` leaves its logs")
        if not opened:
            return None
        self.say(f"canary: {opened[0].treatment} at {opened[0].share:.0%} against {opened[0].control}")
        return opened[0].treatment

    def live_until(self, recipe: Recipe, stop: Callable[[list[str]], bool], limit: int, breaks: dict[int, str]) -> None:
        """Days until a decision, `limit` of them at most."""
        for number in range(limit):
            if stop(self.live(recipe, breaks=breaks.get(number))):
                return


def _rate(day: Day, version: str) -> str:
    votes = day.up[version] + day.down[version]
    return f"{day.up[version] / votes:.0%} up" if votes else "no votes"


def measure(quick: bool, people: int, seed: int, keep: Path | None) -> Sequence[Goal]:
    """One month."""
    lift_file_limit()
    folder = tempfile.TemporaryDirectory(prefix="flytewheel-month-", ignore_cleanup_errors=True)
    root = keep or Path(folder.name)
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    place = Place(root)
    print("each version answers each distinct prompt once, by llama.cpp, and is replayed after that", flush=True)
    try:
        return _run(place, quick, people, seed)
    finally:
        place.close()
        folder.cleanup()


def _run(place: Place, quick: bool, people: int, seed: int) -> Sequence[Goal]:
    steps = 60 if quick else 120
    weeks = plan_weeks(steps=steps, day_s=LEAST_DAY_S)
    people = people // 2 if quick else people
    month = Month(place, place.up(), people, 150 if quick else 400, seed)
    ended = lambda taken: bool(taken) and taken[-1] not in ("advance",)  # noqa: E731
    good = month.turn(weeks["good"], "first week, on imported logs of what people said of the base")
    month.people_of_a_day()  # llama.cpp gives its answers
    began = time.monotonic()
    month.people_of_a_day()
    month.day_s = max(LEAST_DAY_S, ROOM * (time.monotonic() - began))
    month.say(f"a day lasts {month.day_s:.1f} s of the database's clock from here on")
    weeks = plan_weeks(steps=steps, day_s=month.day_s)
    month.live_until(weeks["good"], ended, 20, {1: "router"})
    harmful = month.turn(weeks["harmful"], "second week")
    if harmful:
        place.plant(harmful)
        month.say(f"{harmful} is served broken: its answers stop after six words")
    month.live_until(weeks["harmful"], ended, 20, {})
    neutral = month.turn(weeks["neutral"], "third week, a small turn from the champion's adapter")
    month.live_until(weeks["neutral"], ended, 20, {1: "postgres"})
    month.shifted = True
    month.say("from now on people ask in longer words")
    looks = []
    for _ in range(6):
        month.live(weeks["wrecked"])
        looks.append(check_triggers(month.services.database_url, weeks["wrecked"], now=datetime.now(UTC)))
        if looks[-1].due:
            break
    month.say(f"triggers: {'; '.join(looks[-1].reasons) or 'nothing is due'}")
    wrecked = month.turn(weeks["wrecked"], "; ".join(looks[-1].reasons))
    return _score(month, good, harmful, neutral, wrecked, looks[-1].reasons)


def _score(
    month: Month,
    good: str | None,
    harmful: str | None,
    neutral: str | None,
    wrecked: str | None,
    reasons: Sequence[str],
) -> Sequence[Goal]:
    with connect(month.services.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM feedback_events").fetchone()
        assert row is not None
        stored = row[0]
    _, log = read_rollout(month.services.database_url, NAME)
    generated = month.place.read_generated()
    print(f"answers given by llama.cpp, once for each prompt: {generated}; asked {month.totals['asked']:,}")
    print(dict(month.totals), len(log), "lines in the last rollout's log")

    def count(decision: str, version: str | None) -> float:
        return float(sum(kind == decision and who == version for _, kind, _, who in month.decisions))

    shares = [share for _, kind, share, who in month.decisions if who == harmful and kind == "roll_back"]
    return [
        Goal("good release: promotions", count("promote", good), 1, at_most=False),
        Goal("promotions in all", float(sum(kind == "promote" for _, kind, _, _ in month.decisions)), 1),
        Goal("harmful release: rolled back", count("roll_back", harmful), 1, at_most=False),
        Goal("harmful release: largest share", max(shares, default=1.0), 0.1),
        Goal("neutral release: expired", count("reject_at_max_duration", neutral), 1, at_most=False),
        Goal("wrecked turn: canaries", float(wrecked is not None), 0),
        Goal("drift: named by the triggers", float(any("drift" in reason for reason in reasons)), 1, at_most=False),
        Goal("requests that nobody answered", float(month.totals["unanswered"]), 0),
        Goal("acknowledged reactions that are not stored", float(max(0, month.totals["feedback"] - stored)), 0),
        Goal("seconds of a way back, drilled or in earnest, at most", month.seconds_back, 10),
    ]


if __name__ == "__main__":
    sys.exit(
        report(
            measure,
            __doc__ or "",
            {
                "people": {"type": int, "default": 1200, "help": "who ask, two questions a day each and more"},
                "seed": {"type": int, "default": 7},
                "keep": {"type": Path, "default": None, "help": "folder to leave everything in"},
            },
        )
    )
