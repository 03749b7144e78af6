"""Every rollback adds cases: what people disliked most of the version that was taken back must not come again.

Decides which answers: the treatment's, in an experiment whose rollout was rolled back (not one that was only superseded
by the next launch, which says nothing against it), that their own readers corrected, gave a thumb down or one or two
stars, and did not like after all. What curation put into quarantine is no reader's opinion. The worst first, one a user
before anybody's second, `MOST` an experiment: a crowd of one cannot fill the suite.

A corrected answer becomes the case that its correction would become anywhere; of one that was only disliked its own
line is forbidden (`expectations.expect_otherwise`), told from the answers of the control and from liked ones. Looked
through once for each experiment.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from flytewheel.database import Connection, connect
from flytewheel.pii import redact_conversation
from flytewheel.records import (
    TEXT_NOT_KEPT,
    FeedbackEvent,
    FeedbackType,
    Interaction,
    Message,
    RegressionCase,
    build_prompt,
    explain_missing_text,
)
from flytewheel.suite.cases import SUITE
from flytewheel.suite.expectations import Background, Expectation, expect_correction, expect_otherwise
from flytewheel.suite.store import put_cases

MOST = 20  # cases of one experiment
BACKGROUND = 2_000  # answers that a line is told from

_ROLLED_BACK = """
SELECT r.experiment_id FROM rollouts r
WHERE r.name = %(name)s AND r.state = 'rolled_back'
    AND NOT EXISTS (SELECT FROM suite_rollbacks s WHERE s.experiment_id = r.experiment_id)
    AND EXISTS (
        SELECT FROM rollout_log l WHERE l.rollout_id = r.rollout_id AND l.action IN ('roll_back', 'stopped', 'abort')
    )
ORDER BY r.experiment_id COLLATE "C"
"""
_REACTIONS = """
SELECT i.body, e.body FROM interactions i
JOIN feedback_events e ON e.interaction_id = i.interaction_id AND e.user_id = i.user_id
WHERE i.body ->> 'experiment_id' = %(experiment)s
    AND e.feedback_type IN ('thumbs_up', 'thumbs_down', 'rating', 'correction')
    AND NOT EXISTS (
        SELECT FROM held_votes h LEFT JOIN released_votes r USING (series, event_id)
        WHERE h.event_id = e.event_id AND r.event_id IS NULL
    )
ORDER BY i."timestamp", i.interaction_id COLLATE "C", e."timestamp", e.event_id COLLATE "C"
"""
_CONTROL = """
SELECT body ->> 'response' FROM interactions
WHERE body ->> 'experiment_id' = %(experiment)s AND body ->> 'arm' = 'control'
ORDER BY "timestamp" DESC, interaction_id COLLATE "C" LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class People:
    """How users stand in data sets: the names they have there, and whether training keeps away from their prompts."""

    mask: Callable[[Iterable[str]], Mapping[str, str]]
    is_held_out: Callable[[str], bool]


@dataclass(slots=True)
class Growth:
    """Cases that came in, and why answers did not become cases."""

    added: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {"added": self.added, "left_out": dict(self.left_out)}


@dataclass(slots=True)
class _Answer:
    served: Interaction
    events: list[FeedbackEvent]

    @property
    def correction(self) -> FeedbackEvent | None:
        given = [event for event in self.events if (event.corrected_response or "").strip() not in ("", TEXT_NOT_KEPT)]
        return given[-1] if given else None

    @property
    def dislike(self) -> float:
        """How much its reader disliked it: the last thumb or rating, and half as much again for a correction."""
        scores = [score for event in self.events if (score := _score(event)) is not None]
        last = scores[-1] if scores else 0.0
        return max(0.0, -last) + (0.5 if self.correction is not None and last <= 0 else 0.0)


