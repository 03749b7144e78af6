"""The command `flytewheel migrate`: brings the database up to this release, or says what that would do."""

from __future__ import annotations

from typing import Any

import click

from flytewheel.terminal import as_json, say


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what is due.")
@as_json
def migrate(dry_run: bool, json_: bool) -> None:
    """Bring the database up to this release: all that is due in one transaction, or nothing.

    `flytewheel up` does it by itself; this is for a database of your own, as a step before new routers start.
    """
    from flytewheel import database

    url = _find_database()
    known = database.list_migrations()
    applied: list[database.Migration] = []
    if dry_run:
        with database.connect(url) as connection:
            pending = database.find_pending(connection, known)
    else:
        applied, pending = database.migrate(url, known), []
    version = len(known) - len(pending)

    def text() -> None:
        for word, rows in (("applied", applied), ("due", pending)):
            for each in rows:
                click.echo(f"{word}: {each}")
        click.echo(f"{database.describe_url(url)} is at version {version} of {len(known)}")

    say({"version": version, "applied": _describe(applied), "pending": _describe(pending)}, json_, text)


def _find_database() -> str:
    """The configured database, else the embedded one where it runs: a start of it would migrate it."""
    from flytewheel.local.services import find_services
    from flytewheel.settings import read_settings

    settings = read_settings()
    return settings.database_url or find_services(settings).database_url


def _describe(migrations: list[Any]) -> list[dict[str, Any]]:
    return [{"number": each.number, "name": each.name, "digest": each.digest} for each in migrations]
