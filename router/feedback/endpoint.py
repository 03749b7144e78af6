"""`POST /v1/feedback` and `/api/feedback`: bare ASGI from the body to the answer.

One item is answered by itself: 201 stored, 200 known already or nothing in it, or its refusal. A batch is taken item by
item: 200 with a result for each, in order, as soon as one of them was taken; when all are refused, the status that they
share, else 422. Nothing is said to be stored before the log has committed or spooled it, and a batch that the log
cannot take is refused whole (503), to be sent again: ids make that safe.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from flytewheel.database import connect
from flytewheel.errors import DatabaseError, FeedbackError
from flytewheel.feedback.signals import needs_question
from router.access.callers import FEEDBACK, caller_of
from router.asgi import HEADERS, Receive, Scope, Send, read_body
from router.feedback.events import Made, make_event, make_observed
from router.feedback.proof import Interactions, Known, prove
from router.feedback.rewards import RewardHub
from router.feedback.wire import Item, read_items
from router.log import Log, LogFullError, Outcome
from router.metrics import Metrics
from router.receipts import Receipt, ReceiptBook
from router.refusals import RefusedError

_RECEIPT = b"x-flytewheel-receipt"
_JSON = (b"content-type", b"application/json")
_REMEMBERED_BYTES = 8 << 20  # of bodies with their names, some 15,000
_BESIDE_BODY = 250  # bytes: an id, two objects, a place in the table
_BODIES = "SELECT event_id, body::text FROM feedback_events WHERE event_id = ANY(%s)"

_TAKEN = ("stored", "duplicate")
Proofs = dict[tuple[str, str | None], Receipt | None]
_Taken = tuple[str, bool, list[Made]]  # an item: its interaction, whether it is a view, its events


class FeedbackEndpoint:
    """The ASGI endpoint; what it refuses it raises, and the front door says it.

    Args:
        database_url: where a conflict is looked at.
        receipts: reads receipts.
        log: stores events.
        interactions: looks up what comes with a key alone.
        hub: is told of what was stored.
        metrics: counts it.
        clock: now, aware.
    """

    def __init__(
        self,
        database_url: str,
        *,
        receipts: ReceiptBook,
        log: Log,
        interactions: Interactions,
        hub: RewardHub,
        metrics: Metrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = database_url
        self._receipts = receipts
        self._log = log
        self._interactions = interactions
        self._hub = hub
        self._metrics = metrics
        self._clock = clock
        self._undated: dict[str, bytes] = {}  # event: the body that was stored under it, where its time is ours
        self._undated_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await read_body(receive)
        if raw is None:
            return
        many, items = read_items(raw)
        del raw
        headers = scope[HEADERS] if HEADERS in scope else dict(scope["headers"])
        receipt = headers.get(_RECEIPT)
        taken = self.take(
            items,
            keyed=FEEDBACK in caller_of(scope).scopes,
            receipt=receipt.decode("latin-1") if receipt is not None else None,
        )
        del items  # what was sent need not wait for the commit: 2 kB an event, of thousands that are under way
        results = await taken
        status, body = _answer_batch(results) if many else _answer_one(results[0])
        raw = orjson.dumps(body)
        own = [_JSON, (b"content-length", b"%d" % len(raw))]
        await send({"type": "http.response.start", "status": status, "headers": own})
        await send({"type": "http.response.body", "body": raw})

    async def take(
        self, items: Sequence[Item | RefusedError], *, keyed: bool, receipt: str | None = None
    ) -> list[dict[str, Any] | RefusedError]:
        """Stores what may be stored; a result for each item, in order.

        Args:
            items: as `read_items` gives them.
            keyed: whether the sender holds a key with the scope `feedback`.
            receipt: of items that bring none.

        Raises:
            RefusedError: 503, nothing could be stored.
        """
        now = self._clock()
        proven, refused = self._prove_all(items, receipt, keyed=keyed, now_s=now.timestamp())
        known, away = await self._look_up(items, proven, refused)
        made: list[_Taken | RefusedError] = []
        for place, item in enumerate(items):
            if place in refused or isinstance(item, RefusedError):
                made.append(refused[place])
                continue
            try:
                row = _make(item, proven[place], known, away, now)
            except RefusedError as error:
                made.append(error)
            else:
                made.append((item.interaction_id, item.observed is not None, row))
        del items, proven, known
        told = iter(await self._store([each for one in made if isinstance(one, tuple) for each in one[2]]))
        return [
            one if isinstance(one, RefusedError) else _tell(one[0], one[1], [(each, next(told)) for each in one[2]])
            for one in made
        ]

    def _prove_all(
        self, items: Sequence[Item | RefusedError], receipt: str | None, *, keyed: bool, now_s: float
    ) -> tuple[list[Receipt | None], dict[int, RefusedError]]:
        """What each item's receipt says (None: a key opens the door), and who is refused."""
        proven: list[Receipt | None] = []
        refused: dict[int, RefusedError] = {}
        seen: Proofs = {}
        for place, item in enumerate(items):
            given = None
            if isinstance(item, RefusedError):
                refused[place] = item
            else:
                key = (item.interaction_id, item.receipt if item.receipt is not None else receipt)
                given = seen.get(key)
                if given is None:
                    try:
                        given = seen[key] = prove(self._receipts, *key, keyed=keyed, now_s=now_s)
                    except RefusedError as error:
                        refused[place] = error
            proven.append(given)
        return proven, refused

    async def _look_up(
        self,
        items: Sequence[Item | RefusedError],
        proven: Sequence[Receipt | None],
        refused: Mapping[int, RefusedError],
    ) -> tuple[Mapping[str, Known], RefusedError | None]:
        """The interactions that must be read, or why they cannot be."""
        names = [
            item.interaction_id
            for place, item in enumerate(items)
            if place not in refused
            and isinstance(item, Item)
            and (proven[place] is None or (item.observed is not None and needs_question(item.to_view(item.question))))
        ]
        if not names:
            return {}, None
        try:
            return await self._interactions.find(names), None
        except RefusedError as error:
            return {}, error

    async def _store(self, events: Sequence[Made]) -> list[Outcome]:
        if not events:
            return []
        try:
            outcomes = await self._log.store_events([each.row for each in events])
        except LogFullError as error:
            raise RefusedError(503, "server_error", f"the feedback cannot be stored now: {error}") from None
        if "conflict" in outcomes:
            outcomes = await self._settle_conflicts(events, outcomes)
        stored: Sequence[Made] = events
        if outcomes.count("stored") < len(events):
            stored = [each for each, outcome in zip(events, outcomes, strict=True) if outcome == "stored"]
        self._remember(stored)
        self._count(stored, self._hub.publish(stored))
        return outcomes

    def _count(self, stored: Sequence[Made], values: Sequence[float]) -> None:
        """Counts what was stored; most of a batch is alike."""
        alike: dict[tuple[Any, ...], int] = {}
        for each, value in zip(stored, values, strict=True):
            given, tier = each.given, each.metadata.get("user_tier") if each.metadata else None
            told = tier if type(tier) is str else bool(tier)
            key = (each.row.feedback_type, value, told, given.experiment_id, given.source, given.version, given.arm)
            alike[key] = alike.get(key, 0) + 1
        for (kind, value, tier, experiment_id, name, version, arm), times in alike.items():
            self._metrics.count_feedback(
                kind,
                value,
                tier=tier,
                experiment_id=experiment_id,
                name=name,
                version=version,
                arm=arm,
                times=times,
            )

    async def _settle_conflicts(self, events: Sequence[Made], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """A repeat whose time is ours says the same; of what was observed the first stands."""
        settled = list(outcomes)
        doubtful: dict[str, list[int]] = {}
        for place, (made, outcome) in enumerate(zip(events, outcomes, strict=True)):
            if outcome == "conflict" and made.observed:
                settled[place] = "duplicate"
            elif outcome == "conflict" and not made.dated:
                said = self._undated.get(made.row.event_id)
                if said is not None and _undate(json.loads(said)) == _undate(json.loads(made.row.body)):
                    settled[place] = "duplicate"  # also where it waits in the spool, out of the database's reach
                else:
                    doubtful.setdefault(made.row.event_id, []).append(place)
        if doubtful:
            for event_id, body in (await asyncio.to_thread(self._read_bodies, list(doubtful))).items():
                for place in doubtful[event_id]:
                    if _undate(json.loads(events[place].row.body)) == _undate(json.loads(body)):
                        settled[place] = "duplicate"
        return settled

    def _remember(self, stored: Sequence[Made]) -> None:
        """Keeps what repeats are compared with that come while the event waits in the spool."""
        for each in stored:
            if not each.dated:
                self._undated[each.row.event_id] = each.row.body
                self._undated_bytes += len(each.row.body) + _BESIDE_BODY
        if self._undated_bytes > _REMEMBERED_BYTES:
            self._undated.clear()
            self._undated_bytes = 0

    def _read_bodies(self, names: list[str]) -> dict[str, str]:
        try:
            with connect(self._url) as connection:
                return dict(connection.execute(_BODIES, (names,)).fetchall())
        except DatabaseError as error:
            raise RefusedError(503, "server_error", str(error)) from None


def _make(
    item: Item, proven: Receipt | None, known: Mapping[str, Known], away: RefusedError | None, now: datetime
) -> list[Made]:
    found = known.get(item.interaction_id)
    given = proven if proven is not None else found.given if found is not None else None
    if given is None:
        raise away or RefusedError(404, "not_found_error", f"no interaction {item.interaction_id[:200]!r}")
    try:
        if item.observed is None:
            return [make_event(item, given, now)]
        question = item.question
        if question is None and needs_question(item.to_view(None)):
            if away is not None:
                raise away
            question = found.question if found is not None else ""
        return list(make_observed(item, given, question))
    except FeedbackError as error:
        raise RefusedError(422, "invalid_request_error", str(error).removeprefix("FeedbackEvent refused: ")) from None


def _undate(body: Any) -> Any:
    return {key: value for key, value in body.items() if key != "timestamp"}


def _tell(interaction_id: str, observed: bool, stored: Sequence[tuple[Made, Outcome]]) -> dict[str, Any] | RefusedError:
    """The result of one item."""
    if not observed and stored[0][1] in _TAKEN:
        return {"status": stored[0][1], "event_id": stored[0][0].row.event_id}
    if any(outcome == "unknown" for _, outcome in stored):
        return RefusedError(404, "not_found_error", f"no interaction {interaction_id[:200]!r}")
    if not observed:
        name = stored[0][0].row.event_id[:200]
        said = f"conflict: event_id {name!r} is stored with another body; send this one under its own id"
        return RefusedError(409, "invalid_request_error", said)
    signals = [
        {"feedback_type": made.row.feedback_type, "event_id": made.row.event_id, "status": outcome}
        for made, outcome in stored
    ]
    fresh = any(outcome == "stored" for _, outcome in stored)
    return {"status": "stored" if fresh else "duplicate" if signals else "nothing", "signals": signals}


def _answer_one(result: dict[str, Any] | RefusedError) -> tuple[int, dict[str, Any]]:
    if isinstance(result, RefusedError):
        raise result
    return (201 if result["status"] == "stored" else 200), result


def _answer_batch(results: Sequence[dict[str, Any] | RefusedError]) -> tuple[int, dict[str, Any]]:
    codes = {result.status for result in results if isinstance(result, RefusedError)}
    told = [
        {"status": "refused", "code": result.status, "message": str(result)}
        if isinstance(result, RefusedError)
        else result
        for result in results
    ]
    refused = sum(isinstance(result, RefusedError) for result in results)
    status = 200 if refused < len(results) else codes.pop() if len(codes) == 1 else 422
    return status, {"accepted": len(results) - refused, "refused": refused, "results": told}
