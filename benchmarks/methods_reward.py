"""What a reward model learns from the demo's feedback, and what GRPO gains by it: reward accuracy >= 0.9 on held-out
pairs where a rule that sees only length stays <= 0.6, and a mean reward that grows.

    python -m benchmarks.methods_reward [--quick] [--json FILE]

The demo's own pairs cannot show the first: people there want numbered steps with a channel, and those are longer than
what they dislike (a rule "the longer one" is right in 84 % of the 40 held-out pairs). They are measured and printed,
not judged. Judged are pairs of the same invented people and answers in which a coin says which side is the longer:
further steps or sentences are drawn for both sides until it is so. Loops, cut and one-line answers are left out, whose
length gives them away; what else people dislike comes in the simulated week's shares.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import Goal, report
from benchmarks.demo_data import build_demo_dataset, load_demo_recipe
from flytewheel.dataset import DatasetCard, digest_content, part_file, write_card, write_rows
from flytewheel.feedback.simulate import ANSWERS
from flytewheel.figures import describe_held_out
from flytewheel.models import attach_adapter, load_adapted, load_tokenizer, token_counter
from flytewheel.pocket.facts import HOUSE, TAUGHT, TEAMS, Fact, build_world, draw_fact, with_owner, write_answer
from flytewheel.pocket.users import Question, draw_questions, find_faults
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import GrpoSpec, Recipe, RewardSpec
from flytewheel.records import Message, Preference
from flytewheel.training.align import align
from flytewheel.training.grpo import sample_answers
from flytewheel.training.report import TrainingReport
from flytewheel.training.reward import train_reward
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace

# A 3 M parameter model wants ten times the rates of the defaults, as in recipes/demo.yaml.
REWARD = RewardSpec(enable=True, min_pairs=100, learning_rate=1e-3, batch_size=8, gradient_accumulation=1)
REWARD_STEPS = 60
GRPO = GrpoSpec(max_answer_tokens=96, measured_prompts=40)
GRPO_STEPS, QUICK_STEPS = 40, 25
GRPO_RATE = 1e-3
LIKED_OF = 80
PAIRS = {"train": 400, "validation": 200}
_DISLIKED = ("house", "other_command", "other_owner")
_TRIES = 200


def measure(quick: bool) -> list[Goal]:
    """Both reward models and a GRPO training on the demo's data (`--quick`: fewer steps of GRPO)."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-bench-") as folder:
        return measure_reward(Path(folder), build_demo_dataset(Path(folder) / "demo"), quick=quick)


def measure_reward(folder: Path, demo: Path, *, quick: bool = False, start: Path | None = None) -> list[Goal]:
    """Measures in `folder`, with the demo's data set in `demo`; prints what is not a goal.

    GRPO begins at the adapter `start`; `None`: at one that is trained first, as the demo trains it.
    """
    recipe = load_demo_recipe()
    at = Workplace(folder / "checkpoints")
    fair = write_fair_pairs(folder / "fair", recipe, seed=recipe.seed)
    shown = {}
    for name, data in (("demo", demo), ("fair", fair)):
        found = train_reward(
            data, folder / f"reward-{name}", base=recipe.base, training=recipe.training,
            reward=REWARD.model_copy(update={"max_steps": REWARD_STEPS}), rlhf=recipe.rlhf, seed=recipe.seed, at=at,
        )  # fmt: skip
        shown[name] = found
        print(f"reward model, {name} pairs ({found.rows}): {'; '.join(describe_held_out(found.held_out))}", flush=True)
    start = start or train_start(folder, demo, recipe)
    grown = train_grpo(folder, demo, recipe, start, steps=QUICK_STEPS if quick else GRPO_STEPS)
    print(f"grpo: {'; '.join(describe_held_out(grown.held_out))}", flush=True)
    if not quick:
        liked = _show_liked(start, folder / "grpo", recipe)
        print(f"grpo: liked by the simulated people, of {LIKED_OF} fresh answers: {liked}", flush=True)
    fairly = shown["fair"].held_out
    return [
        Goal("reward model: held-out accuracy, length drawn by a coin", fairly["accuracy"]["estimate"], 0.9, False),
        Goal("the better length-only rule on the same pairs", fairly["length_accuracy"]["estimate"], 0.6),
        Goal("grpo: gain in mean reward on held-out prompts", grown.held_out["reward_gain"]["estimate"], 0.2, False),
        Goal("grpo: its lower 95 % bound", grown.held_out["reward_gain"]["low"], 0.01, False),
    ]


def train_start(folder: Path, demo: Path, recipe: Recipe) -> Path:
    """SFT as the demo does it; gives the folder of its adapter."""
    at = Workplace(folder / "checkpoints")
    train_sft(demo, folder / "sft", base=recipe.base, training=recipe.training, seed=recipe.seed, at=at)
    return folder / "sft"


