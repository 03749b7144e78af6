"""The router's log: one line an event, as text or JSON, with the interaction and the key that it is about, and without
a secret in it.

Secrets are taken out of the finished line, so that it does not matter where they came from: an argument, a header in a
traceback, a URL in somebody else's error. Known ones (the settings') go in every form in which they travel: as they
are, quoted for a URL, escaped in JSON or Python, in Base64 alone or within more. Others go by their form: API keys,
what follows `Bearer`, passwords in URLs and connection strings, signed cookies and reviewers' tokens.
A line break or a terminal's escape in something that a client sent is spelled out: nobody writes our log for us.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any, Literal
from urllib.parse import quote, quote_plus, unquote

from pydantic import SecretStr

from flytewheel.settings import Settings
from router.access.callers import PLACE, Caller

REQUEST: ContextVar[MutableMapping[str, Any] | None] = ContextVar("request", default=None)  # its ASGI scope
FACTS = "facts"  # of a record that is more than a message: what it says, by name; its line is JSON in either form
INTERACTION = "flytewheel.interaction"  # in the ASGI scope: the id, once there is one

BLANK = "[secret]"
_SHORTEST = 6  # characters; what is shorter would blank words
_FORMS = re.compile(
    r"fw_[0-9A-Za-z]{16,}"
    r"|(?<=bearer )[^\s'\",;)]+|(?<=bearer%20)[^\s'\",;)]+"
    r"|(?<=basic )[0-9a-z+/=_-]{8,}"
    r"|(?<=://)[^\s/@'\"]*:[^\s/'\"]*(?=@)"
    r"|(?<=password=)(?:'[^']*'|[^\s&'\"]+)"
    r"|(?<=flytewheel_unit=)[^\s;'\",]+"
    r"|(?<=token=)[0-9a-f]{16,}",
    re.IGNORECASE,
)
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {0x2028: "\\u2028", 0x2029: "\\u2029"}
_BREAKS = {code: f"\\u{code:04x}" for code in (0x7F, 0x85, 0x2028, 0x2029)}  # which JSON allows, and readers split at
_QUIET = frozenset(
    ("Invalid HTTP request received.", "Unsupported upgrade request.")
)  # of whoever sends them, as often as they like: the answer says it


class Blanks:
    """Takes secrets out of texts.

    Args:
        secrets: that are known.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _spell(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def blank(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(BLANK, text)
        return _FORMS.sub(BLANK, text)

    def blank_all(self, value: Any) -> Any:
        """A copy of dicts, lists and texts in which no text has any."""
        if isinstance(value, dict):
            return {key: self.blank_all(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.blank_all(inner) for inner in value]
        return self.blank(value) if isinstance(value, str) else value


class Lines(logging.Formatter):
    """Formats records.

    Args:
        form: `text` or `json`.
        blanks: takes secrets out.
    """

    def __init__(self, form: Literal["text", "json"], blanks: Blanks) -> None:
        super().__init__()
        self._json = form == "json"
        self._blanks = blanks

    def format(self, record: logging.LogRecord) -> str:
        """One line; in text a traceback follows it."""
        facts = _describe(record)
        if (more_facts := record.__dict__.get(FACTS)) is not None:
            return self._write({**facts, **more_facts})
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text or ""
        if record.stack_info:
            trace = "\n".join(filter(None, (trace, self.formatStack(record.stack_info))))
        if self._json:
            return self._write({**facts, **({"exception": trace} if trace else {})})
        time, level, name, message = (facts[key] for key in ("time", "level", "logger", "message"))
        more = " ".join(f"{key}={facts[key]}" for key in ("interaction", "key") if key in facts)
        text = f"{time} {level} {name} {message.translate(_CONTROLS)}{f' ({more})' if more else ''}"
        return self._blanks.blank("\n".join(filter(None, (text, trace))))

    def _write(self, told: Mapping[str, Any]) -> str:
        return json.dumps(self._blanks.blank_all(dict(told)), ensure_ascii=False).translate(_BREAKS)


def set_up_logging(settings: Settings, *, stream: IO[str] | None = None) -> None:
    """Makes everything that this process says a line of this form: loggers, warnings, and what nobody caught."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(settings.log_format, Blanks(secrets_of(settings))))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.setLevel(logging.WARNING)
    uvicorn.addFilter(lambda record: record.msg not in _QUIET)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uncaught = logging.getLogger("router")
    sys.excepthook = lambda kind, error, trace: uncaught.critical("ends", exc_info=(kind, error, trace))

    def end_thread(arguments: threading.ExceptHookArgs) -> None:
        error = arguments.exc_value
        uncaught.error("a thread ended", exc_info=(type(error), error, arguments.exc_traceback) if error else None)

    threading.excepthook = end_thread


def secrets_of(settings: Settings) -> Iterator[str]:
    """What the settings hold that may be said to nobody."""
    for value in dict(settings).values():
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, str) and "://" in value:
            password = value.partition("://")[2].rpartition("@")[0].partition(":")[2]
            # A mark in it that should have been quoted: libpq takes the rest for a host or a database, and names it.
            for part in filter(None, (password, *re.split(r"[/@:?#&]", password))):
                yield part
                yield unquote(part)


def _describe(record: logging.LogRecord) -> dict[str, str]:
    facts = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    scope = REQUEST.get()
    if scope is not None:
        caller: Caller | None = scope.get(PLACE)
        if interaction := scope.get(INTERACTION):
            facts["interaction"] = str(interaction)
        if caller is not None and caller.key_id is not None:
            facts["key"] = caller.key_id
    return facts


def _spell(secret: str) -> Iterator[str]:
    """The forms in which a secret travels. Base64 has three, by where in a larger text it begins; its edges, which
    depend on the neighbours, are left out of them."""
    raw = secret.encode(errors="surrogateescape")
    yield secret
    for quoted in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield quoted
        yield re.sub("%..", lambda found: found[0].lower(), quoted)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(json.dumps(secret)[1:-1])[1:-1]
    yield repr(secret)[1:-1]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            coded = encode(b"\0" * shift + raw).decode().rstrip("=")
            core = coded[(0, 2, 3)[shift] : len(coded) - (1 if (len(raw) + shift) % 3 else 0)]
            if len(core) >= _SHORTEST:
                yield core
