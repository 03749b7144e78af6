"""Opens what a process needs to take feedback, and says which paths it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from router.access.callers import PROOF, PUBLIC, READ
from router.asgi import Receive, Scope, Send
from router.feedback.endpoint import FeedbackEndpoint
from router.feedback.grounding import Grounding
from router.feedback.link import RewardLink
from router.feedback.proof import Interactions
from router.feedback.rewards import RewardHub
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


@cache
def read_snippet() -> bytes:
    """The JavaScript that teams put on their pages."""
    return (files("router") / "pages" / "feedback.js").read_bytes()


async def send_snippet(scope: Scope, receive: Receive, send: Send) -> None:
    """`GET /v1/feedback.js`: public, for pages of any origin: a script is no secret."""
    body = read_snippet()
    headers = [
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"public, max-age=3600"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})
