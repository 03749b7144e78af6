"""Makes what the front door asks from the settings: the keys and the meter."""

from __future__ import annotations

from flytewheel.settings import Settings
from router.access.keys import Keys
from router.access.rates import Rates


def open_access(settings: Settings) -> tuple[Keys, Rates]:
    """The keys (none yet but the root key) and the meter of a router with checked settings."""
    assert settings.admin_key is not None
    assert settings.assignment_key is not None
    keys = Keys(settings.admin_key.get_secret_value().encode(), loopback=settings.insecure_loopback)
    rates = Rates(settings.home / "router" / "rates", settings.assignment_key.get_secret_value().encode())
    return keys, rates
