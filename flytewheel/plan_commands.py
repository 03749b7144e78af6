"""The command `flytewheel plan`: what training by a recipe would take on this machine, before it is begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.planning.forecast import Forecast, Part
    from flytewheel.recipe import Recipe

_TITLES = {"sft": "SFT", "reward": "reward model", "align": "alignment"}


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--dataset", "name", metavar="DIGEST|FOLDER", help="Default: the newest one of the recipe's feedback.")
@click.option("--probe/--no-probe", default=True, show_default=True, help="Measure 20 steps, or calculate.")
@click.option("--price-per-hour", type=click.FloatRange(min=0), help="Of this machine: prints what training costs.")
@click.option("--currency", default="", help="Of the price, to be printed.")
@as_json
def plan(recipe: Path, name: str | None, probe: bool, price_per_hour: float | None, currency: str, json_: bool) -> None:
    """Predict rows, steps, hours, memory and disk of the training that RECIPE asks for, on this device.

    Trains 20 steps of each part in a process of its own; nothing of them is kept or published. A base model that is not
    here yet is fetched, as training would.
    """
    from flytewheel.planning import plan as planning
    from flytewheel.planning.forecast import Price
    from flytewheel.progress import Progress, quiet_libraries
    from flytewheel.recipe import load_recipe

    if currency and price_per_hour is None:
        raise click.UsageError("--currency is of --price-per-hour, which is missing")
    found = load_recipe(recipe)
    price = Price(price_per_hour, currency) if price_per_hour is not None else None
    folder = _find(found, name)
    with Progress() as progress, quiet_libraries():
        forecast = planning.plan(found, folder, probe=probe, price=price, progress=progress)
    say(forecast.to_json(), json_, lambda: _print(forecast))


def _find(recipe: Recipe, name: str | None) -> Path:
    from flytewheel.planning.rows import find_dataset
    from flytewheel.shelf import find_folder

    folder = find_folder(name) if name is not None else None
    return folder if folder is not None else find_dataset(recipe, name, open_services(with_router=False))


def _print(forecast: Forecast) -> None:
    size = f", {forecast.parameters:,} parameters" if forecast.parameters else ""
    click.echo(f"{forecast.recipe}: data set {forecast.dataset[:12]}, base {forecast.base}{size}, on {forecast.device}")
    click.echo()
    parts = forecast.parts
    more = " and ?" if any(part.not_predicted for part in parts) else ""
    head = ("", *(_title(part) for part in parts), "together")
    rows: list[tuple[Any, ...]] = [
        ("rows", *(_of(part, f"{part.rows:,}") for part in parts)),
        ("too long", *(_of(part, f"{part.too_long:,}") for part in parts)),
        ("tokens an epoch", *(_known(part, part.tokens, f"{part.tokens:,}") for part in parts)),
        ("useful tokens", *(_known(part, part.tokens, f"{part.useful_share:.0%}") for part in parts)),
        (
            "sequences a step" if any(part.pace for part in parts) else "rows a step",
            *(_known(part, part.micro_batch, part.micro_batch) for part in parts),
        ),
        (
            "steps",
            *(_known(part, part.steps, f"{part.steps:,}") for part in parts),
            f"{sum(part.steps for part in parts):,}{more}",
        ),
        ("time", *(_known(part, part.likely_s, _span(part.seconds)) for part in parts), _span(forecast.seconds) + more),
        ("memory", *(_known(part, part.memory, _size(part.memory)) for part in parts), _size(forecast.memory) + more),
        ("disk", *(_known(part, part.disk, _size(part.disk)) for part in parts), _size(forecast.disk) + more),
    ]
    if forecast.price is not None:
        price = forecast.price
        costs = (_known(part, part.likely_s, price.describe(part.seconds)) for part in parts)
        rows.append(("cost", *costs, price.describe(forecast.seconds) + more))
    print_table(head, [(*row, *[""] * (len(head) - len(row))) for row in rows])
    click.echo()
    for part in parts:
        for line in filter(None, (_explain(part), part.pace, *part.fitted, part.budget)):
            click.echo(f"{_TITLES[part.name]}: {line}")
    if forecast.turn_disk is not None:
        click.echo(f"a first turn may write {_size(forecast.turn_disk)} besides, models and their quantisations")


def _title(part: Part) -> str:
    return f"{_TITLES[part.name]} ({part.method})" if part.name != part.method else _TITLES[part.name]


def _of(part: Part, text: str) -> str:
    return "–" if part.method == "skipped" else text


def _known(part: Part, value: object, text: str) -> str:
    return _of(part, text if value else "?")


def _explain(part: Part) -> str:
    if part.method == "skipped":
        return part.reason
    if part.not_predicted:
        return f"{part.reason}; not predicted: {part.not_predicted}"
    return f"{part.reason}; time {part.sure}; memory {'measured' if part.memory_measured else 'calculated'}"


def _span(seconds: tuple[float, float]) -> str:
    least, most = seconds
    if most < 120:
        return f"{least:.0f} to {most:.0f} s"
    if most < 7200:
        digits = 1 if least < 600 else 0
        return f"{least / 60:.{digits}f} to {most / 60:.{digits}f} min"
    return f"{least / 3600:.1f} to {most / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
