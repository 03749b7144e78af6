"""Chat logs with ratings: OpenAI-style conversations, requests with their responses, prompts with their answers.

One row is one conversation. Its answers that carry a rating of their own are interactions; a rating of the whole row is
the last answer's, and a row in which nobody rated anything is kept as that last answer, unrated. The first answer has
the row's id, the n-th `ID#n`: a conversation that has grown since keeps what is stored. OpenAI's `weight` on a turn is
a choice of what to train on: 1 reads as a thumb up, 0 says nothing about the answer.

A row that tells no time stands at `EPOCH` (or the time given), a second later for each answer; rows of one session
that tell none follow each other as in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytewheel.feedback.formats.conversation import Exchange, Turn, list_exchanges, read_output, read_turns
from flytewheel.feedback.formats.identity import (
    digest_of,
    first_of,
    keep_metadata,
    name_row,
    name_user,
    read_time,
    shift,
)
from flytewheel.feedback.formats.log import Log
from flytewheel.feedback.formats.reactions import VOTES, Said, Scales, note_figures, read_said
from flytewheel.feedback.formats.rows import Row

_TURN_VOTES = (*VOTES, "annotation")
_USER = ("user_id", "user", "userId", "username", "end_user", "customer_id", "account_id", "email", "author")
_TIME = ("timestamp", "created", "created_at", "createdAt", "time", "date", "datetime", "update_time", "create_time")
_SESSION = ("session_id", "sessionId", "conversation_id", "conversationId", "thread_id", "chat_id")
_ID = ("id", "interaction_id", "request_id", "custom_id", "message_id", "uuid", "_id")
_PROMPT = ("prompt", "query", "question", "instruction", "input", "user_message")
_ANSWER = ("completion", "response", "answer", "output", "assistant_message", "generation", "reply")


def note_row(row: Row, scales: Scales) -> None:
    """Counts the figures of a row, so that their scales are known before the first row is turned."""
    if row.data is None:
        return
    note_figures(row.data, scales)
    for turn in find_messages(row.data) or []:
        if isinstance(turn, Mapping):
            note_figures(turn, scales, names=_TURN_VOTES)


def convert_row(row: Row, log: Log) -> None:
    """Writes the interactions and events of one conversation, or holds the row with the reason why not."""
    if row.data is None:
        log.hold(row.reason or "not an object", row.raw)
        return
    data = row.data
    messages = find_messages(data)
    turns = read_turns(messages) if messages is not None else _read_pair(data)
    if turns is None:
        log.hold("wrong messages" if messages is not None else "missing messages", row.raw)
        return
    answer, finished = find_reply(data)
    if answer is not None:
        turns.append(answer)
    exchanges = list_exchanges(turns)
    reason = None if exchanges else "missing response"
    if exchanges and exchanges[-1].query is None:
        reason = "missing query"
    if reason is not None:
        log.hold(reason, row.raw)
        return
    log.seen.update(name for name in data if isinstance(name, str))
    _write(data, [one for one in exchanges if one.query is not None], finished, log)


def find_messages(data: Mapping[str, Any]) -> list[Any] | None:
    """Finds the turns of a row, in the row itself or in the request that it holds."""
    for place in _list_places(data, "request", "body", "input", "kwargs", "params"):
        for name in ("messages", "conversations", "conversation", "turns", "chat", "dialog", "dialogue"):
            found = place.get(name)
            if isinstance(found, list):
                return found
    prompt = data.get("prompt")
    return prompt if isinstance(prompt, list) and prompt and isinstance(prompt[0], Mapping) else None


def find_reply(data: Mapping[str, Any]) -> tuple[Turn | None, bool]:
    """Finds the answer that stands beside the request (`choices`, or an answer by name); whether it came to its end."""
    for place in _list_places(data, "response", "body", "output", "completion", "result"):
        if "choices" in place or (place is not data and place.get("role") == "assistant"):
            return read_output(place)
    if find_messages(data) is not None:
        return read_output(first_of(data, *_ANSWER))
    return None, True


def _list_places(data: Mapping[str, Any], *names: str) -> list[Mapping[str, Any]]:
    """The row and the objects in it, two deep, that may hold what is looked for."""
    found, newest = [data], [data]
    for _ in range(2):
        newest = [inner for place in newest for name in names if isinstance(inner := place.get(name), Mapping)]
        found += newest
    return found


def _read_pair(data: Mapping[str, Any]) -> list[Turn] | None:
    """A prompt and its answer as two fields."""
    prompt, answer = first_of(data, *_PROMPT), first_of(data, *_ANSWER)
    if not isinstance(prompt, str) or not (isinstance(answer, str) or "choices" in data or isinstance(answer, Mapping)):
        return None
    more = data.get("input")
    if isinstance(data.get("instruction"), str) and prompt == data["instruction"] and isinstance(more, str) and more:
        prompt = f"{prompt}\n\n{more}"
    system = first_of(data, "system", "system_prompt")
    turns = [Turn("system", system, {})] if isinstance(system, str) else []
    turns.append(Turn("user", prompt, {}))
    if isinstance(answer, str):
        turns.append(Turn("assistant", answer, {}))
    return turns


def _write(data: Mapping[str, Any], exchanges: list[Exchange], finished: bool, log: Log) -> None:
    places = _list_places(data, "request", "response", "body", "params")
    beside = [*places, *_list_places(data, "metadata")[1:2]]
    given, told = _find(places, _ID), read_time(_find(beside, _TIME))
    who = data.get(log.user_field) if log.user_field else _find(beside, _USER)
    session = _find(beside, _SESSION)
    session = None if session is None else name_row(session, "", log.source)

    def name(one: Exchange) -> str:
        """An id of its own, or of the content up to the answer: what follows later changes no id."""
        if given is not None:
            return name_row(given, "", log.source) + (f"#{one.number}" if one.number > 1 else "")
        return digest_of([session, who, told, one.fields()])

    names = [name(one) for one in exchanges]
    start = told or log.next_time(session, len(exchanges))
    session = session or names[0]
    user = name_user(who, session, log.source)
    common: dict[str, Any] = {
        "session_id": session,
        "user_id": user,
        "model_version": _text(_find(beside, ("model", "model_version", "model_name"))),
        "topic": _text(_find(places[:1], ("topic", "category"))),
        "latency_ms": _find_latency(beside),
        "metadata": keep_metadata(data.get("metadata")),
    }
    whole = read_said(data, log.scales)
    by_turn = {one.number: _read_turn_said(one.turn, log.scales) for one in exchanges}
    last = exchanges[-1]
    for one, identity in zip(exchanges, names, strict=True):
        said = by_turn[one.number] or (whole if one is last else [])
        if not said and (one is not last or any(by_turn.values())):
            continue
        time = read_time(first_of(one.turn.source, *_TIME)) or shift(start, one.number - 1)
        row = {**common, **one.fields(), "interaction_id": identity, "timestamp": time}
        if isinstance(data.get("context"), str):
            row["context"] = data["context"]
        if one.tools:
            row["metadata"] = {**common["metadata"], "tools": list(one.tools)}
        if one is last:
            row["completed"] = finished
        log.add_interaction(row)
        log.add_said(row, said, by_content=given is None)
        if said and said is not whole and one is last and whole:
            log.notes["ratings of a whole row beside one of its last answer, left out"] += 1


def _read_turn_said(turn: Turn, scales: Scales) -> list[Said]:
    """What a turn says of itself."""
    said = read_said(turn.source, scales, names=_TURN_VOTES)
    weight = turn.source.get("weight")
    if not said and isinstance(weight, int | float) and weight == 1:
        return [Said("thumbs_up", {"metadata": {"field": "weight", "value": 1}})]
    return said


def _find(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> Any:
    for place in places:
        value = first_of(place, *names)
        if value is not None:
            return value
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _find_latency(places: list[Mapping[str, Any]]) -> float | None:
    for names, factor in ((("latency_ms", "duration_ms", "response_ms"), 1.0), (("latency_s", "duration_s"), 1000.0)):
        value = _find(places, names)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
            return round(value * factor, 3)
    return None
