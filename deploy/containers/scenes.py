"""What is shown in containers, in this order: a turn with a kill in it, a second turn, the rollout's ways, failures.

| scene | shows |
|---|---|
| `weekly` | every task of a turn in workflow order, each container run twice; training killed and resumed |
| `again` | a turn without new feedback: what Flyte's conditionals do then |
| `rollout` | no data: hold; a cleared stage: advance; harm: roll back; each in the router at once |
| `triggers` | the hourly look |
| `recoverable` | PostgreSQL is away at the first attempt; the second one succeeds |
| `fatal` | a recipe that cannot work: no second attempt, and the failure node runs |
| `memory` | training with too low a limit: OOMKilled by the kernel, reported as that |
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.containers import ContainersError
from deploy.containers.attempts import FATAL, RECOVERABLE, Attempt, Attempts
from deploy.containers.cri import Pod
from deploy.containers.propeller import TaskCall, TaskFailedError
from deploy.containers.session import Session
from deploy.containers.stock import compare_content, compare_stock, read_content, take_stock
from flytewheel.experiment.experiments import list_experiments
from flytewheel.local.processes import free_port
from flytewheel.recipe import Recipe
from flytewheel.runs import read_reports
from flytewheel.signed_registry import open_registry
from flytewheel.training.seal import SEAL
from flytewheel.training.uploads import PREFIX
from registry.store import ObjectStore

WEEKLY, ROLLOUT, TRIGGERS = "workflows.weekly.weekly", "workflows.rollout.rollout", "workflows.triggers.triggers"
KILLED_TASK = "tasks.train.train_sft"
SECOND = 50  # number of the attempt that is made again after one that succeeded
LOW_BYTES = 200 << 20


@dataclass(frozen=True)
class Check:
    """Something that has to be so, and what was found."""

    name: str
    holds: bool
    found: str


@dataclass
class Twice:
    """Runs each task, and once it has succeeded the same container again; keeps in what they differ.

    Attributes:
        session: where.
        attempts: of the execution.
        differences: of outputs, by task.
        effects: what the second run added to the world, by task.
        between: is told each task that ran once and not yet again.
    """

    session: Session
    attempts: Attempts
    differences: dict[str, list[str]] = field(default_factory=dict)
    effects: dict[str, list[str]] = field(default_factory=dict)
    ran: int = 0
    between: Callable[[TaskCall], None] = lambda call: None

    def run_task(self, call: TaskCall) -> Any:
        made = self.attempts.run_task(call)
        services, store = self.session.services, open_store(self.session)
        self.between(call)
        if not self.session.twice:
            return made
        first = next(one for one in reversed(self.session.attempts) if one.path == call.path)
        before = take_stock(services.database_url, store)
        second = self.attempts.try_task(call, SECOND)
        self.attempts.seen(call, second)
        self.ran += 1
        name = call.template.id.name
        if not second.succeeded:
            self.differences[name] = [f"{second.outcome}: {second.message.strip().splitlines()[-1]}"]
            return made
        if found := compare_stock(before, take_stock(services.database_url, store)):
            self.effects[name] = found
        if first.outcome == "outputs" and (found := self._compare(first, second)):
            self.differences[name] = found
        return made

    def judge(self) -> Iterator[Check]:
        """What the second runs showed, if there were any."""
        if self.ran:
            found = str(self.differences or f"{self.ran} containers")
            yield Check("run twice, the outputs are the same", not self.differences, found)
            found = str(self.effects or f"{self.ran} containers")
            yield Check("run twice, nothing happens a second time", not self.effects, found)

    def _compare(self, first: Attempt, second: Attempt) -> list[str]:
        cluster = self.session.cluster
        one, other = (
            {name: read_content(value, cluster.store, cluster.bucket_url) for name, value in made.literals.items()}
            for made in (first.outputs, second.outputs)
        )
        return compare_content(one, other)


def play(session: Session, recipe: Recipe, names: list[str]) -> Iterator[Check]:
    """Plays scenes one after the other; what has to hold comes out as soon as it is known."""
    for name in names:
        session.say(f"\n{name}")
        try:
            yield from SCENES[name](session, recipe)
        except ContainersError as failure:
            yield Check(f"{name} comes to its end", False, str(failure))


def play_weekly(session: Session, recipe: Recipe) -> Iterator[Check]:
    """A turn: training is killed once its first checkpoint is in the store."""
    store = open_store(session)

    def watch(call: TaskCall, number: int) -> Callable[[str], bool]:
        wanted = call.template.id.name == KILLED_TASK and number == 0
        return lambda container: wanted and _has_checkpoint(store)

    begun: list[int] = []

    def between(call: TaskCall) -> None:
        if call.template.id.name == KILLED_TASK:
            run_id = read_text(call.inputs["run_id"])
            begun.append(int(read_reports(session.services.database_url, run_id)["train_sft"]["resumed_from_step"]))

    twice = Twice(session, session.open_execution("turn-1", WEEKLY, watch=watch), between=between)
    outputs = session.run(WEEKLY, {"recipe": as_literal(recipe)}, twice.run_task)
    said = read_text(outputs["o0"])
    yield Check(
        "the turn ends with an experiment",
        bool(list_experiments(session.services.database_url, name=recipe.name, running=True)),
        said,
    )
    trained = [one for one in session.attempts if one.task == KILLED_TASK]
    yield Check("the killed training was interrupted", trained[0].outcome == "Interrupted", trained[0].message)
    resumed = trained[1].succeeded and bool(begun) and begun[0] > 0
    yield Check(
        "the next one goes on from its checkpoint", resumed, f"from step {begun} of {recipe.training.max_steps}"
    )
    decks = [one.task for one in session.attempts if one.succeeded and one.number < SECOND and one.deck_bytes]
    yield Check("tasks with a deck wrote it", not _list_without_deck(session), f"{len(decks)} decks")
    yield from twice.judge()
    champion = open_registry(session.services).get_alias(recipe.name, "champion")
    yield Check("the registry has a champion", champion is not None, str(champion))


def play_again(session: Session, recipe: Recipe) -> Iterator[Check]:
    """A turn for which there is nothing new."""
    outputs = session.run(WEEKLY, {"recipe": as_literal(recipe)}, session.open_execution("turn-2", WEEKLY).run_task)
    ran = {one.task.rpartition(".")[2] for one in session.attempts if one.prefix.startswith("metadata/turn-2/")}
    wanted = {"open_turn", "wait_for_more", "keep_champion", "report"}
    yield Check("without new feedback nothing is trained", ran == wanted, f"{read_text(outputs['o0'])}: {sorted(ran)}")


def play_rollout(session: Session, recipe: Recipe) -> Iterator[Check]:
    """Three looks at the canary: without data, cleared, harmed. People's answers are put into the database."""
    from flytewheel.recipe import Guardrail
    from tests.experiment.canary import age_stage, crowd, store

    guardrail = Guardrail(metric="thumbs_up_rate", relative_margin=0.3)
    rules = recipe.ab_testing.model_copy(update={"guardrails": (guardrail,), "stage_duration_hours": 24.0})
    eager = recipe.model_copy(
        update={"ab_testing": rules, "automation": recipe.automation.model_copy(update={"auto_rollout": True})}
    )
    database_url = session.services.database_url
    counted = itertools.count(0, 100_000)

    def meet(control: float, treatment: float) -> None:
        running = list_experiments(database_url, name=recipe.name, running=True)
        if not running:
            raise ContainersError(f"{recipe.name} has no canary: play the scene `weekly` first")
        experiment = running[0]
        others = round(60 * (1 - experiment.share) / experiment.share)
        rows = crowd("control", others, up=control) + crowd("treatment", 60, up=treatment)
        store(database_url, experiment, rows, start=next(counted))

    looks: list[Twice] = []

    def look(name: str) -> str:
        looks.append(Twice(session, session.open_execution(name, ROLLOUT)))
        outputs = session.run(ROLLOUT, {"recipe": as_literal(eager)}, looks[-1].run_task)
        return read_text(outputs["o0"])

    said = look("look-1")
    yield Check("without data the canary is held", said.startswith("hold"), said)
    meet(0.7, 0.7)
    age_stage(database_url, 24.1)
    said = look("look-2")
    yield Check("a cleared stage advances", said.startswith("advance"), said)
    meet(0.7, 0.2)
    said = look("look-3")
    yield Check("harm is taken back", said.startswith("roll_back"), said)
    effects = {task: found for one in looks for task, found in one.effects.items()}
    yield Check("looked twice, nothing happens a second time", not effects, str(effects or f"{len(looks)} looks"))


