"""The command `flytewheel doctor`: what this machine has, how it would train, and what to do about the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, print_table, say

if TYPE_CHECKING:
    from flytewheel.doctor import Examination
    from flytewheel.profiles import Choice


@click.command()
@click.option("--recipe", "path", type=click.Path(path_type=Path), help="Also: can this recipe be run here?")
@as_json
def doctor(path: Path | None, json_: bool) -> None:
    """Say what this machine has, the profile it trains with and why; exit 1 when a turn could not run.

    Looks only: nothing is started, downloaded or written.
    """
    from flytewheel.doctor import examine
    from flytewheel.progress import Progress
    from flytewheel.recipe import load_recipe
    from flytewheel.settings import read_settings

    recipe = load_recipe(path) if path is not None else None
    with Progress() as progress:
        found = examine(read_settings(), recipe, progress=progress)
    say(_jsonable(found), json_, lambda: _print(found))
    sys.exit(0 if found.ready else 1)


def _jsonable(found: Examination) -> dict[str, Any]:
    from dataclasses import asdict

    tree = {"ready": found.ready, **asdict(found)}
    if found.base is not None:
        del tree["base"]["shapes"], tree["base"]["config"]
    if found.memory is not None:
        tree["memory"] |= {"least": found.memory.least, "most": found.memory.most}
    tree["facts"]["cpu_features"] = sorted(found.facts.cpu_features)
    return tree


def _print(found: Examination) -> None:
    from flytewheel.doctor.machine import in_gib

    machine = found.machine
    rows = [
        ("Python", machine.python),
        ("system", machine.system),
        ("cores", f"{machine.cores:g} of {machine.cores_present} may be used; torch's threads: {machine.threads}"),
        ("memory", f"{in_gib(machine.memory_free_bytes)} free of {in_gib(machine.memory_bytes)}"),
        ("disk", f"{in_gib(machine.disk_free_bytes)} free under {machine.home}"),
        ("torch", f"{found.torch.version}, built for {found.torch.build}" if found.torch else "cannot be loaded"),
        *_devices(found),
        *[(package.name, _package(package)) for package in found.packages],
        ("tracking", _tracking(found)),
        *[(each.name, " at ".join(filter(None, (each.state, each.url)))) for each in found.services],
        *_base(found),
    ]
    print_table(("found", ""), rows)
    if found.device is not None:
        profile = found.device.profile
        click.echo(f"\nprofile {profile.name}: {profile.when}")
        choices = [(name, _value(choice), choice.reason) for name, choice in profile.choices().items()]
        print_table(("choice", "value", "why"), choices)
    click.echo()
    for finding in found.findings:
        click.echo(str(finding))
    click.echo("ready: a turn can be run" if found.ready else "not ready: see what is missing above")


def _devices(found: Examination) -> list[tuple[str, str]]:
    from flytewheel.doctor.machine import in_gib

    rows = []
    for number, card in enumerate(found.facts.cards):
        bf16 = "bf16" if card.bf16 else "no bf16"
        capability = ".".join(map(str, card.capability))
        rows.append((f"cuda:{number}", f"{card.name}, {in_gib(card.memory_bytes)}, capability {capability}, {bf16}"))
    if found.facts.mps:
        rows.append(("mps", f"{found.facts.machine}, macOS {found.facts.macos}"))
    if found.torch is not None:
        bf16 = ", ".join(found.facts.cpu_bf16)
        rows.append(("cpu", f"{found.facts.machine}, bf16 by {bf16}" if bf16 else f"{found.facts.machine}, no bf16"))
    return rows


def _package(package: Any) -> str:
    if package.version is None:
        return f"not installed ({package.purpose})"
    return f"{package.version}, cannot be loaded" if package.fault else f"{package.version} ({package.purpose})"


def _tracking(found: Examination) -> str:
    tracking = found.tracking
    if tracking.mode != "online":
        return f"wandb {tracking.mode}"
    words = {True: "answers", False: "takes no connection", None: "was not asked (proxy)"}
    return f"wandb online: {tracking.host} {words[tracking.reachable]}"


def _base(found: Examination) -> list[tuple[str, str]]:
    from flytewheel.doctor.machine import in_gib

    base = found.base
    if base is None:
        return []
    parts = [base.model]
    if base.parameters and base.weight_bytes:
        parts.append(f"{base.architecture}, {base.parameters:,} parameters, {in_gib(base.weight_bytes)}")
    rows = [("base", ", ".join(parts)), ("base is in", base.folder or "not here")]
    if found.memory is not None:
        memory = found.memory
        rows.append(
            ("training", f"{in_gib(memory.least)} to {in_gib(memory.most)} of memory, roughly ({memory.tokens} tokens)")
        )
    if found.disk_bytes is not None:
        rows.append(("turn", f"up to {in_gib(found.disk_bytes)} of disk, the first time"))
    return rows


def _value(choice: Choice[Any]) -> str:
    value = choice.value
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)
