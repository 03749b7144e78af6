"""Whether services do their work, asked from outside, and under which address."""

from __future__ import annotations

from flytewheel.database import connect
from flytewheel.errors import RouterError
from flytewheel.local import objects, postgres
from flytewheel.local.processes import LOOPBACK
from flytewheel.local.state import Services, assemble, loopback_url
from flytewheel.settings import Settings
from registry.store import ObjectStore


def router_answers(url: str) -> bool:
    """Whether `/healthz` says 200 within two seconds."""
    import httpx

    try:
        # A proxy configured for the outside world must not be asked for an address of this machine.
        return httpx.get(f"{url.rstrip('/')}/healthz", timeout=2, trust_env=LOOPBACK not in url).status_code == 200
    except httpx.HTTPError:
        return False


def set_workers(url: str, admin_key: str, count: int) -> None:
    """Has a running router answer with so many processes; it goes on answering meanwhile.

    Raises:
        RouterError: it does not.
    """
    import httpx

    try:
        answer = httpx.put(
            f"{url}/workers",
            json={"count": count},
            headers={"authorization": f"Bearer {admin_key}"},
            timeout=60,
            trust_env=False,
        )
        said = answer.text if answer.status_code != 200 else None
        if answer.status_code == 202:
            said = f"{answer.json()['serving']} of them serve yet, its log says why"
    except httpx.HTTPError as error:
        said = str(error)
    if said is not None:
        raise RouterError(f"the router at {url} does not take {count} workers: {said}")


def check_configured(settings: Settings) -> None:
    """Asks the services that the settings name.

    Raises:
        DatabaseError, StoreError, RouterError: one of them is away.
    """
    if settings.database_url:
        with connect(settings.database_url):
            pass
    if settings.s3_url:
        there = assemble(settings, None)
        keys = (there.s3_access_key, there.s3_secret_key)
        ObjectStore(there.s3_url, *keys, there.s3_bucket, there.s3_region).ensure_bucket()
    if settings.router_url and not router_answers(settings.router_url):
        raise RouterError(
            f"the router at {settings.router_url} does not answer /healthz; start it, "
            "or unset FLYTEWHEEL_ROUTER_URL for the embedded one"
        )


def service_answers(name: str, services: Services) -> bool:
    """Whether a part of the stack answers."""
    if name == "postgres":
        return postgres.answers(services.database_url)
    if name == "objects":
        return objects.answers(services.s3_url, services.s3_access_key, services.s3_secret_key, services.s3_bucket)
    return router_answers(services.router_url)


def spell_address(name: str, port: int) -> str:
    """Where a part of the stack is, without passwords."""
    return f"{LOOPBACK}:{port}/{postgres.DATABASE}" if name == "postgres" else loopback_url(port)
