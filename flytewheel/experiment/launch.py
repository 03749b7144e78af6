"""Decides how a candidate gets its canary: by asking the router's control API, once or again with the same effect.

The launch key makes it idempotent: a task that is retried, or a run that is started again, meets the experiment it
opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from flytewheel.errors import RouterError
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.shadows import find_shadowed


@dataclass(frozen=True, slots=True)
class Launched:
    """The experiment of a launch; `created` is false when the same launch had opened it before."""

    experiment_id: str
    created: bool
    name: str
    control: str
    treatment: str
    share: float
    state: str
    superseded: str | None = None


def launch_canary(
    router_url: str,
    admin_key: str,
    *,
    name: str,
    control: str,
    treatment: str,
    share: float,
    launch_key: str,
    body: Mapping[str, Any],
    timeout_s: float = 120.0,
) -> Launched:
    """Opens an experiment of `treatment` against `control` on model `name`, with `share` in (0, 1] of its users.

    The router loads both versions first; when it answers, both serve.

    Raises:
        RouterError: the router is away, or refuses the launch; nothing was opened.
    """
    answer = _ask(
        "POST",
        f"{router_url.rstrip('/')}/experiments",
        admin_key,
        {
            "name": name,
            "control": control,
            "treatment": treatment,
            "share": share,
            "launch_key": launch_key,
            "body": dict(body),
        },
        timeout_s,
    )
    experiment = answer["experiment"]
    return Launched(
        experiment_id=experiment["experiment_id"],
        created=answer["created"],
        name=experiment["name"],
        control=experiment["control"],
        treatment=experiment["treatment"],
        share=experiment["share"],
        state=experiment["state"],
        superseded=answer["superseded"],
    )


def open_shadow(
    router_url: str,
    admin_key: str,
    *,
    name: str,
    candidate: str,
    launch_key: str,
    shadow: Mapping[str, Any],
    timeout_s: float = 120.0,
) -> dict[str, Any]:
    """Shows `candidate` copies of the traffic of model `name`, by `share`, `hours` and `max_concurrency` of `shadow`.

    Raises:
        RouterError: the router is away, or cannot serve the candidate; nothing was opened.
    """
    url = f"{router_url.rstrip('/')}/models/{name}/shadow"
    body = {"candidate": candidate, "launch_key": launch_key, **shadow}
    found: dict[str, Any] = _ask("POST", url, admin_key, body, timeout_s)["shadow"]
    return found


def launch_shadowed(database_url: str, router_url: str, admin_key: str, *, name: str) -> str | None:
    """Opens the canary of a draft whose shadow's time is over; returns its experiment, None where none is due.

    Raises:
        RouterError: the router is away or refuses; it is due again at the next look.
    """
    draft = find_shadowed(database_url, name)
    if draft is None:
        return None
    return launch_canary(
        router_url,
        admin_key,
        name=name,
        control=draft.control,
        treatment=draft.treatment,
        share=draft.share,
        launch_key=draft.launch_key,
        body=draft.body,
    ).experiment_id


def set_champion(router_url: str, admin_key: str, *, name: str, version: str, timeout_s: float = 120.0) -> str | None:
    """Makes `version` the champion of `name`, loaded and serving when this returns; returns the one before it.

    Raises:
        RouterError: the router is away, or cannot serve the version; the champion stays as it was.
    """
    url = f"{router_url.rstrip('/')}/models/{name}/champion"
    before = _ask("PUT", url, admin_key, {"version": version}, timeout_s)["before"]
    return None if before is None else str(before)


def promote(router_url: str, admin_key: str, *, experiment_id: str, fence: int, timeout_s: float = 120.0) -> None:
    """Makes an experiment's treatment the champion, by the verdict stored at `fence`; again with the same effect.

    Raises:
        RouterError: the router is away, or refuses: the rollout has changed, or the version cannot be served.
    """
    url = f"{router_url.rstrip('/')}/experiments/{experiment_id}/promote"
    _ask("POST", url, admin_key, {"fence": fence}, timeout_s)


def drill(router_url: str, admin_key: str, *, experiment_id: str, timeout_s: float = 120.0) -> dict[str, Any]:
    """Has the router exercise the way back from an experiment, which stores how it went; returns that.

    Raises:
        RouterError: the router is away, or the experiment does not run there.
    """
    url = f"{router_url.rstrip('/')}/experiments/{experiment_id}/drill"
    found: dict[str, Any] = _ask("POST", url, admin_key, {}, timeout_s)["drill"]
    return found


def follow_experiment(router_url: str, admin_key: str, experiment: Experiment, *, timeout_s: float = 120.0) -> None:
    """Has the router serve an experiment as it is stored, now rather than at its next look; changes nothing stored.

    Raises:
        RouterError: the router is away; it reads what is stored when it comes back.
    """
    url = f"{router_url.rstrip('/')}/experiments/{experiment.experiment_id}"
    if experiment.running:
        _ask("PATCH", url, admin_key, {"share": experiment.share}, timeout_s)
    else:
        _ask("POST", f"{url}/stop", admin_key, {"reason": experiment.reason or "stopped"}, timeout_s)


def _ask(method: str, url: str, admin_key: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {admin_key}"}
    proxies = "127.0.0.1" not in url  # a proxy set for the outside world knows nothing of our loopback
    try:
        answer = httpx.request(method, url, json=body, headers=headers, timeout=timeout_s, trust_env=proxies)
    except httpx.HTTPError as error:
        cause = str(error) or type(error).__name__
        raise RouterError(f"the router at {url} does not answer ({cause}); start it with 'flytewheel up'") from None
    if answer.is_success:
        content: dict[str, Any] = answer.json()
        return content
    try:
        said = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = " ".join(answer.text.split())[:300]
    raise RouterError(f"the router refused {method} {url} ({answer.status_code}): {said}")
