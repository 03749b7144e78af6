"""Keeps out interactions and texts that nobody should learn from, by the rules of `screens`, the lengths of the recipe
and, where it names one, a classifier.

An abusive correction is quarantined as a whole. One of the wrong form still says that the answer was wrong: only its
text goes. The same holds for edits, and for the other answer of a duel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from flytewheel.curation.events import Reviewed
from flytewheel.curation.ledger import Tally
from flytewheel.dataset import Step
from flytewheel.recipe import CurationSpec
from flytewheel.records import TEXT_NOT_KEPT, FeedbackEvent, FeedbackType, explain_missing_text
from flytewheel.screens import screen_abuse, screen_answers

Classify = Callable[[Sequence[str]], list[float]]

_WRITTEN = {  # events that bring a text to learn from, and where it stands
    FeedbackType.CORRECTION: "corrected_response",
    FeedbackType.EDIT: "corrected_response",
    FeedbackType.DUEL: "other_response",
}


class JudgeLengths(Protocol):
    """Counts tokens; `judge_lengths` says of each text whether it is too short (-1), too long (1) or fits (0)."""

    def __call__(self, text: str, /) -> int: ...
    def judge_lengths(self, texts: Sequence[str], low: int, high: int, /) -> list[int]: ...


def identify_text(text: str) -> str:
    """An answer as it is compared: white space does not count, everything else (style included) does."""
    return " ".join(text.split())


def screen(
    reviewed: Sequence[Reviewed], spec: CurationSpec, tokens: JudgeLengths, classify: Classify | None = None
) -> tuple[list[Reviewed], list[Step]]:
    """Drops interactions that nobody should learn from; takes away corrections, edits and other answers of duels that
    are no answers to learn from.

    All texts go through the screens together: each of their expressions costs a start (20 ms), however many texts it is
    asked about.

    Args:
        reviewed: interactions with what was said of them.
        spec: which rules are on.
        tokens: judges lengths.
        classify: the recipe's classifier; it sees what the rules left.

    Returns:
        What is left, and the steps "screen corrections" and "screen answers".
    """
    corrections, answers = _list_written(reviewed), Tally("screen answers", len(reviewed))
    written = [text for _, _, text in corrections]
    whole = _find_whole(reviewed, answers)
    said = [reviewed[row].interaction.response for row in whole]
    ends = [*_finish_reasons([reviewed[row] for row in whole]), *([None] * len(written))]
    form = _judge_form([*said, *written], spec, tokens, ends)
    fit = []
    for row, text, reason in zip(whole, said, form[: len(said)], strict=True):
        if reason:
            answers.drop(f"answer {reason}", text)
        else:
            fit.append(row)
    abuse = screen_abuse([*(text for row in fit for text in _list_shown(reviewed[row])), *written], spec)
    kept, step = _edit_events(reviewed, corrections, abuse[3 * len(fit) :], form[len(said) :])
    left = []
    faults = iter(abuse)
    for row, question, answer, context in zip(fit, faults, faults, faults, strict=False):
        one = reviewed[row].interaction
        if question:
            answers.drop(f"{question} in question", one.query)
        elif fault := answer or context:
            answers.drop(f"{fault} in answer or context", one.response)
        else:
            left.append(kept[row])
    if classify is not None:
        left = _ask_classifier(left, spec, classify, answers)
    return left, [step, answers.close()]


def _find_whole(reviewed: Sequence[Reviewed], tally: Tally) -> list[int]:
    """The rows with a question and a finished answer."""
    whole = []
    for row, item in enumerate(reviewed):
        if missing := explain_missing_text(item.interaction):
            tally.drop(missing)
        elif not item.interaction.completed:
            tally.drop("incomplete", item.interaction.response)
        elif not item.interaction.query.strip():
            tally.drop("empty question")
        else:
            whole.append(row)
    return whole


def _list_shown(item: Reviewed) -> tuple[str, str, str]:
    """What the user asked, with what came before, what was answered, and what it rests on."""
    one = item.interaction
    question = "\n".join((*(turn.content for turn in one.history), one.query)) if one.history else one.query
    return question, one.response, one.context or ""


def _ask_classifier(rows: list[Reviewed], spec: CurationSpec, classify: Classify, tally: Tally) -> list[Reviewed]:
    scores = classify([f"{item.interaction.query}\n\n{item.interaction.response}" for item in rows])
    limit = spec.classifier.threshold if spec.classifier else 1.0
    passed = []
    for item, score in zip(rows, scores, strict=True):
        if score >= limit:
            tally.drop("classifier", item.interaction.response)
        else:
            passed.append(item)
    return passed


def _list_written(reviewed: Sequence[Reviewed]) -> list[tuple[int, int, str]]:
    """The texts that users wrote to be learnt from: of which row, of which event, and the text."""
    return [
        (row, place, getattr(event, _WRITTEN[event.feedback_type]) or "")
        for row, item in enumerate(reviewed)
        for place, event in enumerate(item.events)
        if event.feedback_type in _WRITTEN
    ]


def _edit_events(
    reviewed: Sequence[Reviewed],
    corrections: Sequence[tuple[int, int, str]],
    abuse: Sequence[str | None],
    form: Sequence[str | None],
) -> tuple[list[Reviewed], Step]:
    """All rows, their events without what `abuse` and `form` say of the written texts."""
    tally = Tally("screen corrections", len(corrections))
    changed: dict[int, dict[int, FeedbackEvent | None]] = {}
    for (row, place, text), fault, reason in zip(corrections, abuse, form, strict=True):
        item = reviewed[row]
        event = item.events[place]
        name = _WRITTEN[event.feedback_type]
        what = "correction" if name == "corrected_response" else "other answer"
        if fault:
            tally.drop(f"{fault} in {what}", text)
            changed.setdefault(row, {})[place] = None
            continue
        if text == TEXT_NOT_KEPT:
            reason = "text not kept"
        elif reason is None and identify_text(text) == identify_text(item.interaction.response):
            reason = "changes nothing"
        if reason:
            tally.drop(f"{what} {reason}", text)
            changed.setdefault(row, {})[place] = event.model_copy(update={name: None})
    kept = list(reviewed)
    for row, edits in changed.items():
        own = [edits.get(place, event) for place, event in enumerate(reviewed[row].events)]
        kept[row] = replace(reviewed[row], events=tuple(event for event in own if event is not None))
    return kept, tally.close()


def _judge_form(
    texts: Sequence[str], spec: CurationSpec, tokens: JudgeLengths, finish_reasons: Sequence[str | None]
) -> list[str | None]:
    low, high = spec.min_answer_tokens, spec.max_answer_tokens
    reasons = screen_answers(texts, spec, finish_reasons=finish_reasons)
    lengths = tokens.judge_lengths(texts, low, high)
    sizes = {-1: f"shorter than {low} tokens", 0: None, 1: f"longer than {high} tokens"}
    return [
        reason if reason == "empty" else sizes[length] or reason
        for reason, length in zip(reasons, lengths, strict=True)
    ]


def _finish_reasons(reviewed: Sequence[Reviewed]) -> list[str | None]:
    found = (item.interaction.metadata.get("finish_reason") for item in reviewed)
    return [reason if isinstance(reason, str) else None for reason in found]
