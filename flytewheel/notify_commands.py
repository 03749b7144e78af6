"""The commands `flytewheel notify …`: do the channels of this environment work, and what did people hear?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from flytewheel.terminal import as_json, open_services, print_table, say


@click.group()
def notify() -> None:
    """Messages to people: Slack, PagerDuty and mail (FLYTEWHEEL_SLACK_WEBHOOK, _PAGERDUTY_KEY, _SMTP_URL)."""


@notify.command("test")
@click.option("--to", multiple=True, help="Who gets the mail.  [default: FLYTEWHEEL_MAIL_TO]")
@as_json
def notify_test(to: tuple[str, ...], json_: bool) -> None:
    """Send a message by every channel; PagerDuty gets an end of an incident that never was, which wakes nobody."""
    from flytewheel.notify.channels import find_channels
    from flytewheel.notify.message import Message
    from flytewheel.notify.telling import tell_channels
    from flytewheel.settings import read_settings

    channels = find_channels(read_settings(), mail_to=to)
    if not channels:
        raise click.UsageError(
            "no channel: set FLYTEWHEEL_SLACK_WEBHOOK, FLYTEWHEEL_PAGERDUTY_KEY or FLYTEWHEEL_SMTP_URL"
        )
    now = datetime.now(UTC)
    message = Message(
        key=f"test:{now.isoformat()}",
        name="flytewheel",
        severity="info",
        title="a test: this channel works",
        at=now,
        facts={"sent by": "flytewheel notify test"},
        incident="flytewheel test",
    )
    takers = [channel for channel in channels if channel.takes(message)]
    told = tell_channels(message, takers, database_url=None)
    passed = [channel.name for channel in channels if channel not in takers]

    def text() -> None:
        print_table(("channel", "outcome", "why"), [(each.channel, each.outcome, each.why) for each in told])
        for name in passed:
            click.echo(f"{name}: nobody to send it to; name somebody with --to")

    say(told, json_, text)
    if passed or any(each.outcome == "failed" for each in told):
        raise SystemExit(1)


@notify.command("list")
@click.option("--days", type=click.FloatRange(min=0), default=7.0, show_default=True)
@as_json
def notify_list(days: float, json_: bool) -> None:
    """List what people were told, and what did not reach them."""
    from flytewheel.notify.ledger import list_told

    found = list_told(open_services(with_router=False).database_url, since=datetime.now(UTC) - timedelta(days=days))
    heads = ("model", "channel", "title", "told", "error")
    rows = [tuple("" if value is None else str(value) for value in row) for row in found]
    say([dict(zip(heads, row, strict=True)) for row in found], json_, lambda: print_table(heads, list(rows)))
