"""One chunk of the generated window: who asks what and when, how it is answered, what is said, what is planted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import exp
from typing import Any

import numpy as np
import orjson

from benchmarks.curation_texts import BAD, Question, Texts
from benchmarks.curation_words import COMMENTS, INJECTIONS, Words

CHUNK = 5_000
WEEK_S = 7 * 86_400
START = datetime(2026, 11, 9)
COLLUDERS, CAMPAIGNS = 50, 20  # users × answers that they all vote for
_TYPES = (  # share of the events, and whether it comes with a good answer
    ("thumbs_up", 0.30, True),
    ("thumbs_down", 0.13, False),
    ("rating", 0.12, None),
    ("correction", 0.052, False),
    ("copied", 0.11, True),
    ("read_time", 0.10, None),
    ("accepted", 0.06, True),
    ("citation_click", 0.045, True),
    ("reformulation", 0.035, False),
    ("abandonment", 0.02, False),
    ("follow_up", 0.02, None),
    ("edit", 0.01, True),
    ("duel", 0.005, None),
)


@dataclass(slots=True)
class Chunk:
    interactions: list[bytes] = field(default_factory=list)
    events: list[tuple[int, str, bytes]] = field(default_factory=list)
    truth: list[bytes] = field(default_factory=list)
    plants: Counter[str] = field(default_factory=Counter)
    clusters: Counter[str] = field(default_factory=Counter)


def _stamp(microseconds: int) -> str:
    return f"{(START + timedelta(microseconds=microseconds)).isoformat()}Z"


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


class ChunkWriter:
    """One chunk on its way."""

    def __init__(self, rows: int, seed: int, number: int, words: Words, truth: bool) -> None:
        self._texts = Texts(words, (seed, rows, number))
        self._draw = self._texts.draw
        self._rows = rows
        self._seed = seed
        self._number = number
        self._first = number * CHUNK
        self._last = min(rows, self._first + CHUNK)
        self._words = words
        self._shared: dict[str, Question] = {}
        self._truth = truth
        self._users = max(10, rows // 10)
        self._asked: list[Question] = []
        self._chunk = Chunk()

    def write(self) -> Chunk:
        draw, count = self._draw, self._last - self._first
        slice_us = WEEK_S * 10**6 // self._rows
        times = sorted(int(draw() * count * slice_us) + self._first * slice_us for _ in range(count))
        session: list[dict[str, Any]] = []
        turns = 0
        for place, at in enumerate(times):
            row = self._first + place
            campaign = self._find_campaign(row)
            if campaign is not None:
                self._write_colluding(row, at, *campaign)
            elif row % 100 == 50:  # one user, a vote on each row of theirs: 10,000 in a million
                self._write_row(row, at, "user-spam", plant="spam", vote=True)
            elif self._number % 7 == 3 and 1000 <= place < 1025:  # a script: 25 votes within half a minute
                self._write_row(row, times[1000] + (place - 1000) * 10**6, f"user-burst-{self._number}", "burst", True)
            elif turns:
                turns -= 1
                self._write_row(row, at, session[-1]["user_id"], session=session)
            else:
                session = []
                turns = 1 + int(draw() * 3) if draw() < 0.05 else 0
                self._write_row(row, at, self._draw_user(), session=session if turns else None)
        return self._chunk

    def _draw_user(self) -> str:
        return f"user-{int(self._users * self._draw() ** 1.6):06d}"  # the busiest asks some 0.07 % of a million rows

    def _find_campaign(self, row: int) -> tuple[int, int] | None:
        members = max(5, min(COLLUDERS, self._rows // 400))
        campaign, offset = divmod(row, -(-self._rows // CAMPAIGNS))
        if offset % 10 == 1 and offset // 10 < members:  # never the place of a spam row
            return campaign, offset // 10
        return None

    def _choose_question(self, row: int) -> tuple[Question, str, bool]:
        """A question, its query as it is put now, and whether it was asked before."""
        draw = self._draw
        dice = draw()
        if dice < 0.03:
            known = self._share_question(int(max(20, self._rows // 5000) * draw() ** 1.5), "hot")
        elif dice < 0.26 and self._asked:
            known = self._asked[int(len(self._asked) * draw())]  # who is asked often is asked more
        else:
            fresh = self._texts.new_question(row, f"c{row}")
            self._asked.append(fresh)
            return fresh, fresh.query, False
        self._asked.append(known)
        return known, self._texts.vary(known.query), True

    def _share_question(self, number: int, kind: str) -> Question:
        """A question that every chunk knows."""
        name = f"{kind}{number}"
        if name not in self._shared:
            own = Texts(self._words, (self._seed, self._rows, number, ord(kind[0])), block=64)
            self._shared[name] = own.new_question(0xF0000000 + number + 65536 * ord(kind[0]), name)
        return self._shared[name]

    def _write_colluding(self, row: int, at: int, campaign: int, member: int) -> None:
        question = self._share_question(campaign, "campaign")
        given = self._body(row, at, f"user-crowd-{member}", question, question.query, question.answer)
        self._finish(given, question, ["collusion"])
        self._react(given, at, "thumbs_up", True)

    def _body(self, row: int, at: int, user: str, question: Question, query: str, answer: str) -> dict[str, Any]:
        draw = self._draw
        tried = draw() < 0.3
        return {
            "interaction_id": f"{int(draw() * 2**32):08x}-{row:09d}",
            "session_id": f"s-{row}" if draw() < 0.5 else None,
            "user_id": user,
            "timestamp": _stamp(at),
            "query": query,
            "response": answer,
            "context": question.context,
            "history": [],
            "topic": question.topic,
            "model_version": "assistant:v1.202645.1",
            "completed": True,
            "latency_ms": round(700 * exp(0.6 * self._texts.normal()), 1),
            "experiment_id": "exp-45" if tried else None,
            "arm": "control" if tried else None,
            "propensity": 0.9 if tried else None,
            "model_digest": None,
            "metadata": {},
        }

    def _write_row(
        self,
        row: int,
        at: int,
        user: str,
        plant: str | None = None,
        vote: bool = False,
        session: list[dict[str, Any]] | None = None,
    ) -> None:
        draw = self._draw
        question, query, known = (
            (self._texts.new_question(row, f"c{row}"), "", False) if session else self._choose_question(row)
        )
        answer = question.answer if not known or draw() < 0.3 else self._texts.answer(question.passage)
        plants = [plant] if plant else []
        answer = self._texts.spoil(answer, plants) if draw() < 0.085 else answer
        given = self._body(row, at, user, question, query or question.query, answer)
        if session is not None:
            given["session_id"] = session[0]["session_id"] if session else f"m-{row}"
            if session:
                last = session[-1]
                given["history"] = [
                    *last["history"],
                    {"role": "user", "content": last["query"]},
                    {"role": "assistant", "content": last["response"]},
                ]
                plants.append("multi-turn")
            session.append(given)
        if draw() < 0.01:
            given["completed"] = False
            plants.append("incomplete")
        if draw() < 0.004:
            given["query"] += f" {INJECTIONS[int(len(INJECTIONS) * draw())]}"
            plants.append("injected query")
        if draw() < 0.02:
            self._plant_personal(given, plants)
        if known and plants == []:
            plants.append("copy")
        self._finish(given, question, plants)
        if vote:
            self._react(given, at, "thumbs_up", True)
        elif draw() < 0.8:
            good = draw() < (0.3 if plants and plants[0] in BAD else 0.72)
            self._react(given, at, None, good)
            while draw() < 0.35:
                self._react(given, at, None, good)

    def _plant_personal(self, given: dict[str, Any], plants: list[str]) -> None:
        draw, pool = self._draw, self._words.personal
        for _ in range(1 + int(2 * draw())):
            kind, text = pool[int(len(pool) * draw())]
            name = ("query", "query", "response", "response", "context")[int(5 * draw())]
            given[name] = f"{given[name]} {text}" if given[name] else text
            plants.append(f"personal {kind}")

    def _finish(self, given: dict[str, Any], question: Question, plants: list[str]) -> None:
        chunk = self._chunk
        chunk.interactions.append(_line(given))
        chunk.plants.update(plants)
        chunk.clusters[question.name] += 1
        if self._truth:
            chunk.truth.append(_line({"id": given["interaction_id"], "cluster": question.name, "plants": plants}))

    def _react(self, about: dict[str, Any], at: int, kind: str | None, good: bool) -> None:
        draw = self._draw
        when = at + int((3 + 60 * draw() ** 3) * 10**6) if kind is None else at + 2_000_000
        if kind is None:
            kind = self._choose_type(good)
        number = len(self._chunk.events)
        event: dict[str, Any] = {
            "event_id": f"e{self._number:05d}-{number:06d}",
            "interaction_id": about["interaction_id"],
            "user_id": about["user_id"] if draw() > 0.01 else self._draw_user(),
            "feedback_type": kind,
            "timestamp": _stamp(when),
            "rating": None,
            "corrected_response": None,
            "correction_type": None,
            "other_response": None,
            "preferred": None,
            "comment": None,
            "metadata": {},
        }
        match kind:
            case "rating":
                event["rating"] = float(3 + int(3 * draw()) if good else 1 + int(3 * draw()))
            case "correction" | "edit":
                event["corrected_response"] = self._texts.correct(about["response"])
                event["correction_type"] = "factual" if kind == "correction" else None
            case "duel":
                event["other_response"] = self._texts.answer(-1)
                event["preferred"] = ("this", "other", "tie")[int(3 * draw())]
            case "read_time":
                event["metadata"] = {"expected_s": 20.0, "read_s": round(30 * draw(), 1)}
            case "accepted":
                event["metadata"] = {"seconds": round(6 * draw(), 1)}
            case "citation_click":
                event["metadata"] = {"count": 1 + int(3 * draw())}
            case _:
                pass
        if draw() < 0.06:
            event["comment"] = COMMENTS[int(len(COMMENTS) * draw())]
        if draw() < 0.1:
            event["metadata"]["account_created_at"] = f"2026-{1 + int(10 * draw()):02d}-01T00:00:00+00:00"
        self._chunk.plants[f"event {kind}"] += 1
        self._chunk.events.append((when, event["event_id"], _line(event)))

    def _choose_type(self, good: bool) -> str:
        kinds, upto = _SAID[good]
        dice = self._draw()
        for place, bound in enumerate(upto):
            if dice < bound:
                return kinds[place]
        return kinds[-1]


def _list_types(good: bool) -> tuple[tuple[str, ...], tuple[float, ...]]:
    fitting = [(kind, share) for kind, share, sign in _TYPES if sign is None or sign is good]
    total = sum(share for _, share in fitting)
    return tuple(kind for kind, _ in fitting), tuple(np.cumsum([share / total for _, share in fitting]).tolist())


_SAID = {good: _list_types(good) for good in (True, False)}
