"""Gives a registered version of a model its share of the traffic, and takes it back where it does not answer.

    python deploy/model.py URL --model oncall --version 2026.48.1 --share 0.1 --key-file ADMIN_KEY --reason "…"

A share below 1 opens an experiment (a canary): its rollout goes on by evidence, as every other. A share of 1 makes the
version champion at once, by hand. Either way the version is asked before, and watched after; where an answer fails, the
experiment is stopped or the champion of before is champion again, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deploy.smoke import Router, SmokeError, ask_model, read_key, wait_ready

Undo = Callable[[str], None]


def deploy_model(
    router: Router, model: str, version: str, share: float, *, key: str, watch_s: float, ready_s: float = 300.0
) -> str:
    """Gives `version` the share; says what was done.

    Raises:
        SmokeError: it was taken back, and why; or nothing was changed.
    """
    wait_ready(router, ready_s)
    champion = _find(router, model)["champion"]
    if champion == version and share == 1:
        ask_model(router, model)
        return f"{model}: {version} is champion already"
    done, undo = (
        _promote(router, model, version, champion)
        if share == 1
        else _launch(router, model, version, champion, share, key)
    )
    try:
        deadline = time.monotonic() + ready_s
        while _find(router, model)["backends"].get(version, {}).get("state") != "ready":
            if time.monotonic() > deadline:
                raise SmokeError(f"{version} is not ready within {ready_s:g} s")
            time.sleep(0.2)
        deadline = time.monotonic() + watch_s
        while True:
            ask_model(router, model, version=version)
            ask_model(router, model, stream=True)
            if time.monotonic() > deadline:
                return done
            time.sleep(0.1)
    except (SmokeError, KeyboardInterrupt) as fault:
        undo(str(fault) or "interrupted")
        raise SmokeError(f"taken back: {fault or 'interrupted'}") from None


def _find(router: Router, model: str) -> dict[str, Any]:
    for each in router.ask("/models")["models"]:
        if each["name"] == model:
            found: dict[str, Any] = each
            return found
    raise SmokeError(f"the router has no model {model}")


def _promote(router: Router, model: str, version: str, champion: str) -> tuple[str, Undo]:
    def put(wanted: str, expect: str) -> None:
        router.ask(f"/models/{quote(model)}/champion", "PUT", {"version": wanted, "expect": expect})

    put(version, champion)
    return f"{model}: champion {champion} → {version}", lambda reason: put(champion, version)


def _launch(router: Router, model: str, version: str, champion: str, share: float, key: str) -> tuple[str, Undo]:
    body = {"name": model, "control": champion, "treatment": version, "share": share, "launch_key": key}
    opened = router.ask("/experiments", "POST", body)["experiment"]["experiment_id"]

    def undo(reason: str) -> None:
        router.ask(f"/experiments/{quote(opened)}/stop", "POST", {"reason": f"deployment: {reason}"[:300]})

    return f"{model}: experiment {opened} gives {version} {share:.0%}, {champion} the rest", undo


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--share", type=float, required=True, help="of the traffic, above 0 up to 1")
    parser.add_argument("--key-file", type=Path, required=True, help="of an admin key")
    parser.add_argument("--launch-key", help="the same key opens one experiment only [default: of model and version]")
    parser.add_argument("--watch-s", type=float, default=60.0)
    options = parser.parse_args(arguments)
    if not 0 < options.share <= 1:
        parser.error(f"--share {options.share:g}: expected a share above 0, up to 1")
    key = options.launch_key or f"deploy {options.model} {options.version}"
    router = Router(options.url, read_key(options.key_file))
    try:
        told = deploy_model(router, options.model, options.version, options.share, key=key, watch_s=options.watch_s)
    except SmokeError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