def grow_from_rollbacks(
    database_url: str, name: str, people: People, *, system_prompt: str | None = None, most: int = MOST
) -> Growth:
    """Adds the cases of every rollback of model `name` that was not looked through yet.

    Args:
        database_url: PostgreSQL.
        name: of the model.
        people: names and parts of users.
        system_prompt: the recipe's, which opens every prompt.
        most: cases of one experiment.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    growth = Growth()
    with connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"suite:{name}",))
        for (experiment,) in connection.execute(_ROLLED_BACK, {"name": name}).fetchall():
            own = Growth()
            made = _make_cases(connection, str(experiment), people, system_prompt, most, own)
            own.added = put_cases(connection, name, made)
            own.left_out["has a case"] = len(made) - len(own.added)
            own.left_out = +own.left_out
            connection.execute(
                "INSERT INTO suite_rollbacks (experiment_id, report) VALUES (%s, %s)",
                (experiment, Jsonb(own.to_json())),
            )
            growth.added += own.added
            growth.left_out += own.left_out
    return growth


def _make_cases(
    connection: Connection, experiment: str, people: People, system: str | None, most: int, growth: Growth
) -> list[RegressionCase]:
    answers = []
    for answer in _read_answers(connection, experiment):
        if missing := explain_missing_text(answer.served):
            growth.left_out[missing] += 1
        else:
            answers.append(answer)
    treated = [answer for answer in answers if answer.served.arm == "treatment" and not _is_controls(answer.served)]
    liked = [answer.served.response for answer in answers if answer.events and answer.dislike == 0]
    control = [row[0] for row in connection.execute(_CONTROL, {"experiment": experiment, "most": BACKGROUND})]
    may_be_said = Background.of([*control, *liked[:BACKGROUND]])
    cases: list[RegressionCase] = []
    prompts: set[tuple[Message, ...]] = set()
    for answer in _order(treated):
        if len(cases) >= most:
            growth.left_out["enough cases of the rollback"] += 1
            continue
        case = _make_case(answer, experiment, people, system, may_be_said)
        if case is None:
            growth.left_out["nothing that can be checked"] += 1
        elif case.prompt in prompts:
            growth.left_out["prompt has a case"] += 1
        else:
            prompts.add(case.prompt)
            cases.append(case)
    return cases


def _read_answers(connection: Connection, experiment: str) -> list[_Answer]:
    found: dict[str, _Answer] = {}
    for interaction, event in connection.execute(_REACTIONS, {"experiment": experiment}):
        served = Interaction.model_validate(interaction)
        found.setdefault(served.interaction_id, _Answer(served, [])).events.append(FeedbackEvent.model_validate(event))
    return list(found.values())


def _order(answers: Sequence[_Answer]) -> list[_Answer]:
    """Disliked answers, one a user before anybody's second, the worst first."""
    worst = sorted(
        (answer for answer in answers if answer.dislike > 0), key=lambda one: (-one.dislike, one.served.interaction_id)
    )
    turns: defaultdict[str, int] = defaultdict(int)
    ranked = []
    for answer in worst:
        ranked.append((turns[answer.served.user_id], answer))
        turns[answer.served.user_id] += 1
    return [answer for _, answer in sorted(ranked, key=lambda pair: pair[0])]


def _make_case(
    answer: _Answer, experiment: str, people: People, system: str | None, may_be_said: Background
) -> RegressionCase | None:
    one, correction = answer.served, answer.correction
    texts = [*(turn.content for turn in one.history), one.query, one.response, one.context or ""]
    clean, _ = redact_conversation([*texts, (correction.corrected_response or "") if correction else ""])
    before = len(one.history)
    query, response, context, wanted = clean[before:]
    history = [Message(role=turn.role, content=text) for turn, text in zip(one.history, clean[:before], strict=True)]
    prompt = build_prompt(query, system=system, context=context or None, history=history)
    event = correction or answer.events[-1]
    check: Expectation | None
    if correction is not None:
        check = expect_correction(wanted, response)
    else:
        check = expect_otherwise(response, "\n".join(turn.content for turn in prompt), may_be_said)
    if check is None:
        return None
    user = people.mask([one.user_id])[one.user_id]
    return RegressionCase(
        f"{one.interaction_id}/case"[-200:],
        user,
        one.topic or SUITE,
        prompt,
        check.check,
        check.expected,
        threshold=check.threshold,
        ignore_case=check.ignore_case,
        origin="rollback",
        held_out=people.is_held_out(user),
        note=experiment,
        interactions=(one.interaction_id,),
        events=(event.event_id,),
    )


def _is_controls(served: Interaction) -> bool:
    """Whether the treatment failed and the control's answer was served in its place."""
    return bool(served.metadata.get("fallback"))


def _score(event: FeedbackEvent) -> float | None:
    """-1 to 1, as `feedback` scores thumbs and ratings."""
    if event.feedback_type is FeedbackType.RATING:
        return None if event.rating is None else (event.rating - 3) / 2
    return {FeedbackType.THUMBS_UP: 1.0, FeedbackType.THUMBS_DOWN: -1.0}.get(event.feedback_type)