def play_triggers(session: Session, recipe: Recipe) -> Iterator[Check]:
    """One hourly look."""
    twice = Twice(session, session.open_execution("hour-1", TRIGGERS))
    said = read_text(session.run(TRIGGERS, {"recipe": as_literal(recipe)}, twice.run_task)["o0"])
    yield Check("the hourly look says what it found", "due" in said, said)


def play_recoverable(session: Session, recipe: Recipe) -> Iterator[Check]:
    """The first attempt finds no PostgreSQL where its secret says."""
    nowhere = f"postgresql://flytewheel:gone@127.0.0.1:{free_port()}/flytewheel"

    def change(call: TaskCall, number: int, pod: Pod) -> Pod:
        return replace(pod, environ={**pod.environ, "FLYTEWHEEL_DATABASE_URL": nowhere}) if number == 0 else pod

    since = len(session.attempts)
    attempts = session.open_execution("hour-2", TRIGGERS, change=change)
    session.run(TRIGGERS, {"recipe": as_literal(recipe)}, attempts.run_task)
    first, second = session.attempts[since:]
    yield Check(
        "a database that is away can be tried again", first.kind == RECOVERABLE, f"{first.outcome} {first.kind}"
    )
    yield Check("the error names the next step", "127.0.0.1" in first.message, first.message.strip().splitlines()[-1])
    yield Check("the next attempt succeeds", second.succeeded, second.outcome)