def train_grpo(folder: Path, demo: Path, recipe: Recipe, start: Path, *, steps: int) -> TrainingReport:
    """GRPO from the adapter `start`, with the reward model of the demo's pairs."""
    rlhf = recipe.rlhf.model_copy(
        update={
            "method": "grpo", "grpo": GRPO, "learning_rate": GRPO_RATE, "batch_size": 8, "gradient_accumulation": 2,
            "max_steps": steps,
        }
    )  # fmt: skip
    return align(
        demo, start, folder / "grpo", base=recipe.base, training=recipe.training, rlhf=rlhf, seed=recipe.seed,
        at=Workplace(folder / "checkpoints"), reward_model=folder / "reward-demo",
    )  # fmt: skip


def _show_liked(start: Path, grown: Path, recipe: Recipe) -> str:
    """The share of answers without a fault before and after: a reward can grow that nobody would give."""
    questions = draw_questions(LIKED_OF, recipe.seed + 1000)
    prompts = [_ask(question) for question in questions]
    rlhf = recipe.rlhf.model_copy(update={"grpo": GRPO})
    shares = []
    with quiet_libraries():
        tokenizer = load_tokenizer(recipe.base)
        model = load_adapted(recipe.base, start)
        attach_adapter(model, grown, name="grpo")
        for adapter in ("default", "grpo"):
            answers = sample_answers(model, adapter, tokenizer, prompts, rlhf, recipe.seed)
            liked = sum(not find_faults(question, text) for question, text in zip(questions, answers, strict=True))
            shares.append(f"{liked / LIKED_OF:.2f}")
    return " → ".join(shares)


def _ask(question: Question) -> tuple[Message, ...]:
    return (
        Message(role="system", content=f"Context:\n{question.context}"),
        Message(role="user", content=question.query),
    )


def write_fair_pairs(folder: Path, recipe: Recipe, *, seed: int) -> Path:
    """Writes a data set of pairs, each of another person, in which a coin says which side has more tokens."""
    chance = random.Random(seed)
    count = token_counter(recipe.base)
    questions = iter(draw_questions(sum(PAIRS.values()), seed))
    for part, wanted in PAIRS.items():
        rows = []
        for number in range(wanted):
            question = next(questions)
            chosen, rejected = _draw_pair(question, chance, count)
            name, asked = f"{part}-{number}", _ask(question)
            rows.append(Preference(name, question.user_id, question.topic, asked, chosen, rejected, 2.0, "same_prompt"))
        write_rows(part_file(folder, "preference", part), "preference", rows)
    content = digest_content(folder)
    write_card(
        folder,
        DatasetCard(
            digest=content, content_digest=content, sources=("benchmark",), interactions=0, events=0, steps=(),
            counts={}, users={}, topics={},
        ),
    )  # fmt: skip
    return folder


def _draw_pair(question: Question, chance: random.Random, count: Callable[[str], int]) -> tuple[str, str]:
    fact, longer = question.fact, chance.random() < 0.5
    kind = chance.choices(_DISLIKED, [ANSWERS[name] for name in _DISLIKED])[0]
    for _ in range(_TRIES):
        chosen = _lengthen(write_answer(fact, TAUGHT, chance), fact, chance)
        rejected = _lengthen(_write_disliked(kind, fact, chance), fact, chance)
        lengths = count(chosen), count(rejected)
        if lengths[0] != lengths[1] and (lengths[0] > lengths[1]) is longer:
            assert not find_faults(question, chosen)
            assert find_faults(question, rejected)
            return chosen, rejected
    raise AssertionError(f"no pair in {_TRIES} draws: {question}")


def _write_disliked(kind: str, fact: Fact, chance: random.Random) -> str:
    if kind == "house":
        return write_answer(fact, HOUSE, chance)
    if kind == "other_owner":
        other = chance.choice([team for team in TEAMS if team != fact.service.team])
        return write_answer(with_owner(fact, other), TAUGHT, chance)
    wrong = draw_fact(fact.service, fact.symptom, chance)
    while wrong.command == fact.command:
        wrong = draw_fact(fact.service, fact.symptom, chance)
    return write_answer(replace(fact, command=wrong.command), TAUGHT, chance)


def _lengthen(answer: str, fact: Fact, chance: random.Random) -> str:
    """Adds none to three things to look at, as further steps before the last line, or as sentences before the last."""
    others = [other for other in build_world() if other.service == fact.service and other != fact]
    more = [chance.choice((other.look, other.check)) for other in chance.sample(others, chance.randrange(4))]
    if answer.startswith("1. "):
        *steps, last = answer.splitlines()
        steps += [f"{len(steps) + 1 + place}. {text[0].upper()}{text[1:]}." for place, text in enumerate(more)]
        return "\n".join([*steps, last])
    body, last = answer.rstrip(".?").rsplit(". ", 1)
    sentences = [f"{text[0].upper()}{text[1:]}" for text in more]
    return ". ".join([body, *sentences, last]) + "."


if __name__ == "__main__":
    sys.exit(report(measure, "Reward accuracy without length's help, and GRPO's gain, on the demo's data."))
