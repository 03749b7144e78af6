"""Where a task finds the services, its secrets and environment, else the embedded stack of this machine; and which
execution it belongs to.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime

from flytekit import current_context
from flytekit.exceptions.user import FlyteRecoverableException

from flytewheel.announcements import announce_decision
from flytewheel.errors import DatabaseError, RouterError, StoreError
from flytewheel.experiment.rollout import Tick
from flytewheel.local.services import Services, ensure_services
from flytewheel.notify.message import Message
from flytewheel.notify.telling import Telling, tell
from flytewheel.recipe import Recipe
from flytewheel.settings import read_settings
from flytewheel.turn import open_store
from flytewheel.upkeep.retention import Place
from registry.collection import collect
from registry.versions import Registry

_PROCESS = secrets.token_hex(4)


def connect() -> Services:
    """The services of this task; starts the embedded stack when none is configured, and says where.

    Raises:
        FlyteRecoverableException: a service is away, on a cluster: Flyte tries a task again only where it is told so.
    """
    try:
        return ensure_services(read_settings(), announce=lambda line: print(line, flush=True))
    except (DatabaseError, StoreError, RouterError) as error:
        if current_context().execution_id.name == "local":
            raise
        raise FlyteRecoverableException(str(error)) from error


def name_fresh_start() -> str | None:
    """The execution, where it was asked to train anew; a task that is tried again has the same name and starts once."""
    return name_execution() if read_settings().fresh else None


def find_database() -> str:
    """The address of PostgreSQL alone: who notes a failure may not need the service that failed."""
    return read_settings().database_url or connect().database_url


def name_execution() -> str:
    """The execution's name. Flyte calls every local one `local`, though each is a process of its own: ours differ."""
    name = str(current_context().execution_id.name)
    return f"local-{_PROCESS}" if name == "local" else name


def is_on_cluster() -> bool:
    """Whether this task runs in a cluster's pod."""
    return os.environ.get("FLYTE_INTERNAL_EXECUTION_ID", "local") != "local"


def open_log() -> Registry:
    """The registry without a key to sign with: what is logged needs none."""
    return Registry(open_store(connect()))


def tell_people(recipe: Recipe, message: Message) -> tuple[Telling, ...]:
    """Tells a message by the channels of this task's environment, once; fails nothing."""
    settings = read_settings()
    try:
        database_url = find_database()
    except Exception:  # what is told may be that it is away
        database_url = None
    return tell(message, settings, database_url=database_url, mail_to=recipe.automation.notify.email)


def tell_decision(recipe: Recipe, ticked: Tick) -> None:
    """Tells people of a step of a release, once; of a hold nobody is told."""
    message = announce_decision(
        recipe.name,
        ticked.experiment_id,
        ticked.decision,
        ticked.reasons,
        fence=ticked.fence,
        at=datetime.now(UTC),
    )
    if message is not None:
        tell_people(recipe, message)


def locate_retained(services: Services, recipe: Recipe) -> Place:
    """Where retention looks, and the runs that the model's aliases came from."""
    store = open_store(services)
    registry = Registry(store)
    versions = registry.aliases(recipe.name).values()
    kept = frozenset(str(registry.show(recipe.name, version).facts.get("run_id", "")) for version in set(versions))
    return Place(services.database_url, store, services.home, kept, lambda: len(collect(store, apply=True).deleted))
