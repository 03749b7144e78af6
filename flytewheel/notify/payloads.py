"""A message in the words of each channel, within its limits.

- Slack, incoming webhooks with Block Kit: a header of 150 characters, ten fields of 2,000 a section, 50 blocks; `&`,
  `<` and `>` are escaped, so that nothing that was said can mention a channel
  (https://docs.slack.dev/reference/block-kit/blocks).
- PagerDuty, Events API v2: a summary of 1,024 characters, a dedup key of 255, 512 KiB in all
  (https://developer.pagerduty.com/docs/send-alert-event).
- Mail, RFC 5322: plain text; `Message-ID` is made of the key, so that a mailbox knows a repeated one.
"""

from __future__ import annotations

import hashlib
from datetime import UTC
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any

from flytewheel.notify.message import Message, cut, to_line

_FIELDS, _FIELD, _HEADER, _SECTION = 10, 2000, 150, 3000
_MOST_FACTS = 100  # 512 KiB are PagerDuty's; so many facts of _FIELD characters stay below
_ICONS = {"info": ":white_check_mark:", "warning": ":warning:", "error": ":x:", "critical": ":rotating_light:"}


def to_slack(message: Message) -> dict[str, Any]:
    """The JSON of an incoming webhook. `text` is what notifications and screen readers have."""
    title = to_line(message.title, _HEADER)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": title or "flytewheel"}}]
    fields = [
        {"type": "mrkdwn", "text": cut(f"*{_escape(name)}*\n{_escape(cut(value, 1500))}", _FIELD)}
        for name, value in list(message.facts.items())[: _FIELDS * 4]
    ]
    blocks += [{"type": "section", "fields": fields[at : at + _FIELDS]} for at in range(0, len(fields), _FIELDS)]
    where = [f"{_ICONS[message.severity]} {message.severity}", _escape(message.name)]
    where.append(f"{message.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    if message.link:
        where.append(f"<{_escape(message.link).replace('|', '%7C')}|open>")
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": cut(" · ".join(where), _SECTION)}]})
    return {"text": _escape(title) or "flytewheel", "blocks": blocks}


def to_pagerduty(message: Message, routing_key: str) -> dict[str, Any] | None:
    """The JSON of an event; `None` where PagerDuty has nothing to hear of: nobody is woken by a warning."""
    dedup = message.incident or message.key
    if len(dedup) > 255:
        dedup = hashlib.sha256(dedup.encode()).hexdigest()
    if message.severity == "warning" or (message.severity == "info" and not message.incident):
        return None
    if message.severity == "info":
        return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": dedup}
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": dedup,
        "client": "flytewheel",
        "payload": {
            "summary": to_line(message.title, 1024) or "flytewheel",
            "source": to_line(message.name, 255) or "flytewheel",
            "severity": message.severity,
            "timestamp": message.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "component": to_line(message.name, 255) or "flytewheel",
            "class": to_line(message.incident or message.key, 255),
            "custom_details": {
                to_line(name, 255): cut(value, _FIELD) for name, value in list(message.facts.items())[:_MOST_FACTS]
            },
        },
    }
    if message.link:
        event["links"] = [{"href": message.link, "text": "open"}]
    return event


def to_mail(message: Message, *, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """A plain mail. Headers are single lines whatever was said, so nobody adds one."""
    mail = EmailMessage()
    mail["Subject"] = to_line(f"[flytewheel] {message.name}: {message.title}", 200)
    mail["From"], mail["To"] = sender, ", ".join(to)
    mail["Date"] = format_datetime(message.at.astimezone(UTC))
    host = parseaddr(sender)[1].rpartition("@")[2] or "flytewheel.invalid"
    mail["Message-ID"] = f"<{hashlib.sha256(message.key.encode()).hexdigest()[:40]}@{host}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
    lines = [message.title, ""]
    width = max((len(name) for name in message.facts), default=0)
    lines += [f"{name:<{width}}  {value}" for name, value in message.facts.items()]
    lines += ["", message.text] if message.text else []
    lines += ["", message.link] if message.link else []
    mail.set_content("\n".join(_readable(line) for line in lines) + "\n")
    return mail


def _escape(text: str) -> str:
    return _readable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _readable(text: str) -> str:
    """Without what no mail or JSON can carry: lone surrogates, NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