def play_fatal(session: Session, recipe: Recipe) -> Iterator[Check]:
    """A recipe whose log of feedback is not there."""
    files = recipe.feedback.files
    assert files is not None, "the demo's recipe has files"
    broken = recipe.model_copy(
        update={
            "feedback": recipe.feedback.model_copy(
                update={"files": files.model_copy(update={"interactions": "examples/not-there.jsonl.gz"})}
            )
        }
    )
    since = len(session.attempts)
    try:
        session.run(WEEKLY, {"recipe": as_literal(broken)}, session.open_execution("turn-3", WEEKLY).run_task)
        raised = None
    except TaskFailedError as failure:
        raised = failure
    first, *others = session.attempts[since:]
    yield Check("a wrong recipe is final", raised is not None and first.kind == FATAL, f"{first.outcome} {first.kind}")
    yield Check(
        "its message is ours", "not-there.jsonl.gz" in first.message, first.message.strip().splitlines()[-1].strip()
    )
    ran = [one.task.rpartition(".")[2] for one in others]
    yield Check("no second attempt, and the failure node runs", ran == ["record_failure"], str(ran))


def play_memory(session: Session, recipe: Recipe) -> Iterator[Check]:
    """Training again, with the inputs of the turn, below the memory that it needs."""
    inputs = _read_inputs(session, KILLED_TASK)

    def change(call: TaskCall, number: int, pod: Pod) -> Pod:
        return replace(pod, memory_bytes=LOW_BYTES)

    attempts = session.open_execution("turn-1-memory", WEEKLY, change=change)
    since = len(session.attempts)
    try:
        attempts.run_task(TaskCall(session.registered.tasks[KILLED_TASK], "train", 1, inputs))
        raised = None
    except TaskFailedError as failure:
        raised = failure
    killed = session.attempts[since:]
    found = (
        f"{len(killed)} × {killed[0].outcome}, exit {killed[0].ended.exit_code}, {killed[0].ended.peak_bytes >> 20} MiB"
    )
    yield Check("too little memory is OOMKilled", all(one.outcome == "OOMKilled" for one in killed), found)
    yield Check("its exit code is 137", all(one.ended.exit_code == 137 for one in killed), found)
    yield Check("it is tried as often as the task says", raised is not None and len(killed) == 2, found)


SCENES: dict[str, Callable[[Session, Recipe], Iterator[Check]]] = {
    "weekly": play_weekly,
    "again": play_again,
    "rollout": play_rollout,
    "triggers": play_triggers,
    "recoverable": play_recoverable,
    "fatal": play_fatal,
    "memory": play_memory,
}


def open_store(session: Session) -> ObjectStore:
    """The store of data sets, runs and the registry: not that of Flyte's own files."""
    services = session.services
    return ObjectStore(services.s3_url, services.s3_access_key, services.s3_secret_key, services.s3_bucket)


def as_literal(value: Any) -> Any:
    """A Python value as Flyte's literal, as the console or `pyflyte run --remote` would send it."""
    from flytekit.core.context_manager import FlyteContextManager
    from flytekit.core.type_engine import TypeEngine

    kind = type(value)
    context = FlyteContextManager.current_context()
    return TypeEngine.to_literal(context, value, kind, TypeEngine.to_literal_type(kind)).to_flyte_idl()


def read_text(literal: Any) -> str:
    """The text of a literal."""
    return str(literal.scalar.primitive.string_value)


def _has_checkpoint(store: ObjectStore) -> bool:
    return any(key.endswith(f"/{SEAL}") for key in store.list(PREFIX))


def _list_without_deck(session: Session) -> list[str]:
    wanted = {name for name, one in session.registered.tasks.items() if one.metadata.generates_deck.value}
    return sorted(
        {one.task for one in session.attempts if one.outcome == "outputs" and one.task in wanted and not one.deck_bytes}
    )


def _read_inputs(session: Session, task: str) -> dict[str, Any]:
    from flyteidl.core import literals_pb2

    found = next((one for one in session.attempts if one.task == task), None)
    if found is None:
        raise ContainersError(f"{task} has not run: play the scene `weekly` first")
    key = f"{found.prefix.rpartition('/')[0]}/inputs.pb"
    return dict(literals_pb2.LiteralMap.FromString(session.cluster.store.get_bytes(key)).literals)
