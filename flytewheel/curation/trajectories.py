"""Trajectories: the sessions of several turns, each as one row with a reward of its own.

A session is all interactions of one user under one session id. Where the later ones bring the earlier turns as their
history, the longest history with the last query and answer is the conversation; where they bring none, or another one,
their turns follow each other in time. An answer that was asked for again (the same history and query) gives way to the
later one, and a turn that went back to an earlier point drops what came behind it: each turn stands once.

The reward of a session is the mean of its known rewards, the last explicit one counting twice:
R = (Σ r_t + r_last) / (n + 1), in [-1, 1]. People judge an episode by its end more than by its middle (Kahneman,
Fredrickson, Schreiber and Redelmeier, 1993, "When More Pain Is Preferred to Less"), and what is said last is said of
the conversation as it ended. Without an explicit reaction it is the plain mean; where nobody reacted it is not known.
Corrections do not change the text here: the turns that followed answered what was shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flytewheel.records import Message, Trajectory, digest

MIN_ANSWERS = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """One interaction of a session: what was asked and answered, and its reward in [-1, 1].

    `history` holds the turns before `query`, a system turn first if there was one; `system` is the system turn of
    interactions that bring none. `explicit` says whether somebody said something, rather than being observed.
    """

    interaction_id: str
    time: datetime
    query: str
    response: str
    history: tuple[Message, ...] = ()
    system: str | None = None
    context: str | None = None
    reward: float | None = None
    explicit: bool = False
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """The interactions of one user under one session id, in any order."""

    user: str
    session_id: str
    turns: tuple[Turn, ...]
    topic: str = ""


@dataclass(frozen=True, slots=True)
class _Served:
    """An answer that an interaction served: where it ends in the conversation, and all who reacted to it."""

    end: int
    reward: float | None
    explicit: bool
    interactions: tuple[str, ...]
    events: tuple[str, ...]


def build_trajectories(sessions: Iterable[Session]) -> list[Trajectory]:
    """Builds one row for each session with at least two answers, ordered by id; the order of the input is no matter."""
    built = (_build(session) for session in sessions)
    return sorted((row for row in built if row is not None), key=lambda row: row.id)


def name_session(user: str, session_id: str) -> str:
    """The id of a session's row."""
    return f"trajectory-{digest([user, session_id])[:24]}"


def score_session(rewards: Sequence[tuple[float | None, bool]]) -> float | None:
    """Gives the reward of a session from those of its answers, in time, each with whether it was explicit.

    Returns:
        The mean of the known ones, the last explicit one counting twice; `None` where none is known.
    """
    known = [reward for reward, _ in rewards if reward is not None]
    if not known:
        return None
    said = [reward for reward, explicit in rewards if reward is not None and explicit]
    return round(math.fsum([*known, *said[-1:]]) / (len(known) + len(said[-1:])), 6)


def _build(session: Session) -> Trajectory | None:
    messages: list[Message] = []
    served: list[_Served] = []
    systems: dict[str, None] = {}
    contexts: dict[str, None] = {}
    for turn in sorted(session.turns, key=lambda turn: (turn.time, turn.interaction_id)):
        if not turn.response.strip() or not turn.query.strip():
            continue
        history = list(turn.history)
        system = history.pop(0).content if history and history[0].role == "system" else turn.system
        systems |= {system: None} if system else {}
        contexts |= {turn.context: None} if turn.context else {}
        before = _align(messages, history, turn.query)
        again = [each for each in served if each.end > len(before)]
        served = [each for each in served if each.end <= len(before)]
        said = Message(role="assistant", content=turn.response)
        one = _Served(len(before) + 2, turn.reward, turn.explicit, (turn.interaction_id,), turn.events)
        if again and again[0].end == one.end and _plain(messages[one.end - 1]) == _plain(said):
            one = _join(again[0], one)  # sent twice: one answer, and everybody's reaction to it
        messages = [*before, Message(role="user", content=turn.query), said]
        served.append(one)
    answers = sum(message.role == "assistant" for message in messages)
    if answers < MIN_ANSWERS:
        return None
    parts = [*systems, "Context:\n" + "\n\n".join(contexts)] if contexts else [*systems]
    opening = (Message(role="system", content="\n\n".join(parts)),) if parts else ()
    return Trajectory(
        id=name_session(session.user, session.session_id),
        user=session.user,
        topic=session.topic,
        messages=(*opening, *messages),
        rewards=tuple(each.reward for each in served),
        reward=score_session([(each.reward, each.explicit) for each in served]),
        interactions=tuple(name for each in served for name in each.interactions),
        events=tuple(name for each in served for name in each.events),
    )


def _align(messages: list[Message], history: list[Message], query: str) -> list[Message]:
    """Gives the turns that stand before `query`, of what is known so far and the history that came with it."""
    if [_say(each) for each in history[: len(messages)]] == [_say(each) for each in messages]:
        return history  # to the letter: most do, and folding costs
    known, given = [_plain(each) for each in messages], [_plain(each) for each in history]
    if given[: len(known)] == known:
        return history
    if given and known[: len(given)] == given:  # back to an earlier point, or the last answer once more
        return messages[: len(given)]
    asked = ("user", _fold(query))
    if not given and len(known) == 2 and known[0] == asked:
        return []
    if known[-len(given) :] == given or not given:  # a window over the end, or no history at all
        return messages
    if known[-len(given) - 2 : -2] == given and known[-2] == asked:
        return messages[:-2]
    tail = known[-2:]
    for place in range(len(given) - 1, 0, -1):
        if given[place - 1 : place + 1] == tail:  # turns between, of which there is no interaction
            return [*messages, *history[place + 1 :]]
    return messages


def _join(first: _Served, second: _Served) -> _Served:
    """One answer that was served twice; the later reward counts, if there is one."""
    known = second if second.reward is not None else first
    return replace(
        second,
        reward=known.reward,
        explicit=known.explicit,
        interactions=(*first.interactions, *second.interactions),
        events=(*first.events, *second.events),
    )


def _say(message: Message) -> tuple[str, str]:
    return message.role, message.content


def _plain(message: Message) -> tuple[str, str]:
    return message.role, _fold(message.content)


def _fold(text: str) -> str:
    """Clients trim and rewrap what they send back."""
    return " ".join(text.split())
