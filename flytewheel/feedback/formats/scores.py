"""Langfuse's scores: which of them people gave, and what they say.

Scores are people's, but for those of source EVAL (a judge's) and those of source API that are named as a metric: they
are counted and left out. So are scores of sessions and of data set runs, which are about no answer. BOOLEAN is a thumb,
CATEGORICAL a word, NUMERIC a figure on the scale that all scores of its name share (`reactions`); CORRECTION, or a name
such as `correction`, is the text that should have been, TEXT a comment. A score whose name says that something is
wrong (`hallucination`, `bug`) is a thumb down where it is yes, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flytewheel.feedback.formats.conversation import open_object, read_output
from flytewheel.feedback.formats.identity import first_of, keep_metadata, name_row, name_user, read_time
from flytewheel.feedback.formats.log import Log
from flytewheel.feedback.formats.reactions import Said, read_vote

_METRIC = re.compile(
    r"(?i)hallucinat|toxic|faithful|relevan|ragas|bleu|rouge|bert_?score|latency|cost|token|similar|context|judge|llm"
    r"|eval|perplexity|groundedness|recall|precision|confidence"
)
_WRONG = re.compile(r"(?i)hallucinat|toxic|\bbug|error|unsafe|harmful|refus|incorrect|wrong|bad")
_CORRECTION = re.compile(r"(?i)correct(?:ion|ed)|expected.?output|ground.?truth|ideal")


def add_score(row: Mapping[str, Any], score: Mapping[str, Any], log: Log) -> int:
    """Writes one score of an interaction as an event; returns how many events that gave."""
    name, origin = str(score.get("name")), str(score.get("source") or "").upper()
    kind = str(score.get("dataType") or "").upper()
    corrects = kind == "CORRECTION" or bool(_CORRECTION.fullmatch(name))
    if origin == "EVAL":
        log.notes["scores of a judge (EVAL), left out"] += 1
        return 0
    if origin == "API" and _METRIC.search(name) and not corrects:
        log.notes["scores of a metric, left out"] += 1
        return 0
    if not (score.get("traceId") or score.get("observationId")) and (
        score.get("sessionId") or score.get("datasetRunId")
    ):
        log.notes["scores of a session or a data set run, left out"] += 1
        return 0
    said = _read_score(score, name, kind, corrects, log)
    if said is None:
        log.notes["scores that say neither yes nor no"] += 1
        return 0
    comment = score.get("comment")
    time = read_time(first_of(score, "timestamp", "createdAt", "updatedAt")) or row.get("timestamp")
    author = first_of(score, "authorUserId") or first_of(open_object(score.get("metadata")), "user_id", "userId")
    by = name_user(author, "", log.source) if author is not None else row["user_id"]
    log.add_event(
        {
            "event_id": name_row(score.get("id"), [row["interaction_id"], score], log.source),
            "interaction_id": row["interaction_id"],
            "user_id": by or name_user(None, row["interaction_id"], log.source),
            "timestamp": time or log.next_time(None, 1),
            "feedback_type": said.kind,
            **said.fields,
            "comment": comment if isinstance(comment, str) and comment.strip() else said.fields.get("comment"),
            "metadata": {**keep_metadata(said.fields.get("metadata")), "score": name[:100]},
        }
    )
    return 1


def _read_score(score: Mapping[str, Any], name: str, kind: str, corrects: bool, log: Log) -> Said | None:
    value, text = score.get("value"), score.get("stringValue")
    if corrects:
        turn, _ = read_output(text or (value if isinstance(value, str) else score.get("comment")))
        return Said("correction", {"corrected_response": turn.text if turn is not None else None})
    if kind == "TEXT":
        return Said("follow_up", {"comment": str(text if text is not None else value)})
    if kind == "BOOLEAN":
        shown = text if text is not None else value
        value = str(shown).strip().lower() in {"1", "1.0", "true", "yes"} if shown is not None else None
    elif kind == "CATEGORICAL" and isinstance(text, str):
        value = text
    said = read_vote(value, name, log.scales)
    if said is None:
        comment = score.get("comment")
        return Said("follow_up") if isinstance(comment, str) and comment.strip() else None
    if _WRONG.search(name):
        yes = said.kind == "thumbs_up" or float(said.fields.get("rating") or 0) > 3
        return Said("thumbs_down", {**said.fields, "rating": None}) if yes else None
    return said
