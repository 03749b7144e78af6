"""Rows for supervised tuning and for unpaired alignment.

An answer is worth imitating when its quality reaches the recipe's bar, its mean reward is above zero, and nobody who
said something said, on the whole, no; an answer that nobody reacted to shows nothing. A correction is the completion
that its writer wanted. Every answer that people spoke about is also an unpaired row, liked or not: the bad ones are
kept and labelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flytewheel.curation.draft import Draft
from flytewheel.curation.ledger import Tally
from flytewheel.curation.score import CORRECTION_REWARD, Scored, identify_text
from flytewheel.curation.votes import Answer
from flytewheel.dataset import Step
from flytewheel.records import SftRow, Unpaired


def build_sft(
    part: str,
    rows: Sequence[Scored],
    answers: Sequence[Answer],
    *,
    questions: Mapping[str, str],
    clusters: Mapping[str, str],
    min_quality: float,
) -> tuple[list[Draft[SftRow]], Step]:
    """Makes the rows to imitate: good answers and corrections, each text once for a question."""
    tally = Tally(f"sft rows ({part})", len(rows))
    drafts: list[Draft[SftRow]] = []
    seen: set[tuple[str, str]] = set()
    for one in rows:  # corrections first: a text that somebody wrote out by hand needs no vote
        if one.correction is None:
            continue
        name = (questions[one.text.key], identify_text(one.correction))
        if name not in seen:
            seen.add(name)
            drafts.append(_draft(one, one.correction, clusters, "correction"))
    for answer in answers:
        best, explicit = answer.best, answer.explicit
        if any(one.correction is not None for one in answer.judged):
            tally.drop("corrected", best.response, count=len(answer.judged))
        elif (explicit is not None and explicit < 0) or answer.total <= 0:
            tally.drop("not liked", best.response, count=len(answer.judged))
        elif best.quality < min_quality:
            tally.drop(f"quality below {min_quality:g}", best.response, count=len(answer.judged))
        elif (answer.question, identify_text(best.response)) in seen:
            tally.drop("same question and answer", best.response, count=len(answer.judged))
        else:
            drafts.append(_draft(best, best.response, clusters, "answer"))
            if len(answer.judged) > 1:
                tally.drop("same question and answer", best.response, count=len(answer.judged) - 1)
    return drafts, tally.close(len(drafts))


def build_unpaired(
    part: str,
    rows: Sequence[Scored],
    answers: Sequence[Answer],
    *,
    questions: Mapping[str, str],
    clusters: Mapping[str, str],
) -> tuple[list[Draft[Unpaired]], Step]:
    """Makes the labelled rows, by the sign of what people said; each text once for a question."""
    tally = Tally(f"unpaired rows ({part})", len(answers))
    drafts: list[Draft[Unpaired]] = []
    for answer in answers:
        explicit = answer.explicit
        if explicit is None:
            tally.drop("nothing said", answer.best.response)
        elif explicit == 0:
            tally.drop("neither liked nor disliked", answer.best.response)
        else:
            drafts.append(_label(answer.best, answer.best.response, clusters, "answer", explicit))
    seen = {(answer.question, identify_text(answer.best.response)) for answer in answers}
    for one in rows:
        name = (questions[one.text.key], identify_text(one.correction or ""))
        if one.correction is not None and name not in seen:
            seen.add(name)
            drafts.append(_label(one, one.correction, clusters, "correction", CORRECTION_REWARD))
    return drafts, tally.close(len(drafts))


def _draft(one: Scored, text: str, clusters: Mapping[str, str], source: str) -> Draft[SftRow]:
    corrected = source == "correction"
    row = SftRow(
        id=f"{one.id}/{source}",
        user=one.user,
        topic=one.topic,
        prompt=one.prompt,
        completion=text,
        reward=CORRECTION_REWARD if corrected else round(one.total, 6),
        quality=one.correction_quality if corrected else one.quality,
        source="correction" if corrected else "answer",
    )
    return Draft(row, one.text, clusters[one.text.key], (one.user,), row.quality)


def _label(one: Scored, text: str, clusters: Mapping[str, str], source: str, explicit: float) -> Draft[Unpaired]:
    row = Unpaired(f"{one.id}/{source}", one.user, one.topic, one.prompt, text, explicit > 0)
    return Draft(row, one.text, clusters[one.text.key], (one.user,), abs(explicit))
