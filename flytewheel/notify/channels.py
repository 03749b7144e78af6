"""Where messages go, and how: one HTTP POST, or one SMTP dialogue. A channel says why it failed, never its secret.

HTTP is urllib's: httpx writes a request's URL to the log, and Slack's URL *is* the secret. Redirects are not followed,
since they would take the message elsewhere.
"""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from flytewheel.errors import SettingsError
from flytewheel.notify.message import Message, to_line
from flytewheel.notify.payloads import to_mail, to_pagerduty, to_slack
from flytewheel.settings import Settings

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_SMTP_PORTS = {"smtp": 25, "smtps": 465}


class NotToldError(Exception):
    """A channel did not take a message. `again_after_s` is None where trying again is no use."""

    def __init__(self, why: str, again_after_s: float | None) -> None:
        super().__init__(why)
        self.again_after_s = again_after_s


class Channel(Protocol):
    """One way to people."""

    @property
    def name(self) -> str: ...

    def takes(self, message: Message) -> bool:
        """Whether this channel is for such a message."""
        ...

    def send(self, message: Message, timeout_s: float) -> None:
        """Sends it once.

        Raises:
            NotToldError: it was not taken.
        """
        ...


@dataclass(frozen=True, slots=True)
class Slack:
    """An incoming webhook of Slack, or of what speaks its language (Mattermost, Discord's `/slack`)."""

    url: str = field(repr=False)
    name: str = "slack"

    def takes(self, message: Message) -> bool:
        return True

    def send(self, message: Message, timeout_s: float) -> None:
        _post(self.url, to_slack(message), timeout_s, secret=self.url)


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """The Events API v2 of PagerDuty."""

    routing_key: str = field(repr=False)
    url: str
    name: str = "pagerduty"

    def takes(self, message: Message) -> bool:
        return to_pagerduty(message, "") is not None

    def send(self, message: Message, timeout_s: float) -> None:
        event = to_pagerduty(message, self.routing_key)
        assert event is not None, "asked for what it takes"
        _post(self.url, event, timeout_s, secret=self.routing_key)


@dataclass(frozen=True, slots=True)
class Mail:
    """An SMTP server, `smtp://[user:password@]host[:port]` (TLS where it is offered) or `smtps://`.

    A password goes over TLS only, but for a server on loopback.
    """

    url: str = field(repr=False)
    sender: str = ""
    to: tuple[str, ...] = ()
    authorities: str | None = None
    name: str = "mail"

    def takes(self, message: Message) -> bool:
        return bool(self.to)

    def send(self, message: Message, timeout_s: float) -> None:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _SMTP_PORTS[parts.scheme]
        context = ssl.create_default_context(cafile=self.authorities)
        try:
            with (
                smtplib.SMTP_SSL(host, port, timeout=timeout_s, context=context)
                if parts.scheme == "smtps"
                else smtplib.SMTP(host, port, timeout=timeout_s)
            ) as server:
                server.ehlo()
                hidden = parts.scheme == "smtps"
                if not hidden and server.has_extn("starttls"):
                    server.starttls(context=context)
                    server.ehlo()
                    hidden = True
                if parts.username:
                    if not hidden and host not in _LOOPBACK:
                        raise NotToldError(f"{host} offers no TLS, and a password goes over nothing else", None)
                    server.login(unquote(parts.username), unquote(parts.password or ""))
                mail = to_mail(message, sender=self.sender, to=self.to)
                refused = server.send_message(mail)
        except smtplib.SMTPResponseException as error:  # 4xx: later, 5xx: never (RFC 5321, 4.2.1)
            later = 400 <= error.smtp_code < 500 and not isinstance(error, smtplib.SMTPAuthenticationError)
            raise NotToldError(f"{host} answered {error.smtp_code}", 1.0 if later else None) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            later = all(code < 500 for code in codes)
            raise NotToldError(f"{host} refused every recipient: {codes}", 1.0 if later else None) from None
        except (ssl.SSLError, smtplib.SMTPNotSupportedError, ValueError) as error:
            raise NotToldError(f"{host}: {type(error).__name__}", None) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotToldError(f"{host}: {type(error).__name__}", 1.0) from None
        if refused:  # the others have it: sending again would tell them twice
            raise NotToldError(f"{host} refused {len(refused)} of {len(self.to)} recipients", None)


def find_channels(settings: Settings, *, mail_to: tuple[str, ...] = ()) -> tuple[Channel, ...]:
    """The channels that the environment names.

    Args:
        settings: of this process.
        mail_to: who gets mail; without any it is who `FLYTEWHEEL_MAIL_TO` names.

    Raises:
        SettingsError: an address is none.
    """
    found: list[Channel] = []
    if settings.slack_webhook:
        url = settings.slack_webhook.get_secret_value()
        _check_url(url, "SLACK_WEBHOOK", ("https", "http"))
        found.append(Slack(url))
    if settings.pagerduty_key:
        _check_url(settings.pagerduty_url, "PAGERDUTY_URL", ("https", "http"))
        found.append(PagerDuty(settings.pagerduty_key.get_secret_value(), settings.pagerduty_url))
    if settings.smtp_url:
        url = settings.smtp_url.get_secret_value()
        _check_url(url, "SMTP_URL", tuple(_SMTP_PORTS))
        sender, to = settings.mail_from or "flytewheel@localhost", mail_to or settings.mail_to
        for address in (sender, *to):
            if "@" not in parseaddr(address)[1] or to_line(address, len(address) + 1) != address.strip():
                raise SettingsError(f"{address!r} is no mail address: expected name@host (FLYTEWHEEL_MAIL_FROM, _TO)")
        found.append(Mail(url, sender, to))
    return tuple(found)


def _check_url(url: str, name: str, schemes: tuple[str, ...]) -> None:
    """Plain http only to this machine. The message holds nothing of the URL: it is a secret."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
        good = good and not (parts.scheme == "http" and parts.hostname not in _LOOPBACK)
    except ValueError:
        good = False
    if not good:
        expected = " or ".join(f"{scheme}://" for scheme in schemes)
        raise SettingsError(f"FLYTEWHEEL_{name} is no address: expected {expected}host…, http:// on this machine only")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, body: dict[str, Any], timeout_s: float, *, secret: str) -> None:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", "user-agent": "flytewheel"})
    host = urlsplit(url).hostname or ""
    # A proxy set for the outside world knows nothing of our loopback.
    direct = [urllib.request.ProxyHandler({})] if host in _LOOPBACK else []
    opener = urllib.request.build_opener(_NoRedirects, *direct)
    try:
        with opener.open(request, timeout=timeout_s):
            return
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(300).decode("utf-8", "replace")
            for part in (secret, urlsplit(secret).path.strip("/")):  # a server may say back what it was sent
                said = said.replace(part, "…") if part else said
            said = to_line(said, 120)
            wait = error.headers.get("retry-after", "")
        later = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 1.0
        again = error.code == 429 or error.code >= 500
        raise NotToldError(f"{host} answered {error.code} {said}".rstrip(), later if again else None) from None
    except OSError as error:  # URLError and timeouts are; their texts may hold the URL
        reason = getattr(error, "reason", error)
        raise NotToldError(f"{host}: {type(reason).__name__}", 1.0) from None
    except http.client.HTTPException as error:
        raise NotToldError(f"{host}: {type(error).__name__}", 1.0) from None
    except ValueError as error:  # what http.client calls no URL
        raise NotToldError(f"{host}: {type(error).__name__}", None) from None
