"""What a worker serves itself, behind the front door; everything else is passed on to the keeper."""

from __future__ import annotations

from flytewheel.settings import Settings
from router.access.bodies import IMAGES_FACTOR
from router.access.callers import SERVE
from router.access.keys import Keys
from router.access.origins import Origins
from router.access.rates import Rates
from router.duels import DuelEndpoint
from router.front import Endpoint, Front
from router.paths import DUELS
from router.protocols import PROTOCOLS
from router.proxy import ChatProxy
from router.state import RouterState


def make_app(settings: Settings, state: RouterState, access: tuple[Keys, Rates], keeper: Endpoint) -> Front:
    """The worker's application; `keeper` serves what it does not, behind a front door of its own."""
    keys, rates = access
    front = Front(
        keeper, door=keys, meter=rates, origins=Origins(settings.cors_origins), body_limit=settings.body_limit
    )
    proxy = ChatProxy(state, rates)
    state.closing.append(proxy.shadows.close)
    for path in PROTOCOLS:
        front.add(path, ("POST",), SERVE, proxy, body_limit=IMAGES_FACTOR * settings.body_limit)
    front.add(
        DUELS, ("POST",), SERVE, DuelEndpoint(state, proxy, rates), body_limit=IMAGES_FACTOR * settings.body_limit
    )
    state.feedback.add_to(front)
    return front
