"""What the commands share at the terminal: text or JSON, tables, and the services they talk to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flytewheel.local.services import Services
    from registry.versions import Registry

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON instead of text.")


def say(value: Any, json_: bool, text: Callable[[], None]) -> None:
    """Prints `value` as JSON where it was asked for, else calls `text`."""
    if json_:
        from flytewheel.records import to_jsonable

        click.echo(json.dumps(to_jsonable(value), indent=1, ensure_ascii=False, default=str))
    else:
        text()


def print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Prints rows under their heads, each column as wide as its widest cell."""
    texts = [head, *[tuple("" if cell is None else str(cell) for cell in row) for row in rows]]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    for row in texts:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def open_services(*, with_router: bool = True, workers: int | None = None) -> Services:
    """The services of this command: those in the environment, else the embedded stack, started if need be; a router
    of ours with so many workers, where that is asked for.
    """
    from flytewheel.local.services import ensure_services
    from flytewheel.settings import read_settings

    settings = read_settings()
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    return ensure_services(settings, announce=lambda line: click.echo(line, err=True), with_router=with_router)


def open_registry() -> Registry:
    """The registry of this command's services."""
    from flytewheel import signed_registry

    return signed_registry.open_registry(open_services(with_router=False))
