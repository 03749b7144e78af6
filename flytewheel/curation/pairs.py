"""Preference pairs: two answers to the same question of which people clearly liked one more, an answer beside what its
reader wrote or made of it, or the two answers of a blind duel.

"The same question" is the same prompt after normalisation, or one near to it with the same numbers (`duplicates`). The
chosen answer must be good in itself (quality, or said to be liked), not merely less bad. Rewards are means over all
who judged the same text, so the same two texts never stand in both orders; in a question with many answers pairs are
made in rounds, so that every answer is used once before any is used twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Judged
from flytewheel.curation.score import CORRECTION_REWARD
from flytewheel.curation.votes import Answer

DUEL_MARGIN = 1.0  # won and lost are half a thumb each way

MeasurePrompts = Callable[[int, int], float]


def build_pairs(
    part: str,
    rows: Sequence[Judged],
    answers: Sequence[Answer],
    *,
    measure_prompts: MeasurePrompts,
    min_margin: float,
    min_chosen_quality: float,
    max_per_question: int,
) -> tuple[list[Draft], Account]:
    """Makes the pairs of one part; `measure_prompts` gives the similarity of two distinct prompts, in [0, 1]."""
    account = Account(f"preference pairs ({part})", len(rows))
    drafts: list[Draft] = []
    seen: set[tuple[int, int, int]] = set()
    for one in rows:
        for name, draft in _list_written(one):
            if name in seen or (name[0], name[2], name[1]) in seen:
                account.drop("same pair", one.place)
            elif draft.margin < min_margin:
                account.drop("margin too small", one.place)
            else:
                seen.add(name)
                drafts.append(draft)
    by_question: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_question[answer.question].append(answer)
    for question, given in by_question.items():
        if len(given) < 2:
            account.drop("only one answer to the question", given[0].best.place)
            continue
        made = 0
        for chosen, rejected in _pair(given, min_margin, min_chosen_quality):
            if made == max_per_question:
                account.drop("enough pairs of the question", chosen.best.place)
                break
            name = (question, chosen.best.answer, rejected.best.answer)
            if (name[0], name[2], name[1]) not in seen and name not in seen:
                seen.add(name)
                made += 1
                drafts.append(_draft_answers(chosen, rejected, measure_prompts))
        if not made:
            account.drop("no clear preference", given[0].best.place)
    return drafts, account.close(len(drafts))


def _list_written(one: Judged) -> Iterator[tuple[tuple[int, int, int], Draft]]:
    """The pairs that one interaction brings by itself."""
    if one.correction is not None:
        source: Literal["edit", "correction"] = "edit" if one.correction_source == "edit" else "correction"
        yield (
            (one.question, one.correction, one.answer),
            _draft_own(one, source, ("correction", "response"), CORRECTION_REWARD - one.total),
        )
    if one.other is not None:
        won, lost = (one.other, one.answer) if one.other_preferred else (one.answer, one.other)
        columns = ("other", "response") if one.other_preferred else ("response", "other")
        yield (one.question, won, lost), _draft_own(one, "duel", columns, DUEL_MARGIN)


def _pair(given: Sequence[Answer], min_margin: float, min_quality: float) -> Iterator[tuple[Answer, Answer]]:
    ranked = sorted(given, key=lambda answer: (-answer.total, -answer.best.quality, answer.best.id))
    good = [answer for answer in ranked if answer.best.quality >= min_quality or (answer.explicit or 0) > 0]
    bad = [answer for answer in reversed(ranked) if good and good[0].total - answer.total >= min_margin]
    for turn in range(len(bad)):
        for place, chosen in enumerate(good):
            rejected = bad[(place + turn) % len(bad)]
            if chosen.total - rejected.total >= min_margin:
                yield chosen, rejected


def _draft_own(one: Judged, source: str, columns: tuple[str, str], margin: float) -> Draft:
    margin = round(min(2.0, margin), 6)
    return Draft(
        f"{one.id}/{source}",
        one.user,
        one.topic,
        one.prompt,
        one.cluster,
        (one.user,),
        margin,
        one.place,
        ((one.place, columns[0]), (one.place, columns[1])),
        (one.place,),
        source,
        margin=margin,
    )


def _draft_answers(chosen: Answer, rejected: Answer, measure_prompts: MeasurePrompts) -> Draft:
    one, other = chosen.best, rejected.best
    margin = round(min(2.0, chosen.total - rejected.total), 6)
    same = one.prompt == other.prompt
    return Draft(
        f"{one.id}/{other.id}",
        one.user,
        one.topic,
        one.prompt,
        one.cluster,
        (one.user,) if one.user == other.user else (one.user, other.user),
        margin,
        one.place,
        ((one.place, "response"), (other.place, "response")),
        tuple(judgement.place for answer in (chosen, rejected) for judgement in answer.judged),
        "same_prompt" if same else "near_prompt",
        margin=margin,
        similarity=1.0 if same else round(measure_prompts(one.prompt, other.prompt), 6),
    )
