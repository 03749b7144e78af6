"""Rows for supervised tuning and for unpaired alignment.

An answer is worth imitating when its quality reaches the recipe's bar, its mean reward is above zero, and nobody who
said something said, on the whole, no; an answer that nobody reacted to shows nothing. A correction is the completion
that its writer wanted, an edit the one that its reader used. Every answer that people spoke about is also an unpaired
row, liked or not: the bad ones are kept and labelled.
"""

from __future__ import annotations

from collections.abc import Sequence

from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Judged
from flytewheel.curation.score import CORRECTION_REWARD
from flytewheel.curation.votes import Answer


def build_sft(
    part: str, rows: Sequence[Judged], answers: Sequence[Answer], *, min_quality: float
) -> tuple[list[Draft], Account]:
    """Makes the rows to imitate: good answers, corrections and edits, each text once for a question."""
    account = Account(f"sft rows ({part})", len(rows))
    drafts: list[Draft] = []
    seen: set[tuple[int, int]] = set()
    for one in rows:  # corrections first: a text that somebody wrote out by hand needs no vote
        if one.correction is not None and (name := (one.question, one.correction)) not in seen:
            seen.add(name)
            drafts.append(_draft_correction(one))
    for answer in answers:
        best, explicit, count = answer.best, answer.explicit, len(answer.judged)
        if any(one.correction is not None for one in answer.judged):
            account.drop("corrected", best.place, "response", count=count)
        elif (explicit is not None and explicit < 0) or answer.total <= 0:
            account.drop("not liked", best.place, "response", count=count)
        elif best.quality < min_quality:
            account.drop(f"quality below {min_quality:g}", best.place, "response", count=count)
        elif (answer.question, best.answer) in seen:
            account.drop("same question and answer", best.place, "response", count=count)
        else:
            drafts.append(_draft_answer(answer))
            if count > 1:
                account.drop("same question and answer", best.place, "response", count=count - 1)
    return drafts, account.close(len(drafts))


def build_unpaired(part: str, rows: Sequence[Judged], answers: Sequence[Answer]) -> tuple[list[Draft], Account]:
    """Makes the labelled rows, by the sign of what people said; each text once for a question."""
    account = Account(f"unpaired rows ({part})", len(answers))
    drafts: list[Draft] = []
    for answer in answers:
        explicit, best = answer.explicit, answer.best
        if explicit is None:
            account.drop("nothing said", best.place, "response")
        elif explicit == 0:
            account.drop("neither liked nor disliked", best.place, "response")
        else:
            judged = tuple(one.place for one in answer.judged)
            drafts.append(_label(best, f"{best.id}/answer", "response", judged, explicit))
    seen = {(answer.question, answer.best.answer) for answer in answers}
    for one in rows:
        if one.correction is not None and (name := (one.question, one.correction)) not in seen:
            seen.add(name)
            drafts.append(_label(one, f"{one.id}/{one.correction_source}", "correction", (one.place,), 1.0))
    return drafts, account.close(len(drafts))


def _draft_answer(answer: Answer) -> Draft:
    best = answer.best
    return Draft(
        f"{best.id}/answer",
        best.user,
        best.topic,
        best.prompt,
        best.cluster,
        (best.user,),
        best.quality,
        best.place,
        ((best.place, "response"),),
        tuple(one.place for one in answer.judged),
        "answer",
        reward=round(best.total, 6),
        quality=best.quality,
        surprise=best.surprise,
    )


def _draft_correction(one: Judged) -> Draft:
    quality = one.correction_quality or 0.0
    return Draft(
        f"{one.id}/{one.correction_source}",
        one.user,
        one.topic,
        one.prompt,
        one.cluster,
        (one.user,),
        quality,
        one.place,
        ((one.place, "correction"),),
        (one.place,),
        one.correction_source or "correction",
        reward=CORRECTION_REWARD,
        quality=quality,
    )


def _label(one: Judged, name: str, column: str, judged: tuple[int, ...], explicit: float) -> Draft:
    return Draft(
        name,
        one.user,
        one.topic,
        one.prompt,
        one.cluster,
        (one.user,),
        abs(explicit),
        one.place,
        ((one.place, column),),
        judged,
        label=explicit > 0,
    )
