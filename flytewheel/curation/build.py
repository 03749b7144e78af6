"""Curation from end to end: a closed window of feedback becomes a frozen data set.

deal → prepare each partition (read, join, redact, screen, score, fingerprint) → find near-duplicates → quarantine votes
→ name topics → split by user → rows, pairs → cap and balance → paraphrase → replay → plant canaries → decontaminate →
write. The split
comes before pairs are made, so that a pair never joins two parts, and before everything that is for training only.

The data set is named by the digest of window, recipe slice, seed and `CODE_VERSION`; its rows by their own. The same
inputs give the same bytes, whatever the order of their lines, and however many partitions they were dealt into: what
joins rows of several partitions sorts them first. The card accounts for every row.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from flytewheel.curation.account import Account, explain_nothing, settle
from flytewheel.curation.collection import pause_collection
from flytewheel.curation.deal import Dealt, deal_window, read_dealt
from flytewheel.curation.describe import describe_dataset
from flytewheel.curation.draft import Draft
from flytewheel.curation.duplicates import cluster, group_questions
from flytewheel.curation.features import PROMPTS
from flytewheel.curation.fingerprints import load_fingerprints
from flytewheel.curation.judged import Judged, Table
from flytewheel.curation.ledger import merge_steps
from flytewheel.curation.materialise import write_parts
from flytewheel.curation.mix import TrainingRows
from flytewheel.curation.overlap import check_parts
from flytewheel.curation.pairs import build_pairs
from flytewheel.curation.plant import plant_canaries
from flytewheel.curation.prepare import Progress, Rules, prepare_share, read_steps
from flytewheel.curation.regression import derive_cases, place_suite, read_cases
from flytewheel.curation.rows import build_sft, build_unpaired
from flytewheel.curation.sessions import build_sessions, find_homes, list_batches
from flytewheel.curation.split import split_rows
from flytewheel.curation.suspects import quarantine_votes
from flytewheel.curation.topics import find_topics
from flytewheel.curation.votes import gather_answers
from flytewheel.dataset import (
    KINDS,
    QUARANTINED,
    Dataset,
    DatasetCard,
    clear_folder,
    part_file,
    write_batches,
    write_card,
    write_rows,
)
from flytewheel.errors import DatasetError
from flytewheel.recipe import CurationSpec, RlhfSpec
from flytewheel.records import HOLDOUT, PARTS, RegressionCase, digest
from flytewheel.suite.snapshot import Snapshot

CODE_VERSION = "curation-3"  # raised where the same window would give other rows

DEALT_PARTS = (*PARTS, HOLDOUT)
_STAGES = 7
_KINDS = ("sft", "preference", "unpaired")

Parts = dict[str, list[Draft]]


def build_dataset(
    window_dir: Path,
    out_dir: Path,
    *,
    rules: Rules,
    rlhf: RlhfSpec,
    seed: int,
    replay: Path | None = None,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> DatasetCard:
    """Curates the window in `window_dir` into the data set `out_dir`, on this machine.

    Args:
        window_dir: folder with `interactions.jsonl`, `feedback.jsonl` and `window.json` (`feedback.window`), and the
            suite so far, if there is one (`suite.snapshot`).
        out_dir: where the data set is written, the card last; an earlier one there is replaced.
        rules: the recipe's.
        rlhf: `min_chosen_quality` of preference pairs is read.
        seed: decides paraphrases and the replay draw; parts go by the recipe's salt.
        replay: an earlier data set to mix in.
        cache: folder that keeps what the recipe's paraphraser said.
        workers: processes that read the window and prepare partitions, and threads that write.
        progress: called with (what, done, total).

    Raises:
        DatasetError: the window or the regression file cannot be read, or no training row is left. Nothing is
            written then.
    """
    with tempfile.TemporaryDirectory(prefix="flytewheel-curate-") as scratch:
        dealt, prepared = Path(scratch) / "dealt", Path(scratch) / "prepared"
        for share in deal_window(window_dir, dealt, workers=workers):
            prepare_share(share, prepared / share.name, rules, workers=workers, progress=progress)
            shutil.rmtree(share)
        return join_prepared(
            sorted(prepared.iterdir()),
            out_dir,
            rules=rules,
            rlhf=rlhf,
            seed=seed,
            replay=replay,
            cache=cache,
            workers=workers,
            progress=progress,
        )


def join_prepared(
    prepared: Sequence[Path],
    out_dir: Path,
    *,
    rules: Rules,
    rlhf: RlhfSpec,
    seed: int,
    replay: Path | None = None,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> DatasetCard:
    """Makes the data set out of prepared partitions (`prepare.prepare_share`); see `build_dataset`."""
    with pause_collection():
        return _join(prepared, out_dir, rules, rlhf, seed, replay, cache, workers, progress)


def _join(
    prepared: Sequence[Path],
    out_dir: Path,
    rules: Rules,
    rlhf: RlhfSpec,
    seed: int,
    replay: Path | None,
    cache: Path | None,
    workers: int,
    progress: Progress | None,
) -> DatasetCard:
    spec, base = rules.curation, rules.base
    tell = _Stages(progress)
    dealt = read_dealt(prepared[0])
    buckets = sorted((bucket for share in prepared for bucket in share.iterdir() if bucket.is_dir()), key=_by_name)
    written = read_cases(Path(spec.regression_cases)) if spec.regression_cases else []
    suite = place_suite(prepared[0], spec, written, base.system_prompt)
    earlier = Dataset(replay) if replay is not None and spec.replay_share > 0 else None
    recipe = slice_recipe(rules, rlhf)
    name = _name_dataset(dealt, recipe, written, suite.snapshot, earlier, seed)
    steps = merge_steps(read_steps(buckets))
    accounts: list[Account] = []

    tell("find near-duplicates")
    table = Table(buckets)
    with ThreadPoolExecutor(1) as aside:
        topics = aside.submit(_find_topics, table, spec)
        prints = load_fingerprints([bucket / PROMPTS for bucket in buckets])
        prompts = table.place_prompts(prints.index)
        clusters = cluster(prints, spec.near_duplicate_similarity)
        questions, _ = group_questions(clusters, prints, spec.near_pair_similarity)
        table.set_topics(topics.result())

    tell("quarantine votes")
    quarantine, settled = quarantine_votes(
        table,
        prompts,
        clusters,
        feedback=rules.feedback,
        curation=spec,
        score_rewards=rules.score_rewards,
        released=dealt.window.get("released", ()),
    )
    accounts += settled
    judged = table.list_judged(prompts, clusters, questions)

    tell("split")
    parts, account = _split(judged, rules)
    accounts.append(account)

    tell("build rows")
    rows: dict[str, Parts] = {kind: {} for kind in _KINDS}
    for part, own in parts.items():
        answers = gather_answers(own)
        rows["sft"][part], account = build_sft(part, own, answers, min_quality=spec.min_quality_score)
        accounts.append(account)
        rows["preference"][part], account = build_pairs(
            part,
            own,
            answers,
            measure_prompts=lambda one, other: float(prints.measure(np.array([one]), np.array([other]))[0]),
            min_margin=spec.min_reward_margin,
            min_chosen_quality=rlhf.min_chosen_quality,
            max_per_question=spec.max_rows_per_cluster,
        )
        accounts.append(account)
        rows["unpaired"][part], account = build_unpaired(part, own, answers)
        accounts.append(account)

    tell("balance and mix")
    training = TrainingRows(table, prints, rules, seed=seed, earlier=earlier, cache=cache)
    for kind in _KINDS:
        rows[kind] = {part: training.cap(kind, part, own) for part, own in rows[kind].items()}
        rows[kind]["train"] = training.shape(kind, rows[kind]["train"])
    accounts += training.take_accounts()

    tell("decontaminate")
    regression: dict[str, list[RegressionCase]] = {}
    for part in reversed(DEALT_PARTS):  # held-out ones first: a prompt has one case
        regression[part], account = derive_cases(
            part,
            parts[part],
            written if part == "test" else [],
            table=table,
            keys=prints.names,
            limit=spec.max_regression_cases,
            max_per_user=spec.max_rows_per_user,
            suite=suite,
        )
        accounts.append(account)
    homes = find_homes(table, parts, prompts, clusters, spec)
    held_out = [prompt for prompt, name in enumerate(clusters.tolist()) if homes.get(name, "train") != "train"]
    guarded = [case.prompt for part, cases in regression.items() if part != "train" for case in cases]
    near_suite = training.guard(held_out, guarded)
    if spec.canaries:
        planted, account = plant_canaries(
            rows["sft"]["train"], digest([dealt.digest, seed]), spec.canaries, base.system_prompt
        )
        rows["sft"]["train"] = planted
        accounts.append(account)
    for kind in _KINDS:
        rows[kind]["train"] = training.decontaminate(kind, rows[kind]["train"])
    accounts += training.take_accounts()
    sessions, account = build_sessions(table, parts, homes, prompts, clusters, near_suite, spec, held=quarantine.events)
    accounts.append(account)
    fresh = {  # of the others, the users may have been dealt otherwise then
        part: [case for case in cases if case.id not in suite.known]
        for part, cases in regression.items()
        if part != "train"
    }
    check_parts(rows, parts, fresh, {part: own["user"].to_pylist() for part, own in sessions.items()})
    steps += settle(accounts, table)
    if not rows["sft"]["train"]:
        raise DatasetError(explain_nothing(dealt.interactions, steps))

    tell("write")
    clear_folder(out_dir)
    sizes: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    sizes |= write_parts(out_dir, rows, table, held=quarantine.events, workers=workers)
    for part, chosen in sessions.items():
        sizes["trajectory"][part] = write_batches(
            part_file(out_dir, "trajectory", part), "trajectory", list_batches(chosen)
        )
    for part, cases in regression.items():
        sizes["regression"][part] = write_rows(part_file(out_dir, "regression", part), "regression", cases)
    write_rows(part_file(out_dir, QUARANTINED), QUARANTINED, quarantine.rows)
    card = describe_dataset(
        out_dir,
        dealt,
        table,
        steps,
        sizes,
        digest=name,
        code_version=CODE_VERSION,
        recipe=recipe,
        held=quarantine.events,
    )
    write_card(out_dir, card)
    tell("done")
    return card


class _Stages:
    """The progress that is shown."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._begun = 0

    def __call__(self, what: str) -> None:
        if self._progress is not None:
            self._progress(f"curate: {what}", self._begun, _STAGES)
        self._begun += 1


