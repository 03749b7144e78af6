"""Langfuse exports: traces with their observations and scores, nested or in files of their own, as JSON, JSONL or CSV.

Known are the traces of its API (`observations` and `scores` inside), the table exports of its pages, and its exports to
object storage (one file each of traces, observations and scores, in snake_case). The pieces of a trace meet on disk, in
SQLite, so an export may be larger than memory.

A trace is one interaction: its answer is the generation whose output is the trace's, else the last one, else the
trace's own input and output; it has the trace's id, so that scores which are exported later find it. Other generations
are interactions, by their own ids, where somebody scored them or where they are an earlier turn of the conversation
(their output stands in a later input); the rest are steps of an agent, and are counted only.

Scores are read by `scores`.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from flytewheel.feedback.formats.conversation import (
    Turn,
    list_exchanges,
    open_json,
    open_object,
    read_input,
    read_output,
)
from flytewheel.feedback.formats.identity import first_of, keep_metadata, name_row, name_user, read_time
from flytewheel.feedback.formats.log import Log
from flytewheel.feedback.formats.reactions import Said
from flytewheel.feedback.formats.rows import Row
from flytewheel.feedback.formats.scores import add_score

_KINDS = {"GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"}
_NO_FIGURE = {"BOOLEAN", "CATEGORICAL", "TEXT", "CORRECTION"}
_FLAT = re.compile(r"(?i)^(?:user[-_ ]?)?(?:feedback|thumbs?|rating|stars?|score|vote|satisfaction|csat)(?:[-_ ].*)?$")


@dataclass(slots=True)
class _Trace:
    """The pieces of one trace."""

    trace: Mapping[str, Any] = field(default_factory=dict)
    observations: list[Mapping[str, Any]] = field(default_factory=list)
    scores: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A generation (or the trace itself) that gives an interaction."""

    id: str
    source: Mapping[str, Any]
    turns: list[Turn]
    output: Turn | None
    finished: bool


class Pieces:
    """The pieces of all traces, on disk until each trace is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; BEGIN;"
            "CREATE TABLE piece (seq INTEGER PRIMARY KEY, trace TEXT, kind TEXT, body BLOB);"
        )

    def add(self, row: Row, log: Log) -> None:
        """Takes one row of an export apart; one that is nothing known is held."""
        if row.data is None:
            log.hold(row.reason or "not an object", row.raw)
            return
        data = {_camel(name): value for name, value in row.data.items() if isinstance(name, str)}
        kind = _kind_of(data)
        if kind is None:
            log.hold("unknown kind of row", row.raw)
            return
        log.seen.update(f"{kind}.{name}" for name, value in data.items() if value is not None)
        trace = name_row(data.get("id") if kind == "trace" else data.get("traceId"), data, log.source)
        if kind == "trace":
            for name, inner in (("observations", "observation"), ("scores", "score")):
                pieces = open_json(data.get(name))
                if isinstance(pieces, list) and any(isinstance(piece, Mapping) for piece in pieces):
                    data.pop(name)
                    for piece in pieces:
                        if isinstance(piece, Mapping):
                            found = {_camel(str(key)): value for key, value in piece.items()}
                            self._add(trace, inner, found, log)
            for name, value in _list_flat_scores(data):
                self._add(trace, "score", {"name": name, "value": value, "traceId": data.get("id")}, log)
        self._add(trace, kind, data, log)

    def _add(self, trace: str, kind: str, data: Mapping[str, Any], log: Log) -> None:
        if kind == "score" and str(data.get("dataType")).upper() not in _NO_FIGURE:
            log.scales.note(str(data.get("name")), data.get("value"))
        body = json.dumps(data, separators=(",", ":"), default=str)
        self._database.execute("INSERT INTO piece (trace, kind, body) VALUES (?, ?, ?)", (_plain(trace), kind, body))

    def write(self, log: Log) -> None:
        """Writes the interactions and events of every trace, in the order in which the traces began."""
        self._database.execute("CREATE INDEX by_trace ON piece (trace, seq)")
        rows = self._database.execute(
            "SELECT piece.trace, kind, body FROM piece JOIN (SELECT trace, min(seq) AS first FROM piece GROUP BY trace)"
            " AS begun USING (trace) ORDER BY first, seq"
        )
        for name, pieces in groupby(rows, key=lambda row: str(row[0])):
            found, raw = _Trace(), b""
            for _, kind, body in pieces:
                data = json.loads(body)
                if kind == "trace":
                    found.trace, raw = {**found.trace, **data}, body.encode()
                else:
                    (found.observations if kind == "observation" else found.scores).append(data)
                    raw = raw or body.encode()
            try:
                _convert(name, found, raw, log)
            except RecursionError:
                log.hold("nested too deeply", raw)
        self._database.close()
        self._path.unlink()


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _kind_of(data: Mapping[str, Any]) -> str | None:
    if "name" in data and "value" in data and ("traceId" in data or "dataType" in data or "sessionId" in data):
        return "score"
    if str(data.get("type")).upper() in _KINDS or ("traceId" in data and ("startTime" in data or "input" in data)):
        return "observation"
    known = {"input", "output", "observations", "scores", "userId", "sessionId", "timestamp"}
    return "trace" if "id" in data and known & data.keys() else None


def _list_flat_scores(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Scores of a table export: an object of lists by name, or columns beside the trace's, named as people's votes."""
    scores = open_json(data.get("scores"))
    found = dict(scores) if isinstance(scores, Mapping) else {}
    found |= {name: value for name, value in data.items() if _FLAT.match(name)}
    for name, value in found.items():
        value = open_json(value)
        for each in value if isinstance(value, list) else [value]:
            if each is not None and not isinstance(each, Mapping | list):
                yield str(name), each


