"""The commands `flytewheel keys signing …`: who signs versions on this machine, and whose signatures are believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flytewheel.terminal import as_json, print_table, say

if TYPE_CHECKING:
    from flytewheel.signing_keys import KeyRing

_DEVELOPMENT = "a development key, made on this machine: who can read the state folder can sign"


@click.group()
def signing() -> None:
    """Keys that sign versions: new, show, trust, revoke."""


@signing.command("new")
def signing_new() -> None:
    """Make this machine's signing key anew; versions that the old one signed stay believed."""
    from flytewheel.signing_keys import make_home_key

    ring = _ring()
    key = make_home_key(ring)
    click.echo(f"signing key {key.public.short} in {ring.private_path} ({_DEVELOPMENT})")
    click.echo(key.public.pem.decode(), nl=False)


@signing.command("show")
@as_json
def signing_show(json_: bool) -> None:
    """Print the public keys: the one that signs here, and those that are believed."""
    ring = _ring()
    signer = ring.read_signing_key().public if ring.has_signing_key() else None
    trusted = ring.read_trusted_keys()
    listed = [*trusted, *([signer] if signer and signer not in trusted else [])]
    facts = [
        {"key": key.key_id, "signs": key == signer, "trusted": key in trusted, "pem": key.pem.decode()}
        for key in listed
    ]

    def text() -> None:
        print_table(
            ("key", "signs here", "trusted"),
            [
                (key.short, "yes" if key == signer else "", "yes" if key in trusted else "NO: nobody here believes it")
                for key in listed
            ],
        )
        where = ring.private_path or "FLYTEWHEEL_SIGNING_KEY"
        missing = "no signing key: make one with `flytewheel keys signing new`"
        click.echo(f"\nsigning key: {where}" if signer else f"\n{missing}")
        for key in listed:
            click.echo(f"\n{key.short}\n{key.pem.decode()}", nl=False)

    say(facts, json_, text)


@signing.command("trust")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def signing_trust(file: Path) -> None:
    """Believe the public keys in FILE on this machine."""
    from flytewheel.signing_keys import trust_key
    from registry.keys import read_public_keys

    ring = _ring()
    for key in read_public_keys(file.read_bytes(), str(file)):
        click.echo(f"trusted {key.short}: {trust_key(ring, key)}")


@signing.command("revoke")
@click.argument("key")
def signing_revoke(key: str) -> None:
    """Believe KEY (the beginning of its name) no longer: what it alone signed is served no more."""
    from flytewheel.signing_keys import revoke_key

    revoked = revoke_key(_ring(), key)
    click.echo(f"revoked {revoked.short}; sign what should stay with `flytewheel models sign NAME VERSION`")


def _ring() -> KeyRing:
    from flytewheel.settings import read_settings
    from flytewheel.signing_keys import ring_of_settings

    return ring_of_settings(read_settings())
