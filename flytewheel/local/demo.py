"""The demo: one turn on the bundled feedback on an empty state, then simulated users who meet the canary."""

from __future__ import annotations

import time
from pathlib import Path

from flytewheel.experiment.experiments import list_experiments
from flytewheel.local import stack
from flytewheel.local.pyflyte import find_workflow, run_weekly
from flytewheel.local.services import ensure_services
from flytewheel.local.traffic import send_traffic
from flytewheel.recipe import load_recipe
from flytewheel.settings import Settings


def run_demo(settings: Settings, *, requests: int = 240, keep: bool = False) -> int:
    """Runs the demo under `<home>/demo`, which is emptied first.

    Args:
        settings: of this machine; configured services are not used, the demo brings its own.
        requests: number of chat requests that the simulated users send.
        keep: leave the stack running.

    Returns:
        The exit code: that of the turn, 1 when the candidate got no canary.
    """
    started = time.monotonic()
    own = Settings(home=settings.home / "demo")
    stack.remove(own)
    recipe_file = find_workflow().parent.parent / "recipes" / "demo.yaml"
    recipe = load_recipe(recipe_file)
    try:
        services = ensure_services(own, announce=lambda line: print(line, flush=True))
        code = run_weekly(recipe_file, services)
        if code:
            return code
        if not list_experiments(services.database_url, name=recipe.name, running=True):
            print("no canary, so no traffic: the table above says why", flush=True)
            return 1
        print(f"\n{requests} requests of simulated users through {services.router_url}", flush=True)
        report = send_traffic(
            services.router_url,
            recipe.name,
            requests=requests,
            api_key=services.api_key,
            system_prompt=recipe.base.system_prompt,
        )
        print(report.describe(), flush=True)
        print(f"\nThe turn took {time.monotonic() - started:.0f} s. State: {_shown(own.home)}", flush=True)
        return 0
    finally:
        if keep:
            print("The stack still runs: FLYTEWHEEL_HOME=" + _shown(own.home) + " flytewheel status | down")
        else:
            stack.down(own)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
