"""What passes between the stations: frozen records, the same in files, in PostgreSQL and in memory.

Stations never import each other; they agree on the shapes below. Times are timezone-aware UTC. Rewards are in [-1, 1].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

PARTS = ("train", "validation", "test")
HOLDOUT = "holdout"  # users who are never trained or tuned on, in any week
TEXT_NOT_KEPT = "[text not kept]"  # stands where a record needs a text and the router is set to keep none
NO_TEXT = "[no text]"  # stands for a prompt that held none: pictures alone, token ids
REVIEWED = "review/"  # opens the ids of interactions that a closed review stored; nobody is given a receipt for them


def _refuse_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number from 1 to 5; a yes or no is a thumb")
    return value


# `true` would count as 1: the worst rating of all.
Rating = Annotated[float, Field(ge=1, le=5, allow_inf_nan=False), BeforeValidator(_refuse_truth)]


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class FeedbackType(StrEnum):
    """Every reaction that is understood; the first eight are said, the others observed."""

    THUMBS_UP = "thumbs_up"
    THUMBS_DOWN = "thumbs_down"
    RATING = "rating"
    CORRECTION = "correction"
    ABANDONMENT = "abandonment"
    FOLLOW_UP = "follow_up"
    EDIT = "edit"
    DUEL = "duel"
    REFORMULATION = "reformulation"
    ACCEPTED = "accepted"
    COPIED = "copied"
    CITATION_CLICK = "citation_click"
    READ_TIME = "read_time"


EXPLICIT_TYPES = frozenset(list(FeedbackType)[:8])
IMPLICIT_TYPES = frozenset(FeedbackType) - EXPLICIT_TYPES


class Interaction(BaseModel):
    """One served prompt and its answer.

    `history` holds the turns before `query` (a system message first, if there was one); `context` is the passage that
    the answer was to rest on. `propensity` is the logged probability of the arm served, in (0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    interaction_id: str = Field(min_length=1, max_length=200)
    session_id: str | None = None
    user_id: str = Field(min_length=1, max_length=200)
    timestamp: AwareDatetime
    query: str = Field(min_length=1)
    response: str
    context: str | None = None
    history: tuple[Message, ...] = ()
    topic: str | None = None
    model_version: str | None = None
    completed: bool = True
    latency_ms: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    experiment_id: str | None = None
    arm: str | None = None
    propensity: float | None = Field(default=None, gt=0, le=1)
    model_digest: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


def explain_missing_text(interaction: Interaction) -> str | None:
    """Why the prompt of a logged interaction is no text to learn from; None where it is one."""
    if interaction.query == TEXT_NOT_KEPT or interaction.metadata.get("text") == "none":
        return "text not kept"
    if interaction.query == NO_TEXT or interaction.metadata.get("no_text"):
        return "no text in the prompt"
    return None


class FeedbackEvent(BaseModel):
    """One reaction to one interaction.

    `rating` is 1 to 5 and given with type `rating` only; `corrected_response` with `correction` (what the answer should
    have been) and `edit` (what its reader made of it); `other_response` and `preferred` with `duel` only: the answer
    shown beside this one, blind, and which of both was liked. `comment` is what the person wrote about the answer.
    `metadata` may hold `seconds` (accepted: how long it took), `count` (citation_click), `read_s` and `expected_s`
    (read_time), `account_created_at` (ISO 8601).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: str = Field(min_length=1, max_length=200)
    interaction_id: str = Field(min_length=1, max_length=200)
    user_id: str = Field(min_length=1, max_length=200)
    feedback_type: FeedbackType
    timestamp: AwareDatetime
    rating: Rating | None = None
    corrected_response: str | None = None
    correction_type: Literal["factual", "style", "tone"] | None = None
    other_response: str | None = None
    preferred: Literal["this", "other", "tie"] | None = None
    comment: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SftRow:
    """A prompt with an answer worth imitating. `quality` is in [0, 1], `reward` in [-1, 1].

    Of every row `interactions` and `events` are the ids that it comes from, and `weight` what it counts in training.
    `surprise` is the champion's mean loss on the completion in nats a token, where it is known.
    """

    id: str
    user: str
    topic: str
    prompt: tuple[Message, ...]
    completion: str
    reward: float
    quality: float
    source: Literal["answer", "correction", "edit", "paraphrase", "replay", "canary"]
    interactions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    weight: float = 1.0
    surprise: float | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """One prompt, an answer preferred and one rejected. `margin` is the difference of rewards, in (0, 2].

    `source` says how the two came together; `similarity` how near their prompts are, in [0, 1].
    """

    id: str
    user: str
    topic: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    margin: float
    source: Literal["same_prompt", "near_prompt", "correction", "edit", "duel", "replay"]
    similarity: float = 1.0
    interactions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A prompt, an answer, and whether it was liked."""

    id: str
    user: str
    topic: str
    prompt: tuple[Message, ...]
    completion: str
    label: bool
    interactions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A session of several turns, as a row of its own.

    `messages` open with the system turn, if there was one; `rewards` has one entry for every assistant turn that this
    session's interactions served, in their order (`None`: nobody reacted), `reward` is the session's, both in [-1, 1].
    """

    id: str
    user: str
    topic: str
    messages: tuple[Message, ...]
    rewards: tuple[float | None, ...]
    reward: float | None
    interactions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegressionCase:
    """A prompt whose answer must pass a check, for ever.

    `check` says how `expected` is compared: `exact` (after stripping), `contains`, `regex` (searched), `numeric` (the
    answer's last number lies within `tolerance`), `similarity` (chrF of at least `threshold`), `forbidden` (must not be
    contained); see `flytewheel.suite.checks`. The answer is drawn `samples` times at `temperature`, and has to pass in
    a share of `min_pass_rate`. `held_out`: training keeps away from the prompt; else the prompt may be trained on, and
    the case says what must not be forgotten. `interactions` and `events` are the ids that it comes from.
    """

    id: str
    user: str
    topic: str
    prompt: tuple[Message, ...]
    check: Literal["exact", "contains", "regex", "numeric", "similarity", "forbidden"]
    expected: str
    samples: int = 1
    temperature: float = 0.0
    min_pass_rate: float = 1.0
    tolerance: float = 0.0
    threshold: float = 0.0
    ignore_case: bool = False
    origin: Literal["written", "correction", "rollback", "review"] = "written"
    held_out: bool = True
    note: str = ""
    interactions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a two-sided interval at `level`; `None` where it cannot be told."""

    estimate: float | None
    low: float | None
    high: float | None
    level: float = 0.95

    @property
    def known(self) -> bool:
        return self.estimate is not None and self.low is not None and self.high is not None


class Decision(StrEnum):
    """What the gate may say. `hold` means that it cannot tell yet."""

    PROMOTE_TO_CANARY = "promote_to_canary"
    HOLD = "hold"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision with every reason, for and against."""

    decision: Decision
    reasons: tuple[str, ...]
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReviewLabel:
    """What a person said of a duel, blind: the candidate's answer (`ours`), the champion's (`theirs`), or neither."""

    duel_id: str
    reviewer: str
    preferred: Literal["ours", "theirs", "tie"]


def duel_id(prompt: Iterable[Message], one: str, other: str) -> str:
    """Names a duel by its content: the digest of the prompt and both answers, whichever comes first."""
    return digest({"answers": sorted((one, other)), "prompt": list(prompt)})


def build_prompt(
    query: str, *, system: str | None = None, context: str | None = None, history: Iterable[Message] = ()
) -> tuple[Message, ...]:
    """Builds the messages of a prompt from its parts, in the one way that training, evaluation and traffic share.

    A system turn found in `history` wins over `system`; the context is appended to the system turn.
    """
    turns = list(history)
    if turns and turns[0].role == "system":
        system = turns.pop(0).content
    head = "\n\n".join(part for part in (system, f"Context:\n{context}" if context else None) if part)
    opening = (Message(role="system", content=head),) if head else ()
    return (*opening, *turns, Message(role="user", content=query))


def to_jsonable(value: Any) -> Any:
    """Turns records (dataclasses, pydantic models, tuples, paths, times) into what `json` can write."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {key: to_jsonable(item) for key, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the same value always gives the same bytes."""
    return json.dumps(
        to_jsonable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Writes one canonical JSON object a line; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("wb") as stream:
        for row in rows:
            stream.write(canonical_json(row) + b"\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Reads a file written by `write_jsonl`."""
    with path.open("rb") as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)
