"""Whether the gate's word can be taken: two copies of one model pass as "better" in at most 5 % of 1,000 evaluations, a
candidate with a true win rate of 60 % on 300 prompts passes in at least 80 %.

    python -m benchmarks.gate [--quick] [--json FILE]

Every evaluation goes the real way: duels of invented users, a judge of rewards, its agreement with held-out pairs, the
win rate with its interval, `gate.decide` with `win_rate: {min_lower_bound: 0.5}`. Answers always differ; each user has
a leaning of their own around the true rate (intra-user correlation 0.1), and brings several prompts. Seeds are fixed.
The gate's 95 % interval is two-sided, so that 2.5 % of false passes are what it promises; the goal leaves room for few
users and for 1,000 evaluations (standard error 0.5 %, of the coverage 0.7 %: at least 93 % is asked).

Beside the plain win rate: at equal length, where the judge adores length; and with people's labels on a third of the
duels (prediction-powered), where the judge is good, knows nothing, or leans to the candidate. The coverage of these
intervals is measured in the same evaluations.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import Goal, report
from flytewheel.evaluation.asking import Reply, Voice
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.judging.judge import Duel, Opinion
from flytewheel.evaluation.judging.measure import JudgingMeasure
from flytewheel.evaluation.judging.opening import Bench
from flytewheel.evaluation.judging.people import PeopleJudge
from flytewheel.evaluation.judging.reward_judge import compare_rewards
from flytewheel.evaluation.measure import Compare, Examples, Heard
from flytewheel.evaluation.report import Evaluation
from flytewheel.recipe import GateSpec, JudgeSpec
from flytewheel.records import Decision, Message, Preference, ReviewLabel, SftRow, duel_id

RUNS, QUICK_RUNS = 1_000, 200
PROMPTS, SAMPLES, LEVEL = 300, 500, 0.95
CORRELATION = 0.1
PAIRS, AGREEMENT = 100, 0.8


@dataclass(frozen=True, slots=True)
class Scene:
    """One kind of evaluation.

    Attributes:
        rate: the true win rate by people, at equal length.
        users: who bring the prompts, as many each.
        figure: the one that the gate asks for.
        adores_length: logits that a judge adds for one standard deviation of length, ours being longer mostly.
        reviewed: share of the duels that people looked at; 0: nobody was asked.
        knows: with which probability the judge says what people say; else it says `leans`.
        leans: with which probability it then says ours.
    """

    name: str
    rate: float
    users: int = 100
    figure: str = "win_rate"
    adores_length: float = 0.0
    reviewed: float = 0.0
    knows: float = 1.0
    leans: float = 0.5


@dataclass(frozen=True, slots=True)
class Tally:
    """Shares of the evaluations: passed, interval around the truth; and mean widths, of people alone too."""

    passed: float
    covered: float
    width: float
    people_width: float | None


class InventedJudge:
    """Rewards that were drawn beforehand, compared as the reward model's are."""

    name = "the invented judge"

    def __init__(self, rewards: dict[tuple[str, str], tuple[float, float]]) -> None:
        self._rewards = rewards

    def judge(self, duels: Sequence[Duel], progress: object = None) -> list[Opinion]:
        return [compare_rewards(*self._rewards[duel.id, duel.ours]) for duel in duels]


SCENES = (
    *(Scene(f"two copies, {users} users", 0.5, users) for users in (10, 22, 40, 100, 300)),
    Scene("two copies, a judge of length, at equal length", 0.5, 100, "win_rate_length_controlled", 1.5),
    Scene("two copies, people and a good judge", 0.5, 100, reviewed=1 / 3, knows=0.8),
    Scene("two copies, people and a judge that knows little", 0.5, 100, reviewed=1 / 3, knows=0.3),
    Scene("two copies, people and a judge that leans to ours", 0.5, 100, reviewed=1 / 3, knows=0.6, leans=1.0),
    Scene("two copies, 22 users, people and a judge that leans", 0.5, 22, reviewed=1 / 3, knows=0.6, leans=1.0),
    Scene("better, 100 users", 0.6, 100),
    Scene("better, 300 users", 0.6, 300),
    Scene("better, a judge of length, at equal length", 0.6, 300, "win_rate_length_controlled", 1.5),
    Scene("better, people and a good judge", 0.6, 300, reviewed=1 / 2, knows=0.9),
)


def measure(quick: bool) -> list[Goal]:
    """1,000 evaluations of each scene (`--quick`: 200)."""
    goals = []
    started = time.process_time()
    for number, scene in enumerate(SCENES):
        tally = simulate(scene, QUICK_RUNS if quick else RUNS, seed=1000 + number)
        print(
            f"{scene.name}: passed {tally.passed:.3f}, covered {tally.covered:.3f}, width {tally.width:.3f}"
            + ("" if tally.people_width is None else f", of people alone {tally.people_width:.3f}"),
            flush=True,
        )
        if scene.rate > 0.5:
            goals.append(Goal(f"{scene.name}: share that passes", tally.passed, 0.8, at_most=False))
        else:
            goals.append(Goal(f"{scene.name}: share that passes as better", tally.passed, 0.05))
        goals.append(Goal(f"{scene.name}: coverage", tally.covered, 0.93 if not quick else 0.91, at_most=False))
        if tally.people_width is not None and scene.knows >= 0.8:
            goals.append(
                Goal(f"{scene.name}: width as a share of people's alone", tally.width / tally.people_width, 0.95)
            )
    seconds = (time.process_time() - started) / len(SCENES) * (RUNS / (QUICK_RUNS if quick else RUNS))
    goals.append(Goal("seconds of CPU for 1,000 evaluations", seconds, 120))
    return goals


