"""One turn of the loop: people's reactions become next week's model.

    pyflyte run workflows/weekly.py weekly --recipe recipes/demo.yaml

Flyte runs it; everything that decides something is plain Python in `flytewheel`. The two conditionals stand one after
the other because a conditional inside a branch runs all its subworkflows in Flyte's local execution (flytekit
1.16.31).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from flytekit import conditional, dynamic, map_task, workflow
from flytekit.types.directory import FlyteDirectory

from flytewheel.recipe import Recipe
from images import trainer
from tasks import DECK, SMALL
from tasks.curate import curate, deal_window, prepare_share
from tasks.elastic import spread
from tasks.export import export_gguf
from tasks.folders import HashedDirectory
from tasks.judge import Judged, evaluate, gate, read_mutes
from tasks.launch_canary import launch_canary, start_rollout
from tasks.open_turn import open_turn
from tasks.register import register
from tasks.report import keep_champion, record_failure, report, wait_for_more
from tasks.train import align, train_reward, train_sft


class Trained(NamedTuple):
    """What was learnt, and the model that may judge it."""

    candidate: HashedDirectory
    reward_model: HashedDirectory


@dynamic(container_image=trainer, requests=SMALL, **DECK)
def train(recipe: Recipe, run_id: str, dataset: HashedDirectory, start: HashedDirectory) -> Trained:
    """SFT, a reward model where one is wanted, alignment; each in as many processes as the recipe says.

    Dynamic, because a task's machines and cards are part of its template, and a recipe is known only when it runs.

    Args:
        recipe: everything that decides this turn.
        run_id: the turn, as `open_turn` named it.
        dataset: the curated data set.
        start: the adapter to go on from; empty in a turn from the base.
    """
    tuned = train_sft(
        run_id=run_id,
        dataset=dataset,
        start=start,
        base=recipe.base,
        training=recipe.training,
        budget=recipe.budget,
        seed=recipe.seed,
    )
    reward_model = train_reward(
        run_id=run_id,
        dataset=dataset,
        base=recipe.base,
        training=recipe.training,
        reward=recipe.reward,
        rlhf=recipe.rlhf,
        seed=recipe.seed,
    )
    candidate = align(
        run_id=run_id,
        dataset=dataset,
        sft_adapter=tuned,
        reward_model=reward_model,
        start=start,
        base=recipe.base,
        training=recipe.training,
        rlhf=recipe.rlhf,
        budget=recipe.budget,
        seed=recipe.seed,
    )
    if recipe.training.processes > 1:
        for promised in (tuned, reward_model, candidate):
            promised.with_overrides(**spread(recipe.training))
    return Trained(candidate=candidate, reward_model=reward_model)


@workflow
def learn(
    recipe: Recipe, run_id: str, window: FlyteDirectory, champion: str, replay: str, start: FlyteDirectory
) -> Judged:
    """Feedback becomes a candidate with a verdict.

    Args:
        recipe: everything that decides this turn.
        run_id: the turn, as `open_turn` named it.
        window: rows of the closed curation window.
        champion: version in service; empty where it is the bare base.
        replay: digest of the data set that earlier rows are drawn from; empty for none.
        start: the adapter to go on from; empty in a turn from the base.
    """
    shares = deal_window(window=window, curation=recipe.curation)
    prepare = partial(prepare_share, feedback=recipe.feedback, curation=recipe.curation, base=recipe.base)
    dataset = curate(
        run_id=run_id,
        prepared=map_task(prepare)(share=shares),
        replay=replay,
        feedback=recipe.feedback,
        curation=recipe.curation,
        rlhf=recipe.rlhf,
        base=recipe.base,
        seed=recipe.seed,
    )
    trained = train(recipe=recipe, run_id=run_id, dataset=dataset, start=start)
    result = evaluate(
        run_id=run_id,
        name=recipe.name,
        champion=champion,
        dataset=dataset,
        candidate=trained.candidate,
        reward_model=trained.reward_model,
        base=recipe.base,
        spec=recipe.evaluation,
        seed=recipe.seed,
        mutes=read_mutes(name=recipe.name, candidate=trained.candidate),
    )
    return gate(run_id=run_id, spec=recipe.gate, dataset=dataset, candidate=trained.candidate, result=result)


@workflow
def release(recipe: Recipe, run_id: str, champion: str, dataset: FlyteDirectory, candidate: FlyteDirectory) -> str:
    """A candidate that passed becomes a version with a canary; returns the experiment's id.

    Args:
        recipe: everything that decides this turn.
        run_id: the turn, as `open_turn` named it.
        champion: version in service; empty where it is the bare base.
        dataset: the curated data set.
        candidate: the adapter that passed the gate.
    """
    exported = export_gguf(
        run_id=run_id,
        champion=champion,
        dataset=dataset,
        candidate=candidate,
        base=recipe.base,
        spec=recipe.export,
        seed=recipe.seed,
    )
    registered = register(run_id=run_id, champion=champion, exported=exported)
    experiment_id = launch_canary(
        run_id=run_id,
        version=registered.version,
        control=registered.control,
        ab_testing=recipe.ab_testing,
        automation=recipe.automation,
    )
    return start_rollout(recipe=recipe, experiment_id=experiment_id)


@workflow(on_failure=record_failure)
def weekly(recipe: Recipe) -> str:
    """curate → train_sft → train_reward → align → evaluate → gate → export_gguf → register → launch_canary.

    Args:
        recipe: everything that decides this turn: model, data, training, gate, release. See `recipes/`.
    """
    turn = open_turn(recipe=recipe)
    judged = (
        conditional("enough_feedback")
        .if_(turn.ready.is_true())
        .then(
            learn(
                recipe=turn.recipe,
                run_id=turn.run_id,
                window=turn.window,
                champion=turn.champion,
                replay=turn.replay,
                start=turn.start,
            )
        )
        .else_()
        .then(wait_for_more(message=turn.message, window=turn.window))
    )
    outcome = (
        conditional("gate")
        .if_(judged.decision == "promote_to_canary")
        .then(
            release(
                recipe=turn.recipe,
                run_id=turn.run_id,
                champion=turn.champion,
                dataset=judged.dataset,
                candidate=judged.candidate,
            )
        )
        .else_()
        .then(keep_champion(decision=judged.decision))
    )
    return report(recipe=turn.recipe, run_id=turn.run_id, message=turn.message, outcome=outcome)
