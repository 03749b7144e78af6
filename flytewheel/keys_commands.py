"""The commands `flytewheel keys …`: API keys of the router. A key is printed once, when it is made, and never again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from flytewheel.signing_commands import signing
from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.api_keys import ApiKey, Limits

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Duration(click.ParamType[timedelta]):
    """A length of time: 30m, 24h, 90d, 4w."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The length; fails in click's way."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,6})([mhdw])", str(value).strip())
        if found is None:
            self.fail(f"{value!r}: expected a number and m, h, d or w, such as 24h", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


class Scopes(click.ParamType[frozenset[str]]):
    """Scopes with commas between them."""

    name = "scopes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        """The scopes; fails in click's way."""
        from flytewheel.api_keys import check_scopes
        from flytewheel.errors import ApiKeyError

        try:
            return check_scopes(part.strip() for part in str(value).split(",") if part.strip())
        except ApiKeyError as error:
            self.fail(str(error), param, ctx)


@click.group()
def keys() -> None:
    """API keys of the router: create, list, rotate, revoke. Keys that sign versions: `keys signing`."""


@keys.command("create")
@click.option("--scope", "scopes", type=Scopes(), required=True, help="serve, feedback, read, admin, with commas.")
@click.option("--name", default="", help="What you call it.")
@click.option("--expires", type=Duration(), help="How long it lives, such as 90d; without it, until it is revoked.")
@click.option("--rate", type=click.IntRange(min=1), help="Requests a minute of everybody who shares the key.")
@click.option("--tokens", type=click.IntRange(min=1), help="Tokens a minute, prompts and answers, likewise.")
@click.option("--user-rate", type=click.IntRange(min=1), help="Requests a minute of each user named with the key.")
@click.option("--user-tokens", type=click.IntRange(min=1), help="Tokens a minute, likewise.")
@as_json
def keys_create(
    scopes: frozenset[str],
    name: str,
    expires: timedelta | None,
    rate: int | None,
    tokens: int | None,
    user_rate: int | None,
    user_tokens: int | None,
    json_: bool,
) -> None:
    """Make an API key and print it, once."""
    from flytewheel.api_keys import Limits, create_key

    key, secret = create_key(
        _database(),
        scopes,
        name=name,
        expires_at=None if expires is None else datetime.now(UTC) + expires,
        limits=Limits(rate, tokens, user_rate, user_tokens),
    )
    _show(key, secret, json_)


@keys.command("own")
def keys_own() -> None:
    """Print the key that this machine's own clients send; for `$(flytewheel keys own)`, not for others."""
    from flytewheel.errors import ApiKeyError

    key = open_services().api_key
    if not key:
        raise ApiKeyError("no key for the router at FLYTEWHEEL_ROUTER_URL: set FLYTEWHEEL_API_KEY to one of its keys")
    click.echo(key)


@keys.command("list")
@as_json
def keys_list(json_: bool) -> None:
    """List the API keys, the newest first; of the keys themselves nothing is known."""
    from flytewheel.api_keys import list_keys

    now = datetime.now(UTC)
    found = list_keys(_database())
    rows = [
        (key.key_id, key.name, ", ".join(sorted(key.scopes)), key.describe_state(now), _day(key.created_at),
         _day(key.expires_at), _describe_limits(key.limits))
        for key in found
    ]  # fmt: skip
    head = ("key", "name", "scopes", "state", "created", "ends", "limits a minute")
    say([_facts(key, now) for key in found], json_, lambda: print_table(head, rows))


@keys.command("rotate")
@click.argument("key_id")
@click.option("--overlap", type=Duration(), default="24h", show_default=True, help="How long the old key goes on.")
@as_json
def keys_rotate(key_id: str, overlap: timedelta, json_: bool) -> None:
    """Make the successor of KEY_ID, with its scopes and limits; the old key ends after the overlap."""
    from flytewheel.api_keys import rotate_key

    key, secret = rotate_key(_database(), key_id, overlap)
    _show(key, secret, json_, f"{key_id} goes on for {_spell(overlap)}")


@keys.command("revoke")
@click.argument("key_id")
def keys_revoke(key_id: str) -> None:
    """End KEY_ID at once, at every router of this database."""
    from flytewheel.api_keys import revoke_key

    click.echo(f"revoked {revoke_key(_database(), key_id).key_id}")


keys.add_command(signing)


def _database() -> str:
    return open_services(with_router=False).database_url


def _show(key: ApiKey, secret: str, json_: bool, more: str = "") -> None:
    def text() -> None:
        click.echo(f"{key.key_id}: {', '.join(sorted(key.scopes))}{f'; {more}' if more else ''}", err=True)
        click.echo("the key, which is not shown again:", err=True)
        click.echo(secret)

    say({**_facts(key, datetime.now(UTC)), "secret": secret}, json_, text)


def _facts(key: ApiKey, now: datetime) -> dict[str, Any]:
    from flytewheel.api_keys import encode_keys

    (facts,) = encode_keys([key])
    del facts["hash"]
    requests, tokens, user_requests, user_tokens = facts.pop("limits")
    limits = {"requests": requests, "tokens": tokens, "user_requests": user_requests, "user_tokens": user_tokens}
    return {**facts, "state": key.describe_state(now), "limits_a_minute": limits}


def _describe_limits(limits: Limits) -> str:
    named = (
        (limits.requests, "requests"),
        (limits.tokens, "tokens"),
        (limits.user_requests, "requests a user"),
        (limits.user_tokens, "tokens a user"),
    )
    return ", ".join(f"{limit:,} {what}" for limit, what in named if limit) or "none"


def _day(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if moment else ""


def _spell(length: timedelta) -> str:
    hours = length.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
