"""The commands `flytewheel backup` and `restore`: database and object store as one folder, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from flytewheel.terminal import as_json, open_services, say

APART = (
    "not in it, keep them apart: the signing key and the keys that are believed (keys/), erasure.key, and stack.json "
    "with the key of the assignment"
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--check", is_flag=True, help="Only read the backup in FOLDER through.")
@as_json
def backup(folder: Path, check: bool, json_: bool) -> None:
    """Write database and object store into FOLDER, as of one moment; one that was cut off goes on.

    The loop may run meanwhile. The folder holds people's words: treat it as the database itself.
    """
    from flytewheel.backup.manifest import MIB, check_backup
    from flytewheel.backup.taking import take_backup
    from flytewheel.progress import Progress
    from flytewheel.turn import open_store

    if check:
        with Progress() as progress:
            made = check_backup(folder, progress)
    else:
        services = open_services(with_router=False)
        store = open_store(services)
        with Progress() as progress:
            made = take_backup(services.database_url, store, services.home, folder, progress)

    def text() -> None:
        size = (made.object_bytes + sum(table.size for table in made.tables)) / MIB
        what = f"{made.rows:,} rows and {made.objects:,} objects of {made.made_at}, {size:,.1f} MiB"
        click.echo(f"{folder}: {what}{', every byte as it was written' if check else ''}")
        if not check:
            click.echo(APART)

    told = {"digest": made.digest, "made_at": made.made_at, "rows": made.rows, "objects": made.objects}
    say({**told, "object_bytes": made.object_bytes, "migrations": len(made.migrations)}, json_, text)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--erasures", "ledgers", multiple=True, type=click.Path(path_type=Path),
    help="A newer backup (or its erasures.json): people who were erased since FOLDER was made stay erased.",
)  # fmt: skip
@as_json
def restore(folder: Path, ledgers: tuple[Path, ...], json_: bool) -> None:
    """Fill an empty stack from the backup in FOLDER; one that was cut off goes on.

    Backups beside FOLDER are asked who was erased since it was made; these people's data do not come back.
    """
    from flytewheel import signed_registry
    from flytewheel.backup.bringing import restore_backup
    from flytewheel.backup.manifest import read_backup
    from flytewheel.erase.erasure import Place
    from flytewheel.progress import Progress
    from flytewheel.settings import read_settings
    from flytewheel.turn import open_store

    read_backup(folder)  # before anything is started
    services = open_services(with_router=False)
    with Progress() as progress:
        place = Place(
            services.database_url,
            open_store(services),
            services.home,
            services.erasure_key,
            embedded=read_settings().database_url is None,
            clock=lambda: datetime.now(UTC),
            progress=progress,
        )
        done = restore_backup(place, folder, ledgers)
        findings = signed_registry.open_registry(services).audit(progress=progress)
    faults = [each for each in findings if each.state != "ok"]

    def text() -> None:
        made = done.backup
        click.echo(f"restored {made.rows:,} rows and {made.objects:,} objects of {made.made_at}")
        if done.erased:
            click.echo(f"erased again: {len(done.erased)} ({', '.join(done.erased[:5])})")
        click.echo(f"registry: {len(findings) - len(faults):,} files verified, {len(faults):,} faults")
        for each in faults[:20]:
            click.echo(f"  {each.name} {each.version} {each.path}: {each.state} {each.says}")
        if faults:
            click.echo(
                "next: believe the keys of before (`flytewheel keys signing trust`), then `flytewheel models verify`"
            )

    told = {"backup": done.backup.digest, "rows": done.backup.rows, "objects": done.backup.objects}
    say({**told, "erased_again": done.erased, "verified": len(findings) - len(faults), "faults": faults}, json_, text)
    if faults:
        raise SystemExit(1)
