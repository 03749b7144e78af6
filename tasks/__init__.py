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
from flytekit.extras.accelerators import GPUAccelerator

from images import DOMAIN
from images.domain import Machine
from tasks.pods import LARGE_POD, POD

# Recipes are frozen, so their lists are tuples; flytekit says of each that it has no Flyte type of its own and
# then carries it.
logging.getLogger("flytekit").addFilter(
    lambda record: "cannot be converted to a literal type" not in record.getMessage()
)
os.environ.setdefault("FLYTE_LOCAL_CACHE_ENABLED", "false")

# Keys of the Kubernetes secret that the domain names; on one machine the same variables, or the embedded services.
_KEYS = {
    name: Secret(
        group=DOMAIN.secret_group,
        key=name,
        env_var=f"FLYTEWHEEL_{name.upper()}",
        mount_requirement=Secret.MountType.ENV_VAR,
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
        "slack_webhook",
        "pagerduty_key",
        "smtp_url",
        "mail_from",
        "mail_to",
    )
}
_SIGNS, _TELLS = {"signing_key"}, {"slack_webhook", "pagerduty_key", "smtp_url", "mail_from", "mail_to"}
SECRETS = [secret for name, secret in _KEYS.items() if name not in _SIGNS | _TELLS]
SIGNING_SECRETS = [*SECRETS, *(_KEYS[name] for name in sorted(_SIGNS))]  # only the task that registers may sign
TELLING_SECRETS = [*SECRETS, *(_KEYS[name] for name in sorted(_TELLS))]  # of tasks that tell people
# What every shell has: a pod that is not root, and a deck. The default deck also lists every package, 1.8 s a task.
PLAIN: dict[str, Any] = {"pod_template": POD}
DECK: dict[str, Any] = {**PLAIN, "enable_deck": True, "deck_fields": (DeckField.INPUT, DeckField.OUTPUT)}
# And what asks for a card.
LARGE_DECK: dict[str, Any] = {
    **DECK,
    "pod_template": LARGE_POD,
    "accelerator": None if DOMAIN.accelerator is None else GPUAccelerator(DOMAIN.accelerator),
}


def _ask(machine: Machine) -> Resources:
    return Resources(cpu=machine.cpu, mem=machine.mem, gpu=machine.gpu)


SMALL, LARGE_MEMORY, LARGE = (_ask(machine) for machine in (DOMAIN.small, DOMAIN.large_memory, DOMAIN.large))
SHORT, LONG = timedelta(hours=DOMAIN.short_hours), timedelta(hours=DOMAIN.long_hours)
