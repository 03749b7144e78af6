"""Preference sets: a prompt, the answer chosen, the answer rejected, as TRL and the hub's sets write them.

Each pair is one interaction, answered with the chosen text, and one blind duel that it won. The prompt is a text,
turns, or what both answers open with: turns before the last, or a transcript of `Human:` and `Assistant:`. Scores of
both and the margin are kept in the event's metadata; pairs whose scores are equal, or say the opposite, are counted.

A pair without an annotator is by a pseudonym for its prompt, so that the split by user keeps the pairs of one prompt
together. A pair's id is the digest of its texts and annotator: sets repeat their rows in several parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flytewheel.feedback.formats.conversation import Turn, open_json, read_input, read_output, read_turns
from flytewheel.feedback.formats.identity import digest_of, first_of, keep_metadata, name_user, read_time
from flytewheel.feedback.formats.log import Log
from flytewheel.feedback.formats.rows import Row

_PROMPT = ("prompt", "question", "instruction", "query", "input", "conversation", "context_messages")
_CHOSEN = ("chosen", "chosen_response", "response_chosen", "preferred_output", "preferred", "better", "accepted")
_REJECTED = ("rejected", "rejected_response", "response_rejected", "non_preferred_output", "dispreferred", "worse")
_USER = ("annotator_id", "annotator", "worker_id", "labeler", "labeler_id", "user_id", "user", "evaluator")
_TIME = ("timestamp", "created", "created_at", "time", "date")
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant|System):[ \t]?")
_ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}
_SCORES = ("score_chosen", "score_rejected", "chosen_score", "rejected_score", "margin", "chosen_rating",
           "rejected_rating", "source", "dataset", "chosen_model", "rejected_model",
           "chosen-model", "rejected-model")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """The turns of the prompt (the last one the user's), and both answers."""

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str


def convert_row(row: Row, log: Log) -> None:
    """Writes the interaction and the duel of one pair, or holds the row with the reason why not."""
    found = read_pair(row.data) if row.data is not None else row.reason or "not an object"
    if isinstance(found, str) or row.data is None:
        log.hold(str(found), row.raw)
        return
    data = row.data
    log.seen.update(name for name in data if isinstance(name, str))
    texts = [[turn.role, turn.text] for turn in found.prompt]
    who = data.get(log.user_field) if log.user_field else first_of(data, *_USER)
    told = read_time(first_of(data, *_TIME))
    name = digest_of([texts, found.chosen, found.rejected, None if who is None else str(who), told])
    time = told or log.next_time(None, 1)
    interaction = {
        "interaction_id": f"pair-{name}",
        "user_id": name_user(who, digest_of(texts), log.source),
        "timestamp": time,
        "query": found.prompt[-1].text,
        "response": found.chosen,
        "history": [{"role": turn.role, "content": turn.text} for turn in found.prompt[:-1] if turn.text],
        "topic": next((data[key] for key in ("topic", "category") if isinstance(data.get(key), str)), None),
    }
    log.add_interaction(interaction)
    log.add_event(
        {
            "event_id": f"pair-{name}/duel",
            "interaction_id": interaction["interaction_id"],
            "user_id": interaction["user_id"],
            "timestamp": time,
            "feedback_type": "duel",
            "preferred": "this",
            "other_response": found.rejected,
            "metadata": keep_metadata({key: data[key] for key in _SCORES if data.get(key) is not None}),
        }
    )
    _note_scores(data, log)


def read_pair(data: Mapping[str, Any]) -> Pair | str:
    """Reads the pair of a row, or gives the reason why it holds none."""
    answers = [first_of(data, *_CHOSEN), first_of(data, *_REJECTED)]
    for value, reason in zip(answers, ("missing chosen", "missing rejected"), strict=True):
        if value is None or (isinstance(value, str | list) and not value):
            return reason
    prompt = _read_prompt(data)
    sides = [_read_side(value, prompt) for value in answers]
    for side, reason in zip(sides, ("missing chosen", "missing rejected"), strict=True):
        if side is None or not side[-1].text.strip():
            return reason
    chosen, rejected = (side for side in sides if side is not None)
    before = [[(turn.role, turn.text.strip()) for turn in side[:-1]] for side in (chosen, rejected)]
    if before[0] != before[1]:
        return "chosen and rejected of different prompts"
    asked = chosen[:-1]
    if not asked or asked[-1].role != "user" or not asked[-1].text.strip():
        return "missing prompt"
    if chosen[-1].text.strip() == rejected[-1].text.strip():
        return "same chosen and rejected"
    return Pair(tuple(asked), chosen[-1].text, rejected[-1].text)


def _read_prompt(data: Mapping[str, Any]) -> list[Turn]:
    value = first_of(data, *_PROMPT)
    turns = _read_transcript(value) if isinstance(value, str) else None
    turns = turns or read_input(value) or []
    while turns and turns[-1].role == "assistant":  # the hub's sets end a prompt with "Assistant:"
        turns = turns[:-1]
    system = first_of(data, "system", "system_prompt")
    if isinstance(system, str) and turns and turns[0].role != "system":
        turns = [Turn("system", system, {}), *turns]
    return turns


def _read_side(value: Any, prompt: list[Turn]) -> list[Turn] | None:
    """Reads one answer with the turns before it; the row's prompt stands before an answer that brings none."""
    value = open_json(value)
    if isinstance(value, str):
        turns = _read_transcript(value)
        if turns is None:
            asked = prompt[-1].text if prompt else ""
            value = value.removeprefix(asked).lstrip("\n ") if asked and value.startswith(asked) else value
            return [*prompt, Turn("assistant", value, {})]
    elif isinstance(value, list):
        turns = read_turns(value)
    else:
        answer, _ = read_output(value)
        turns = None if answer is None else [answer]
    if not turns or turns[-1].role != "assistant":
        return None
    if len(turns) == 1:
        return [*prompt, *turns]
    opening = prompt[:1] if prompt and prompt[0].role == "system" and turns[0].role != "system" else []
    return [*opening, *turns]


def _read_transcript(text: str) -> list[Turn] | None:
    """Reads `\\n\\nHuman: … \\n\\nAssistant: …`; `None` where a text is no such transcript."""
    parts = _SPEAKER.split(text)
    if len(parts) < 3 or parts[0].strip():
        return None
    return [Turn(_ROLES[who], said.strip(), {}) for who, said in zip(parts[1::2], parts[2::2], strict=True)]


def _note_scores(data: Mapping[str, Any], log: Log) -> None:
    for names in (_SCORES[0:2], _SCORES[2:4], _SCORES[5:7]):
        scores = [data.get(name) for name in names]
        first, second = scores
        if isinstance(first, int | float) and isinstance(second, int | float) and first <= second:
            log.notes["pairs with equal scores" if first == second else "pairs whose rejected answer scores more"] += 1
