"""Prepares one hash partition of a window: everything that is decided for an interaction by itself or in its session.

read → join → redact → screen → reward and quality → fingerprint of the prompt. The texts go to Parquet and stay there
until a row is selected; the global steps (`build`) see light columns only. Each bucket of a partition is prepared by
itself, in processes of their own when there are several.

A bucket leaves behind: `rows.arrow`, an interaction that somebody reacted to (or a turn of a longer session) a row;
`votes.arrow`, a reaction a row; `sessions.parquet`, a session of several turns a row; `prompts/`, the distinct
prompts' fingerprints; `steps.json`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from flytewheel.curation.collection import pause_collection
from flytewheel.curation.deal import DEALT, EVENTS, INTERACTIONS
from flytewheel.curation.events import join_events, keep_reacted, read_records, redact_all
from flytewheel.curation.features import write_features
from flytewheel.curation.processes import open_pool
from flytewheel.curation.score import ScoreRewards
from flytewheel.curation.screening import JudgeLengths, screen
from flytewheel.curation.sessions import write_sessions
from flytewheel.dataset import Step
from flytewheel.pii.names import open_names
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec
from flytewheel.records import FeedbackEvent, Interaction, to_jsonable
from flytewheel.screens.classifier import open_classifier
from flytewheel.suite.snapshot import SNAPSHOT

STEPS = "steps.json"
FORMAT = "prepared-3"  # raised where a bucket would hold other files, even if their rows were the same

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides how an interaction is prepared; it is sent to the processes that do so."""

    feedback: FeedbackSpec
    curation: CurationSpec
    base: BaseModelSpec
    count_tokens: JudgeLengths
    score_rewards: ScoreRewards


def prepare_share(share: Path, out: Path, rules: Rules, *, workers: int = 1, progress: Progress | None = None) -> None:
    """Prepares every bucket of the folder `share` (see `deal`) into a folder of the same name under `out`.

    Args:
        share: as `deal_window` wrote it.
        out: a new folder; `dealt.json` and the suite are copied into it.
        rules: the recipe's.
        workers: processes; one prepares in this process.
        progress: called with (what, buckets done, buckets).

    Raises:
        DatasetError: a bucket cannot be read.
        EndpointError: the recipe's classifier or name finder stays away. Nothing is published then.
    """
    buckets = sorted(path for path in share.iterdir() if path.is_dir())
    out.mkdir(parents=True, exist_ok=True)
    for name in (DEALT, SNAPSHOT):
        if (share / name).is_file():
            shutil.copyfile(share / name, out / name)
    jobs = [(bucket, out / bucket.name, rules) for bucket in buckets]
    tell = progress or (lambda what, done, total: None)
    tell("curate: redact, screen, score", 0, len(jobs))
    if workers == 1 or len(jobs) <= 1:
        for done, job in enumerate(jobs, 1):
            prepare_bucket(*job)
            tell("curate: redact, screen, score", done, len(jobs))
        return
    with open_pool(min(workers, len(jobs))) as pool:
        pending = [pool.submit(prepare_bucket, *job) for job in jobs]
        for done, future in enumerate(as_completed(pending), 1):
            future.result()
            tell("curate: redact, screen, score", done, len(jobs))


def prepare_bucket(bucket: Path, out: Path, rules: Rules) -> None:
    """Prepares one bucket."""
    with pause_collection():
        _prepare(bucket, out, rules)


def _prepare(bucket: Path, out: Path, rules: Rules) -> None:
    spec = rules.curation
    interactions, read = read_records(bucket / INTERACTIONS, Interaction)
    events, heard = read_records(bucket / EVENTS, FeedbackEvent)
    reviewed, joined = join_events(interactions, events)
    reviewed, reacted = keep_reacted(reviewed)
    steps = [read, heard, joined, reacted]
    if spec.redact_pii:
        reviewed, step = redact_all(reviewed, open_names(spec.names) if spec.names else None)
        steps.append(step)
    classify = open_classifier(spec.classifier) if spec.classifier else None
    reviewed, screened = screen(reviewed, spec, rules.count_tokens, classify)
    steps += screened
    out.mkdir(parents=True)
    steps.append(
        write_features(
            out, reviewed, feedback=rules.feedback, curation=spec, base=rules.base, score_rewards=rules.score_rewards
        )
    )
    write_sessions(out)
    (out / STEPS).write_text(json.dumps([to_jsonable(step) for step in steps]), encoding="utf-8")


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_steps(buckets: Sequence[Path]) -> list[list[Step]]:
    """The steps of every bucket."""
    return [[Step(**step) for step in json.loads((bucket / STEPS).read_text(encoding="utf-8"))] for bucket in buckets]
