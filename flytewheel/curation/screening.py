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
from flytewheel.curation.screens import screen_abuse, screen_answers
from flytewheel.dataset import Step
from flytewheel.recipe import CurationSpec
from flytewheel.records import FeedbackEvent, FeedbackType

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


def screen_interactions(
    reviewed: Sequence[Reviewed], spec: CurationSpec, tokens: JudgeLengths, classify: Classify | None = None
) -> tuple[list[Reviewed], Step]:
    """Drops interactions that nobody should learn from."""
    tally = Tally("screen answers", len(reviewed))
    whole = []
    for item in reviewed:
        if not item.interaction.completed:
            tally.drop("incomplete", item.interaction.response)
        elif not item.interaction.query.strip():
            tally.drop("empty question")
        else:
            whole.append(item)
    reasons = _judge_form([item.interaction.response for item in whole], spec, tokens, _finish_reasons(whole))
    fit = []
    for item, reason in zip(whole, reasons, strict=True):
        if reason:
            tally.drop(f"answer {reason}", item.interaction.response)
        else:
            fit.append(item)
    # In one call: each expression costs a start, however many texts it is asked about.
    texts = [
        text
        for item in fit
        for text in (_join_question(item), item.interaction.response, item.interaction.context or "")
    ]
    abuse = iter(screen_abuse(texts, spec))
    kept = []
    for item, question, answer, context in zip(fit, abuse, abuse, abuse, strict=True):
        if question:
            tally.drop(f"{question} in question", item.interaction.query)
        elif fault := answer or context:
            tally.drop(f"{fault} in answer or context", item.interaction.response)
        else:
            kept.append(item)
    if classify is not None:
        scores = classify([f"{item.interaction.query}\n\n{item.interaction.response}" for item in kept])
        limit = spec.classifier.threshold if spec.classifier else 1.0
        passed = []
        for item, score in zip(kept, scores, strict=True):
            if score >= limit:
                tally.drop("classifier", item.interaction.response)
            else:
                passed.append(item)
        kept = passed
    return kept, tally.close()


def screen_written(
    reviewed: Sequence[Reviewed], spec: CurationSpec, tokens: JudgeLengths
) -> tuple[list[Reviewed], Step]:
    """Takes away corrections, edits and other answers of duels that are no answers to learn from."""
    places = [
        (row, place, getattr(event, _WRITTEN[event.feedback_type]) or "")
        for row, item in enumerate(reviewed)
        for place, event in enumerate(item.events)
        if event.feedback_type in _WRITTEN
    ]
    tally = Tally("screen corrections", len(places))
    texts = [text for _, _, text in places]
    abuse = screen_abuse(texts, spec)
    form = _judge_form(texts, spec, tokens, None)
    changed: dict[int, dict[int, FeedbackEvent | None]] = {}
    for (row, place, text), fault, reason in zip(places, abuse, form, strict=True):
        item = reviewed[row]
        event = item.events[place]
        name = _WRITTEN[event.feedback_type]
        what = "correction" if name == "corrected_response" else "other answer"
        if fault:
            tally.drop(f"{fault} in {what}", text)
            changed.setdefault(row, {})[place] = None
            continue
        if reason is None and identify_text(text) == identify_text(item.interaction.response):
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
    texts: Sequence[str], spec: CurationSpec, tokens: JudgeLengths, finish_reasons: Sequence[str | None] | None
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


def _join_question(item: Reviewed) -> str:
    turns = item.interaction.history
    return "\n".join((*(turn.content for turn in turns), item.interaction.query)) if turns else item.interaction.query
