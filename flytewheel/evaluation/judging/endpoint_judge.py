"""A language model as a judge, through an OpenAI-compatible endpoint.

Such judges prefer a place, the first most times (Zheng et al. 2023, arXiv:2306.05685, section 3.3 and table 2: GPT-4
says the same in both orders in 65 % of cases, GPT-3.5 in 46 %). So each duel is shown twice with the answers swapped,
and a verdict counts where both orders agree; else it is a tie. How often they agree is told (`calibration`).

A reply is a JSON object of exactly `winner` and `reason`; anything else is asked for once more, then there is no
verdict. Verdicts are kept by model, instructions and the texts shown: an evaluation that is tried again asks nobody.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flytewheel.endpoint import ChatEndpoint, keep, recall
from flytewheel.evaluation.judging.fence import INSTRUCTIONS, REMINDER, write_question
from flytewheel.evaluation.judging.judge import TIE, Duel, Opinion
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import EndpointSpec
from flytewheel.records import digest

MAX_REPLY_TOKENS = 300

_WRAPPED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.S | re.I)
_PLACES = {"A": "first", "B": "second", "tie": "tie"}


class Ruling(BaseModel):
    """A judge's reply about one order."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    winner: Literal["A", "B", "tie"]
    reason: Annotated[str, Field(max_length=4_000)]


class EndpointJudge:
    """Asks about each duel in both orders.

    Args:
        spec: the endpoint; its address ends before `/chat/completions`.
        cache: folder of kept verdicts; without one every call asks again.
        pause: how to wait between two attempts, in seconds.

    Raises:
        EndpointError: its key is not set.
    """

    def __init__(
        self, spec: EndpointSpec, *, cache: Path | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = f"the judge {spec.model or spec.url}"
        self._spec = spec
        self._cache = cache
        self._endpoint = ChatEndpoint(spec, purpose="judge", remedy="choose another evaluation.judge.kind", pause=pause)

    def judge(self, duels: Sequence[Duel], progress: ProgressCallback | None = None) -> list[Opinion]:
        """Raises `EndpointError` where the endpoint is away after all attempts, or refuses."""
        questions = [
            write_question(duel.prompt, *answers)
            for duel in duels
            for answers in ((duel.ours, duel.theirs), (duel.theirs, duel.ours))
        ]
        told, lock = [0], threading.Lock()

        def ask(client: httpx.Client, question: str) -> Ruling | None:
            found = self._ask(client, question)
            with lock:
                told[0] += 1
                if progress is not None:
                    progress("judging", told[0], len(questions))
            return found

        rulings = self._endpoint.ask_all(ask, questions)
        return [weigh_orders(*both) for both in zip(rulings[::2], rulings[1::2], strict=True)]

    def _ask(self, client: httpx.Client, question: str) -> Ruling | None:
        name = digest([self._spec.model or self._spec.url, INSTRUCTIONS, question])
        kept = recall(self._cache, name)
        if kept is not None and (known := read_ruling(json.dumps(kept))) is not None:
            return known
        post = partial(self._endpoint.post, client)
        for asked in (question, question + REMINDER):
            reply = post(
                {
                    "messages": [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": asked}],
                    "temperature": 0,
                    "max_tokens": MAX_REPLY_TOKENS,
                    "stream": False,
                }
            )
            if reply is None:
                return None
            ruling = read_ruling(reply)
            if ruling is not None:
                keep(self._cache, name, ruling.model_dump())
                return ruling
        return None


def read_ruling(reply: str) -> Ruling | None:
    """The reply as a ruling; `None` where it is not exactly one. A code fence around it is taken off."""
    text = reply.strip()
    if wrapped := _WRAPPED.fullmatch(text):
        text = wrapped[1]
    try:
        return Ruling.model_validate(json.loads(text, object_pairs_hook=_refuse_repeats))
    except (ValueError, ValidationError, RecursionError):
        return None


def weigh_orders(ours_first: Ruling | None, theirs_first: Ruling | None) -> Opinion:
    """One opinion from the rulings of both orders."""
    places = tuple(None if each is None else _PLACES[each.winner] for each in (ours_first, theirs_first))
    if ours_first is None or theirs_first is None:
        return Opinion(None, "no valid verdict in one order or both", (places[0], places[1]))
    once = {"A": 1.0, "B": 0.0, "tie": TIE}[ours_first.winner]
    again = {"A": 0.0, "B": 1.0, "tie": TIE}[theirs_first.winner]
    if once != again:
        return Opinion(TIE, "the verdict changes with the order", (places[0], places[1]))
    return Opinion(once, " ".join(ours_first.reason.split()), (places[0], places[1]))


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
