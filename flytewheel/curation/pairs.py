"""Preference pairs: two answers to the same question of which people clearly liked one more, or a correction beside
the answer that it corrects.

"The same question" is the same prompt after normalisation, or one near to it with the same numbers (`duplicates`). The
chosen answer must be good in itself (quality, or said to be liked), not merely less bad. Rewards are means over all
who judged the same text, so the same two texts never stand in both orders; in a question with many answers pairs are
made in rounds, so that every answer is used once before any is used twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from flytewheel.curation.draft import Draft
from flytewheel.curation.ledger import Tally
from flytewheel.curation.score import CORRECTION_REWARD, Scored, identify_text
from flytewheel.curation.votes import Answer
from flytewheel.dataset import Step
from flytewheel.records import Preference


def build_pairs(
    part: str,
    rows: Sequence[Scored],
    answers: Sequence[Answer],
    *,
    clusters: Mapping[str, str],
    questions: Mapping[str, str],
    min_margin: float,
    min_chosen_quality: float,
    max_per_question: int,
) -> tuple[list[Draft[Preference]], Step]:
    """Makes the pairs of one part."""
    tally = Tally(f"preference pairs ({part})", len(rows))
    drafts: list[Draft[Preference]] = []
    seen: set[tuple[str, str, str]] = set()
    for one in rows:
        if one.correction is None:
            continue
        name = (questions[one.text.key], identify_text(one.correction), identify_text(one.response))
        if name in seen:
            tally.drop("same pair", one.correction)
        elif CORRECTION_REWARD - one.total < min_margin:
            tally.drop("margin too small", one.correction)
        else:
            seen.add(name)
            drafts.append(_draft(one, one, clusters, CORRECTION_REWARD - one.total, "correction"))
    by_question: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_question[answer.question].append(answer)
    for question, given in by_question.items():
        if len(given) < 2:
            tally.drop("only one answer to the question", given[0].best.interaction.query)
            continue
        made = 0
        for chosen, rejected in _pair(given, min_margin, min_chosen_quality):
            if made == max_per_question:
                tally.drop("enough pairs of the question", chosen.best.interaction.query)
                break
            name = (question, identify_text(chosen.best.response), identify_text(rejected.best.response))
            if (name[0], name[2], name[1]) not in seen and name not in seen:
                seen.add(name)
                made += 1
                drafts.append(_draft(chosen.best, rejected.best, clusters, chosen.total - rejected.total, "answers"))
        if not made:
            tally.drop("no clear preference", given[0].best.interaction.query)
    return drafts, tally.close(len(drafts))


def _pair(given: Sequence[Answer], min_margin: float, min_quality: float) -> Iterator[tuple[Answer, Answer]]:
    ranked = sorted(given, key=lambda answer: (-answer.total, -answer.best.quality, answer.best.id))
    good = [answer for answer in ranked if answer.best.quality >= min_quality or (answer.explicit or 0) > 0]
    bad = [answer for answer in reversed(ranked) if good and good[0].total - answer.total >= min_margin]
    for turn in range(len(bad)):
        for place, chosen in enumerate(good):
            rejected = bad[(place + turn) % len(bad)]
            if chosen.total - rejected.total >= min_margin:
                yield chosen, rejected


def _draft(
    chosen: Scored, rejected: Scored, clusters: Mapping[str, str], margin: float, source: str
) -> Draft[Preference]:
    corrected = source == "correction"
    row = Preference(
        id=f"{chosen.id}/correction" if corrected else f"{chosen.id}/{rejected.id}",
        user=chosen.user,
        topic=chosen.topic,
        prompt=chosen.prompt,
        chosen=(chosen.correction or "") if corrected else chosen.response,
        rejected=rejected.response,
        margin=round(min(2.0, margin), 6),
        source="correction" if corrected else "answers",
    )
    users = (chosen.user,) if chosen.user == rejected.user else (chosen.user, rejected.user)
    return Draft(row, chosen.text, clusters[chosen.text.key], users, row.margin)