def _by_name(bucket: Path) -> str:
    return bucket.name


def slice_recipe(rules: Rules, rlhf: RlhfSpec) -> dict[str, Any]:
    """The part of the recipe that a data set depends on, as JSON.

    Without what changes no row: where the regression cases lie, how many partitions there are, the window's number.
    """
    curation = rules.curation.model_copy(update={"regression_cases": None, "partitions": 1, "window": "new"})
    said = curation.model_dump(mode="json")
    if not curation.canaries:  # a data set without any has the name that it had before there were canaries
        del said["canaries"]
    return {
        "feedback": rules.feedback.model_dump(mode="json"),
        "curation": said,
        "rlhf": {"min_chosen_quality": rlhf.min_chosen_quality},
        "base": rules.base.model_dump(mode="json"),
    }


def _name_dataset(
    dealt: Dealt,
    recipe: dict[str, Any],
    cases: Sequence[RegressionCase],
    suite: Snapshot,
    earlier: Dataset | None,
    seed: int,
) -> str:
    return digest(
        {
            "window": {key: dealt.window.get(key) for key in ("sources", "low_xid", "high_xid", "released")},
            "lines": dealt.digest,
            "recipe": recipe,
            "regression_cases": list(cases),
            "suite": {"cases": suite.cases, "retired": sorted(suite.retired)},
            "replay": earlier.card.content_digest if earlier else None,
            "seed": seed,
            "code": CODE_VERSION,
        }
    )


def _find_topics(table: Table, spec: CurationSpec) -> list[str | None]:
    topics = table.light["topic"]
    if not spec.cluster_topics or not topics.null_count():
        return topics.to_list()
    words = table.fetch(np.arange(len(table)), ("words",))["words"].to_list()
    return list(find_topics(words, topics.to_list(), max_topics=spec.max_topics, seed=0))


def _split(judged: Sequence[Judged], rules: Rules) -> tuple[dict[str, list[Judged]], Account]:
    account = Account("split by user", len(judged))
    parts, left_out = split_rows(
        judged, user_of=lambda one: one.user, cluster_of=lambda one: one.cluster, spec=rules.curation
    )
    for one, reason in left_out:
        account.drop(reason, one.place)
    return parts, account.close()
