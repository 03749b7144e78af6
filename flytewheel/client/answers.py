"""An answer, and the proof that one was given it; proofs are kept by the answer's id."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flytewheel.errors import RouterError

KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What the router said of an answer; `text` and `body` only where this client asked for it.

    `arm` is the experiment's, `version` who answered; `unit` what the arm was chosen by: user, cookie, API key …
    """

    interaction_id: str
    receipt: str
    version: str = ""
    arm: str = ""
    unit: str = ""
    text: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


def read_answer(headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> Answer:
    """The answer that response headers tell of (a mapping that ignores case, as those of httpx and requests do).

    Raises:
        RouterError: they are not a router's.
    """
    found = {name: headers.get(f"x-flytewheel-{name}") for name in ("interaction", "receipt", "version", "arm", "unit")}
    if not found["interaction"] or not found["receipt"]:
        raise RouterError(
            "expected the headers x-flytewheel-interaction and x-flytewheel-receipt of a routed model's answer;"
            " is the model's name flytewheel/<name>, and the address the router's?"
        )
    text = ""
    if body is not None:
        choice = (body.get("choices") or [{}])[0]
        text = (choice.get("message") or {}).get("content") or choice.get("text") or ""
    return Answer(
        found["interaction"],
        found["receipt"],
        found["version"] or "",
        found["arm"] or "",
        found["unit"] or "",
        text,
        body or {},
    )


class Proofs:
    """Receipts of the latest answers, by their ids."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._receipts: OrderedDict[str, str] = OrderedDict()

    def keep(self, answer: Answer) -> Answer:
        """Keeps an answer's receipt; the oldest go first."""
        self._receipts[answer.interaction_id] = answer.receipt
        self._receipts.move_to_end(answer.interaction_id)
        while len(self._receipts) > self._most:
            self._receipts.popitem(last=False)
        return answer

    def find(self, answer: Answer | str) -> tuple[str, str | None]:
        """The id of an answer, and its receipt where it is known: a key with the scope `feedback` needs none."""
        if isinstance(answer, Answer):
            return answer.interaction_id, answer.receipt
        return answer, self._receipts.get(answer)
