"""Curation from end to end: a closed window of feedback becomes a frozen data set.

read → join → redact → screen → score → near-duplicates → split by user → rows, pairs → cap and balance topics →
paraphrase → replay → decontaminate → write. The split comes before pairs are made, so that a pair never joins two
parts, and before everything that is for training only. The data set is named by the digest of window, recipe slice,
seed and `CODE_VERSION`; its rows by their own. The same inputs give the same bytes, whatever the order of their lines.
The card accounts for every row.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flytewheel.curation.augment import add_paraphrases
from flytewheel.curation.balance import balance_topics, cap_rows
from flytewheel.curation.draft import Draft, Row
from flytewheel.curation.duplicates import cluster_prompts, describe_prompt, find_near, group_questions
from flytewheel.curation.events import join_events, read_records, redact_all
from flytewheel.curation.ledger import Tally
from flytewheel.curation.pairs import build_pairs
from flytewheel.curation.regression import derive_cases, read_cases
from flytewheel.curation.replay import add_replayed
from flytewheel.curation.rows import build_sft, build_unpaired
from flytewheel.curation.score import Scored, ScoreRewards, score_answers, screen_answers, screen_corrections
from flytewheel.curation.split import check_disjoint, choose_part, split_rows
from flytewheel.curation.votes import gather_answers
from flytewheel.dataset import KINDS, Dataset, DatasetCard, Step, digest_content, write_card
from flytewheel.errors import DatasetError
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec, RlhfSpec
from flytewheel.records import (
    PARTS,
    FeedbackEvent,
    Interaction,
    Preference,
    RegressionCase,
    SftRow,
    Unpaired,
    digest,
    write_jsonl,
)

CODE_VERSION = "curation-1"  # raised where the same window would give other rows

Progress = Callable[[str, int, int | None], None]
_HELD_OUT = ("validation", "test")
_STAGES = 8


def build_dataset(
    window_dir: Path,
    out_dir: Path,
    *,
    feedback: FeedbackSpec,
    curation: CurationSpec,
    rlhf: RlhfSpec,
    base: BaseModelSpec,
    seed: int,
    count_tokens: Callable[[str], int],
    score_rewards: ScoreRewards,
    replay: Path | None = None,
    progress: Progress | None = None,
) -> DatasetCard:
    """Curates the window in `window_dir` into the data set `out_dir`.

    Args:
        window_dir: folder with `interactions.jsonl`, `feedback.jsonl` and `window.json`.
        out_dir: where the data set is written, the card last; row files of an earlier one there are replaced.
        feedback: which reactions count, and what each is worth.
        curation: the rules.
        rlhf: `min_chosen_quality` of preference pairs is read.
        base: its system prompt opens every prompt that brings none.
        seed: decides parts, paraphrases and the replay draw.
        count_tokens: length of a text in the base model's tokens.
        score_rewards: turns the events of one interaction into its reward.
        replay: an earlier data set to mix in.
        progress: called with (what, done, total).

    Raises:
        DatasetError: the window or the regression file cannot be read, or no training row is left. Nothing is
            written then.
    """
    ledger = _Ledger(progress)
    window = _read_window(window_dir)
    interactions, step = read_records(window_dir / "interactions.jsonl", Interaction)
    ledger.add(step)
    events, step = read_records(window_dir / "feedback.jsonl", FeedbackEvent)
    ledger.add(step)
    cases = read_cases(Path(curation.regression_cases)) if curation.regression_cases else []
    earlier = Dataset(replay) if replay is not None and curation.replay_share > 0 else None
    name = digest(
        {
            "window": window,
            "interactions": digest(interactions),
            "events": digest(events),
            "recipe": {
                "feedback": feedback,
                "curation": curation.model_copy(update={"regression_cases": None}),  # the cases count, not their place
                "min_chosen_quality": rlhf.min_chosen_quality,
                "base": base,
            },
            "regression_cases": cases,
            "replay": earlier.card.content_digest if earlier else None,
            "seed": seed,
            "code": CODE_VERSION,
        }
    )

    ledger.begin("join and redact")
    reviewed, step = join_events(interactions, events)
    ledger.add(step)
    if curation.redact_pii:
        reviewed, step = redact_all(reviewed)
        ledger.add(step)
    ledger.begin("screen")
    reviewed, step = screen_corrections(reviewed, curation, count_tokens)
    ledger.add(step)
    reviewed, step = screen_answers(reviewed, curation, count_tokens)
    ledger.add(step)
    ledger.begin("score")
    scored, step = score_answers(
        reviewed,
        feedback=feedback,
        curation=curation,
        base=base,
        count_tokens=count_tokens,
        score_rewards=score_rewards,
    )
    ledger.add(step)

    ledger.begin("find near-duplicates")
    similarity = curation.near_duplicate_similarity
    clusters = cluster_prompts((one.text for one in scored), similarity)
    questions = group_questions((one.text for one in scored), clusters, similarity)
    ledger.begin("split")
    parts, step = _split(scored, clusters, seed, curation)
    ledger.add(step)

    ledger.begin("build rows")
    sft: dict[str, list[Draft[SftRow]]] = {}
    preference: dict[str, list[Draft[Preference]]] = {}
    unpaired: dict[str, list[Draft[Unpaired]]] = {}
    for part, rows in parts.items():
        answers = gather_answers(rows, questions)
        sft[part], step = build_sft(
            part, rows, answers, questions=questions, clusters=clusters, min_quality=curation.min_quality_score
        )
        ledger.add(step)
        preference[part], step = build_pairs(
            part,
            rows,
            answers,
            clusters=clusters,
            questions=questions,
            min_margin=curation.min_reward_margin,
            min_chosen_quality=rlhf.min_chosen_quality,
            max_per_question=curation.max_rows_per_cluster,
        )
        ledger.add(step)
        unpaired[part], step = build_unpaired(part, rows, answers, questions=questions, clusters=clusters)
        ledger.add(step)

    ledger.begin("balance and mix")
    training = _Training(ledger, curation, base, seed)
    sft["train"] = training.cap("sft", sft["train"])
    preference["train"] = training.cap("preference", preference["train"])
    unpaired["train"] = training.cap("unpaired", unpaired["train"])
    sft["train"], step = add_paraphrases(
        sft["train"], factor=curation.augmentation_factor, seed=seed, system_prompt=base.system_prompt
    )
    ledger.add(step)
    if earlier is not None:
        sft["train"] = training.mix("sft", sft["train"], earlier.sft("train"))
        preference["train"] = training.mix("preference", preference["train"], earlier.preferences("train"))
        unpaired["train"] = training.mix("unpaired", unpaired["train"], earlier.unpaired("train"))

    ledger.begin("decontaminate")
    regression: dict[str, list[RegressionCase]] = {}
    for part in _HELD_OUT:
        written = cases if part == "test" else []
        regression[part], step = derive_cases(
            part, parts[part], written, limit=curation.max_regression_cases, system_prompt=base.system_prompt
        )
        ledger.add(step)
    held_out = [one.text for part in _HELD_OUT for one in parts[part]]
    suite = [describe_prompt(case.prompt, base.system_prompt) for case in regression["test"]]
    targets = [*held_out, *suite]
    sft["train"] = training.decontaminate("sft", sft["train"], targets)
    preference["train"] = training.decontaminate("preference", preference["train"], targets)
    unpaired["train"] = training.decontaminate("unpaired", unpaired["train"], targets)

    _check_parts(sft, preference, unpaired)
    if not sft["train"]:
        reasons = "; ".join(f"{count} {reason}" for reason, count in ledger.reasons().most_common(8)) or "none came in"
        raise DatasetError(
            f"0 training rows of {len(interactions)} interactions ({reasons}): "
            "collect more feedback, or lower curation.min_quality_score"
        )
    content: dict[str, dict[str, list[Any]]] = {
        "sft": _finish(sft),
        "preference": _finish(preference),
        "unpaired": _finish(unpaired),
        "regression": {part: list(regression[part]) for part in _HELD_OUT},
    }
    _write(out_dir, content)
    card = DatasetCard(
        digest=name,
        content_digest=digest_content(out_dir),
        sources=tuple(window.get("sources", ())),
        interactions=len(interactions),
        events=len(events),
        steps=tuple(ledger.steps),
        counts={kind: {part: len(rows) for part, rows in content[kind].items()} for kind in KINDS},
        users={part: len(_users(content, part)) for part in PARTS},
        topics=dict(sorted(Counter(row.topic for rows in content["sft"].values() for row in rows).items())),
        rewards=_count_rewards(scored),
    )
    write_card(out_dir, card)
    ledger.begin("done")
    return card


class _Ledger:
    """The steps so far, and the progress that is shown."""

    def __init__(self, progress: Progress | None) -> None:
        self.steps: list[Step] = []
        self._progress = progress
        self._begun = 0

    def begin(self, what: str) -> None:
        if self._progress is not None:
            self._progress(f"curate: {what}", self._begun, _STAGES)
        self._begun += 1

    def add(self, step: Step) -> None:
        self.steps.append(step)

    def reasons(self) -> Counter[str]:
        return Counter({reason: count for step in self.steps for reason, count in step.dropped.items()})


class _Training:
    """What happens to training rows only, the same for each kind of row."""

    def __init__(self, ledger: _Ledger, curation: CurationSpec, base: BaseModelSpec, seed: int) -> None:
        self._ledger = ledger
        self._curation = curation
        self._system_prompt = base.system_prompt
        self._seed = seed

    def cap(self, kind: str, drafts: Sequence[Draft[Row]]) -> list[Draft[Row]]:
        spec = self._curation
        kept, step = cap_rows(
            kind, drafts, max_per_user=spec.max_rows_per_user, max_per_cluster=spec.max_rows_per_cluster
        )
        self._ledger.add(step)
        if spec.balance_topics:
            kept, step = balance_topics(kind, kept, max_ratio=spec.max_topic_ratio)
            self._ledger.add(step)
        return kept

    def mix(self, kind: str, drafts: Sequence[Draft[Row]], earlier: Sequence[Row]) -> list[Draft[Row]]:
        mixed, step = add_replayed(
            kind,
            drafts,
            earlier,
            share=self._curation.replay_share,
            seed=self._seed,
            part_of=lambda user: choose_part(user, seed=self._seed, **_shares(self._curation)),
            system_prompt=self._system_prompt,
        )
        self._ledger.add(step)
        return mixed

    def decontaminate(self, kind: str, drafts: Sequence[Draft[Row]], targets: Sequence[Any]) -> list[Draft[Row]]:
        tally = Tally(f"decontaminate ({kind})", len(drafts))
        near = find_near((draft.text for draft in drafts), targets, self._curation.near_duplicate_similarity)
        kept = []
        for draft in drafts:
            if draft.text.key in near:
                tally.drop("near to a held-out prompt or regression case", draft.row.prompt[-1].content)
            else:
                kept.append(draft)
        self._ledger.add(tally.close())
        return kept


def _read_window(folder: Path) -> dict[str, Any]:
    try:
        window = json.loads((folder / "window.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder}: no readable window.json ({error}); write the window again") from None
    if not isinstance(window, dict):
        raise DatasetError(f"{folder}/window.json: expected an object; write the window again")
    return window


def _shares(curation: CurationSpec) -> dict[str, float]:
    return {"train_share": curation.train_share, "validation_share": curation.validation_share}


def _split(
    scored: Sequence[Scored], clusters: Mapping[str, str], seed: int, curation: CurationSpec
) -> tuple[dict[str, list[Scored]], Step]:
    tally = Tally("split by user", len(scored))
    parts, left_out = split_rows(
        scored,
        user_of=lambda one: one.user,
        cluster_of=lambda one: clusters[one.text.key],
        seed=seed,
        **_shares(curation),
    )
    for one, reason in left_out:
        tally.drop(reason, one.interaction.query)
    check_disjoint({part: {clusters[one.text.key] for one in rows} for part, rows in parts.items()}, "prompt")
    return parts, tally.close()


def _check_parts(*kinds: Mapping[str, Sequence[Draft[Any]]]) -> None:
    drafts = {part: [draft for kind in kinds for draft in kind[part]] for part in PARTS}
    check_disjoint({part: {user for draft in own for user in draft.users} for part, own in drafts.items()}, "user")
    check_disjoint({part: {draft.text.key for draft in own} for part, own in drafts.items()}, "prompt")


def _finish(drafts: Mapping[str, Sequence[Draft[Any]]]) -> dict[str, list[Any]]:
    return {part: sorted((draft.row for draft in drafts[part]), key=lambda row: row.id) for part in PARTS}


def _users(content: Mapping[str, Mapping[str, Sequence[Any]]], part: str) -> set[str]:
    return {row.user for kind in KINDS if kind != "regression" for row in content[kind].get(part, ())}


def _count_rewards(scored: Sequence[Scored]) -> dict[str, int]:
    signs = Counter("positive" if one.total > 0 else "negative" if one.total < 0 else "zero" for one in scored)
    return {sign: signs[sign] for sign in ("positive", "zero", "negative")}


def _write(out_dir: Path, content: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "card.json").unlink(missing_ok=True)
    for kind, parts in content.items():
        shutil.rmtree(out_dir / kind, ignore_errors=True)
        for part, rows in parts.items():
            write_jsonl(out_dir / kind / f"{part}.jsonl", rows)