def _convert(name: str, found: _Trace, raw: bytes, log: Log) -> None:
    trace = found.trace
    answers = _list_answers(name, found)
    if not answers:
        if trace or found.observations:
            log.hold("missing response" if first_of(trace, "input") is not None else "missing query", raw)
        for score in found.scores:  # of a trace that is not in this export: its interaction may be stored already
            target = score.get("observationId") or name
            add_score({"interaction_id": str(target), "user_id": None}, score, log)
        return
    owner = first_of(trace, "userId") or next(
        (each["userId"] for each in found.observations if each.get("userId")), None
    )
    if log.user_field:
        owner = trace.get(_camel(log.user_field)) or open_object(trace.get("metadata")).get(log.user_field)
    owner = owner or first_of(open_object(trace.get("metadata")), "user_id", "userId", "langfuse_user_id")
    session = first_of(trace, "sessionId") or next(
        (each["sessionId"] for each in found.observations if each.get("sessionId")), None
    )
    session = None if session is None else name_row(session, "", log.source)
    user = name_user(owner, session or name, log.source)
    scores = [(score, score.get("observationId")) for score in found.scores]
    main = answers[-1]
    inputs = "\n".join(turn.text for each in answers for turn in each.turns if turn.role == "assistant")
    written: dict[str, Mapping[str, Any]] = {}
    for answer in answers:
        own = answer.source.get("id")
        scored = any(target is not None and str(target) == str(own) for _, target in scores)
        spoken = answer.output is not None and answer.output.text.strip() and answer.output.text in inputs
        if answer is not main and not scored and not spoken:
            log.notes["generations within a trace without a score, left out"] += 1
            continue
        row = _make_interaction(answer, found, session, user, log)
        if row is None:
            log.hold("missing query", raw)
            continue
        written[str(own)] = row
        log.add_interaction(row)
    events = 0
    fallback = written.get(str(main.source.get("id")))
    for score, target in scores:
        about = (written.get(str(target)) if target is not None else None) or fallback
        events += add_score(about or {"interaction_id": str(target or name), "user_id": user}, score, log)
    for answer in answers:
        expected = first_of(answer.source, "expectedOutput") or (
            first_of(trace, "expectedOutput") if answer is main else None
        )
        turn, _ = read_output(expected) if expected is not None else (None, True)
        about = written.get(str(answer.source.get("id")))
        if turn is not None and turn.text.strip() and about is not None:
            log.add_said(about, [Said("correction", {"corrected_response": turn.text})])
            events += 1
    if not events:
        log.notes["interactions without a rating"] += len(written)


def _list_answers(name: str, found: _Trace) -> list[_Answer]:
    """The generations that gave an answer, in time; the trace's own answer last."""
    trace = found.trace
    generations = [each for each in found.observations if str(each.get("type", "GENERATION")).upper() == "GENERATION"]
    generations.sort(key=lambda each: (read_time(first_of(each, "startTime", "timestamp")) or "", str(each.get("id"))))
    answers = []
    for each in generations:
        output, finished = read_output(each.get("output"))
        failed = str(each.get("level")).upper() == "ERROR"
        turns = read_input(each.get("input"))
        if turns and (output is not None or failed):
            identity = name_row(each.get("id"), each, name)
            answers.append(_Answer(identity, each, turns, output, finished and not failed))
    spoken, finished = read_output(trace.get("output"))
    if not answers:
        turns = read_input(trace.get("input"))
        if turns is None or spoken is None:
            return []
        return [_Answer(name, trace, turns, spoken, finished)]
    same = [
        each for each in answers if spoken is not None and each.output is not None and each.output.text == spoken.text
    ]
    main = same[-1] if same else answers[-1]
    rest = [each for each in answers if each is not main]
    return [*rest, _Answer(name, main.source, main.turns, main.output, main.finished)]


def _make_interaction(
    answer: _Answer, found: _Trace, session: str | None, user: str, log: Log
) -> dict[str, Any] | None:
    reply = answer.output or Turn("assistant", "", {})
    exchanges = list_exchanges([*answer.turns, Turn("assistant", reply.text or "…", reply.source, reply.tools)])
    one = exchanges[-1]
    if one.query is None:
        return None
    source = answer.source
    time = read_time(first_of(source, "startTime", "timestamp", "createdAt")) or read_time(
        first_of(found.trace, "timestamp", "createdAt")
    )
    level = source.get("level")
    metadata = keep_metadata(open_object(found.trace.get("metadata")))
    if isinstance(level, str) and level.upper() not in {"DEFAULT", "DEBUG"}:
        metadata["level"] = level
    if one.tools:
        metadata["tools"] = list(one.tools)
    tags = open_json(found.trace.get("tags"))
    return {
        **one.fields(),
        "interaction_id": answer.id,
        "session_id": session,
        "user_id": user,
        "timestamp": time or log.next_time(session, 1),
        "response": reply.text,
        "completed": answer.finished and bool(reply.text),
        "latency_ms": _measure(source),
        "model_version": first_of(source, "model", "providedModelName", "internalModel"),
        "topic": tags[0] if isinstance(tags, list) and tags and isinstance(tags[0], str) else None,
        "metadata": metadata,
    }


def _measure(source: Mapping[str, Any]) -> float | None:
    """The latency in ms: from both times, else from `latency`, which Langfuse gives in seconds."""
    start, end = read_time(source.get("startTime")), read_time(source.get("endTime"))
    try:
        if start is not None and end is not None:
            return max(
                0.0, round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000, 3)
            )
        latency = float(source["latency"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return round(latency * 1000, 3) if 0 <= latency < 1e9 else None
