"""Flyte shells of the stations, one file each: materialise inputs, call the core, write the deck, return.

Flyte's local cache is off unless asked for: it keeps outputs as paths under the temporary folder and fails, rather than
misses, when these are gone. On a cluster the tasks' `cache_version` counts as usual.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

from flytekit import Secret
from flytekit.core.resources import Resources
from flytekit.deck import DeckField

# Recipes are frozen, so their lists are tuples; flytekit says of each that it has no Flyte type of its own and
# then carries it.
logging.getLogger("flytekit").addFilter(
    lambda record: "cannot be converted to a literal type" not in record.getMessage()
)
os.environ.setdefault("FLYTE_LOCAL_CACHE_ENABLED", "false")

# Keys of the Kubernetes secret `flytewheel` on a cluster; on one machine the same variables, or the embedded services.
_KEYS = {
    name: Secret(
        group="flytewheel", key=name, env_var=f"FLYTEWHEEL_{name.upper()}", mount_requirement=Secret.MountType.ENV_VAR
    )
    for name in (
        "database_url",
        "s3_url",
        "s3_access_key",
        "s3_secret_key",
        "router_url",
        "admin_key",
        "api_key",
        "assignment_key",
        "trusted_keys",
        "signing_key",
        "erasure_key",
    )
}
SIGNING_SECRETS = list(_KEYS.values())  # only the task that registers may sign
SECRETS = [secret for name, secret in _KEYS.items() if name != "signing_key"]
# The default deck also lists every installed package, 1.8 s a task.
DECK: dict[str, Any] = {"enable_deck": True, "deck_fields": (DeckField.INPUT, DeckField.OUTPUT)}
SMALL = Resources(cpu="1", mem="2Gi")
LARGE_MEMORY = Resources(cpu="2", mem="8Gi")
LARGE = Resources(cpu="8", mem="64Gi", gpu="1")
SHORT, LONG = timedelta(hours=1), timedelta(hours=12)