def simulate(scene: Scene, runs: int, *, seed: int) -> Tally:
    """Evaluates `runs` times."""
    gate = GateSpec.model_validate({**dict.fromkeys(GateSpec.model_fields), scene.figure: {"min_lower_bound": 0.5}})
    world = World(scene)
    passed, covered, widths, alone = [], [], [], []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        bench = world.draw(rng)
        compare = Compare(SAMPLES, LEVEL, run)
        found = JudgingMeasure(world.pairs, JudgeSpec(min_agreement=0.0), bench).measure(world.heard, compare)
        verdict = decide(Evaluation(metrics=found.metrics, notes=found.notes), gate)
        passed.append(verdict.decision is Decision.PROMOTE_TO_CANARY)
        spread = found.metrics[scene.figure].candidate
        if spread.low is None or spread.high is None:
            raise AssertionError(f"{scene.name}: no interval; {found.notes}")
        covered.append(spread.low <= scene.rate <= spread.high)
        widths.append(spread.high - spread.low)
        if (people := found.details["people_alone"]) is not None:
            alone.append(people["high"] - people["low"])
    return Tally(
        float(np.mean(passed)),
        float(np.mean(covered)),
        float(np.mean(widths)),
        float(np.mean(alone)) if alone else None,
    )


class World:
    """The prompts, answers and held-out pairs of a scene; what people and judges say is drawn anew each time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        rng = np.random.default_rng(7)
        self._owners = np.arange(PROMPTS) % scene.users
        shift = 0.5 if scene.adores_length else 0.0
        self._gaps = rng.normal(shift, 1.0, PROMPTS)  # standard deviations of 40 characters
        ours = [f"ours {at:03d} " + "x" * max(0, round(200 + 40 * gap)) for at, gap in enumerate(self._gaps)]
        theirs = [f"this {at:03d} " + "x" * 200 for at in range(PROMPTS)]
        prompts = [(Message(role="user", content=f"question {at}"),) for at in range(PROMPTS)]
        rows = tuple(
            SftRow(f"row-{at}", f"user-{owner}", "ops", prompts[at], "as wished", 1.0, 1.0, "answer")
            for at, owner in enumerate(self._owners)
        )
        self.heard = Heard(
            Examples(rows, tuple(map(Reply, ours)), tuple(map(Reply, theirs))), Voice(), Voice(), Voice()
        )
        self._names = [(duel_id(*each), each[1]) for each in zip(prompts, ours, theirs, strict=True)]
        self.pairs = [
            Preference(f"pair-{at}", f"user-{at % 40}", "ops", (Message(role="user", content=f"old question {at}"),),
                       f"liked {at}", f"disliked {at}", 1.0, "same_prompt")
            for at in range(PAIRS)
        ]  # fmt: skip
        self._pair_names = [(duel_id(pair.prompt, pair.chosen, pair.rejected), pair) for pair in self.pairs]

    def draw(self, rng: np.random.Generator) -> Bench:
        """What people would say of each duel, what the judge says, and which part people looked at."""
        scene = self._scene
        concentration = 1 / CORRELATION - 1
        rates = rng.beta(scene.rate * concentration, (1 - scene.rate) * concentration, scene.users)[self._owners]
        if scene.adores_length:
            leaning = rng.normal(np.log(scene.rate / (1 - scene.rate)), 0.5, scene.users)[self._owners]
            rates = 1 / (1 + np.exp(-leaning - scene.adores_length * np.tanh(self._gaps)))
        liked = rng.random(PROMPTS) < rates
        known = rng.random(PROMPTS) < scene.knows
        says = np.where(known, liked, rng.random(PROMPTS) < scene.leans)
        gaps = np.where(says, 1.0, -1.0) * rng.exponential(1.0, PROMPTS)
        rewards = {name: (float(gap), 0.0) for name, gap in zip(self._names, gaps, strict=True)}
        for name, pair in self._pair_names:
            right = 1.0 if rng.random() < AGREEMENT else -1.0
            rewards |= {(name, pair.chosen): (right, 0.0), (name, pair.rejected): (0.0, right)}
        if not scene.reviewed:
            return Bench(InventedJudge(rewards))
        seen = rng.permutation(PROMPTS)[: round(scene.reviewed * PROMPTS)]
        labels = [ReviewLabel(self._names[at][0], "r", "ours" if liked[at] else "theirs") for at in seen]
        return Bench(InventedJudge(rewards), PeopleJudge(labels))


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
