"""Quality of an answer in [0, 1], from what people said and did, and from its form (the reference design's weights).

    quality = w_e × explicit + w_i × implicit + w_l × [length in range] + w_c × [context used], clipped to [0, 1]

A part that is missing counts 0. Context counts as used when at least `CONTEXT_SHARE` of the answer's distinct words of
four letters or more stand in it; an answer without context cannot earn that part. Also decides which of a person's
corrections is the one to learn from: the last whose text has the form of an answer and says something else than the
answer did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from flytewheel.curation.duplicates import PromptText, describe_prompt, normalise
from flytewheel.curation.events import Reviewed
from flytewheel.curation.ledger import Tally
from flytewheel.curation.screens import find_abuse, find_form_fault
from flytewheel.dataset import Step
from flytewheel.recipe import BaseModelSpec, CurationSpec, FeedbackSpec, QualityWeights
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction, Message, build_prompt

CONTEXT_SHARE = 0.3
CORRECTION_REWARD = 1.0  # who writes an answer out wants exactly that one
UNLABELLED = "unlabelled"

CountTokens = Callable[[str], int]


class RewardLike(Protocol):
    """Reward of an interaction: each part in [-1, 1], `None` where there was no event of that kind."""

    @property
    def explicit(self) -> float | None: ...
    @property
    def implicit(self) -> float | None: ...
    @property
    def total(self) -> float | None: ...


class ScoreRewards(Protocol):
    """What turns the events of one interaction into its reward."""

    def __call__(
        self, events: Sequence[FeedbackEvent], spec: FeedbackSpec, /, *, session_duration_s: float | None
    ) -> RewardLike: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer with what people thought of it.

    `explicit` is `None` where nobody said anything; `correction` is the text that its reader wanted instead.
    """

    interaction: Interaction
    prompt: tuple[Message, ...]
    text: PromptText
    explicit: float | None
    total: float
    quality: float
    correction: str | None
    correction_quality: float

    @property
    def id(self) -> str:
        return self.interaction.interaction_id

    @property
    def user(self) -> str:
        return self.interaction.user_id

    @property
    def topic(self) -> str:
        return self.interaction.topic or UNLABELLED

    @property
    def response(self) -> str:
        return self.interaction.response


def same_text(one: str, other: str) -> bool:
    """Whether two answers differ in nothing but white space."""
    return identify_text(one) == identify_text(other)


def identify_text(text: str) -> str:
    """An answer as it is compared: white space does not count, everything else (style included) does."""
    return " ".join(text.split())


def measure_quality(
    weights: QualityWeights, *, explicit: float | None, implicit: float | None, length_fits: bool, context_used: bool
) -> float:
    """The module's formula. Rewards in [-1, 1]; gives a number in [0, 1]."""
    value = (
        weights.explicit * (explicit or 0.0)
        + weights.implicit * (implicit or 0.0)
        + weights.length * length_fits
        + weights.context * context_used
    )
    return round(max(0.0, min(1.0, value)), 6)


def uses_context(answer: str, context: str | None) -> bool:
    """Whether the answer rests on its context; see the module's text."""
    if not context:
        return False
    words = {word for word in normalise(answer).split() if len(word) >= 4}
    return bool(words) and len(words & set(normalise(context).split())) >= CONTEXT_SHARE * len(words)


def screen_answers(
    reviewed: Iterable[Reviewed], spec: CurationSpec, count_tokens: CountTokens
) -> tuple[list[Reviewed], Step]:
    """Drops interactions that nobody should learn from; see `screens`."""
    rows = list(reviewed)
    tally = Tally("screen answers", len(rows))
    kept = []
    for item in rows:
        one = item.interaction
        asked = "\n".join((*(turn.content for turn in one.history), one.query))
        if not one.completed:
            tally.drop("incomplete", one.response)
        elif not one.query.strip():
            tally.drop("empty question")
        elif fault := find_form_fault(one.response, spec, count_tokens):
            tally.drop(f"answer {fault}", one.response)
        elif abuse := find_abuse(asked, spec):
            tally.drop(f"{abuse} in question", one.query)
        elif abuse := find_abuse(f"{one.response}\n{one.context or ''}", spec):
            tally.drop(f"{abuse} in answer or context", one.response)
        else:
            kept.append(item)
    return kept, tally.close()


def screen_corrections(
    reviewed: Iterable[Reviewed], spec: CurationSpec, count_tokens: CountTokens
) -> tuple[list[Reviewed], Step]:
    """Takes corrections away that are not answers.

    An abusive one is quarantined as a whole. One of the wrong form still says that the answer was wrong: only its text
    goes.
    """
    rows = list(reviewed)
    given = sum(event.feedback_type is FeedbackType.CORRECTION for item in rows for event in item.events)
    tally = Tally("screen corrections", given)
    kept = []
    for item in rows:
        events = []
        for event in item.events:
            if event.feedback_type is not FeedbackType.CORRECTION:
                events.append(event)
                continue
            text = event.corrected_response or ""
            if abuse := find_abuse(text, spec):
                tally.drop(f"{abuse} in correction", text)
                continue
            fault = find_form_fault(text, spec, count_tokens)
            if fault is None and same_text(text, item.interaction.response):
                fault = "changes nothing"
            if fault:
                tally.drop(f"correction {fault}", text)
            events.append(event.model_copy(update={"corrected_response": None}) if fault else event)
        kept.append(Reviewed(item.interaction, tuple(events), item.session_s))
    return kept, tally.close()


def score_answers(
    reviewed: Iterable[Reviewed],
    *,
    feedback: FeedbackSpec,
    curation: CurationSpec,
    base: BaseModelSpec,
    count_tokens: CountTokens,
    score_rewards: ScoreRewards,
) -> tuple[list[Scored], Step]:
    """Gives every answer that somebody reacted to its reward and quality."""
    rows = list(reviewed)
    tally = Tally("score", len(rows))
    scored = []
    for item in rows:
        one = item.interaction
        reward = score_rewards(item.events, feedback, session_duration_s=item.session_s)
        if reward.total is None:
            tally.drop("no reaction", one.query)
            continue
        prompt = build_prompt(one.query, system=base.system_prompt, context=one.context, history=one.history)
        correction = _last_correction(item.events) if feedback.enable_explicit else None
        low, high = curation.min_answer_tokens, curation.max_answer_tokens
        scored.append(
            Scored(
                one,
                prompt,
                describe_prompt(prompt, base.system_prompt),
                reward.explicit,
                reward.total,
                measure_quality(
                    curation.quality,
                    explicit=reward.explicit,
                    implicit=reward.implicit,
                    length_fits=low <= count_tokens(one.response) <= high,
                    context_used=uses_context(one.response, one.context),
                ),
                correction,
                0.0
                if correction is None
                else measure_quality(
                    curation.quality,
                    explicit=CORRECTION_REWARD,
                    implicit=None,
                    length_fits=True,
                    context_used=uses_context(correction, one.context),
                ),
            )
        )
    return scored, tally.close()


def _last_correction(events: Sequence[FeedbackEvent]) -> str | None:
    given = [event for event in events if event.corrected_response]
    return max(given, key=lambda event: (event.timestamp, event.event_id)).corrected_response if given else None
