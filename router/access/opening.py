"""Makes what the front door asks from the settings: the keys and the meter."""

from __future__ import annotations

import logging

from flytewheel.errors import SettingsError
from flytewheel.settings import Settings
from router.access.keys import Keys
from router.access.rates import Rates
from router.paths import name_rates

logger = logging.getLogger("router.access")

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_openness(settings: Settings, host: str) -> None:
    """Sees that a router without keys is nobody's but this machine's, and says so in the log.

    Args:
        settings: `insecure_loopback` opens it.
        host: that the router listens on.

    Raises:
        SettingsError: it would be open to other machines.
    """
    if not settings.insecure_loopback:
        return
    if host not in LOOPBACK:
        raise SettingsError(
            f"--insecure-loopback lets everybody chat who reaches this router, and {host} is reached by other machines:"
            " leave it out and give out keys (`flytewheel keys create`), or listen on 127.0.0.1"
        )
    logger.warning("no key is asked for: every program of this machine may chat, react and read (--insecure-loopback)")


def open_access(settings: Settings) -> tuple[Keys, Rates]:
    """The keys (none yet but the root key) and the meter of a router with checked settings."""
    assert settings.admin_key is not None
    assert settings.assignment_key is not None
    keys = Keys(settings.admin_key.get_secret_value().encode(), loopback=settings.insecure_loopback)
    rates = Rates(name_rates(settings.home), settings.assignment_key.get_secret_value().encode())
    return keys, rates
