"""Opens what a process needs to take feedback, and says which paths it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from router.access.callers import PROOF, PUBLIC, READ
from router.feedback.endpoint import FeedbackEndpoint
from router.feedback.grounding import Grounding
from router.feedback.link import RewardLink
from router.feedback.proof import Interactions
from router.feedback.rewards import RewardHub, Subscriber
from router.feedback.snippet import send_snippet
from router.feedback.stream import RewardStream
from router.feedback.wire import BODY_LIMIT
from router.front import Front
from router.log import Log
from router.metrics import Metrics
from router.receipts import ReceiptBook

PATHS = ("/v1/feedback", "/api/feedback")
SNIPPET = "/v1/feedback.js"


class Owner(Protocol):
    """What of a process's state feedback rests on."""

    @property
    def database_url(self) -> str: ...
    @property
    def receipts(self) -> ReceiptBook: ...
    @property
    def log(self) -> Log: ...
    @property
    def metrics(self) -> Metrics: ...


@dataclass(frozen=True, slots=True)
class FeedbackRoom:
    """The parts that live as long as the process."""

    interactions: Interactions
    hub: RewardHub
    link: RewardLink
    grounding: Grounding
    endpoint: FeedbackEndpoint

    def add_to(self, front: Front) -> None:
        """Registers the endpoints."""
        for path in PATHS:
            front.add(path, ("POST",), PROOF, self.endpoint, body_limit=BODY_LIMIT)
        front.add("/v1/rewards", ("GET",), READ, RewardStream(self.hub, self.link))
        front.add(SNIPPET, ("GET", "HEAD"), PUBLIC, send_snippet)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls `subscriber` with every stored reward, whichever process stored it; returns what ends that."""
        self.link.start_listening()
        return self.hub.subscribe(subscriber)

    async def close(self) -> None:
        """Ends what runs in the background."""
        for part in (self.grounding, self.link, self.interactions):
            await part.close()


def open_feedback(owner: Owner, names: Callable[[], Iterable[str]]) -> FeedbackRoom:
    """Opens the parts; to be called inside the event loop. `names`: the model names that are served now."""
    interactions = Interactions(owner.database_url, owner.log.settled)
    hub = RewardHub()
    endpoint = FeedbackEndpoint(
        owner.database_url,
        receipts=owner.receipts,
        log=owner.log,
        interactions=interactions,
        hub=hub,
        metrics=owner.metrics,
    )
    link = RewardLink(owner.database_url, hub, names)
    return FeedbackRoom(interactions, hub, link, Grounding(owner.database_url, owner.metrics), endpoint)
