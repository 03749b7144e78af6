"""Passwords and keys that only their name gives away: `password=…`, `"client_secret": "…"`, `--token …`,
`://user:pw@`.

Decides by the name before the value and by the value: words of documentation, variables, calls and paths stay. Where
a person would write prose behind the name ("password: required"), the value must mix letters and digits; behind `=`,
in quotes or after a flag, any value that is none of these counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flytewheel.pii.rules import Finder, Gate, Span

_WORD = (
    r"(?:pass(?:word|wd|wort|phrase|code|wrd)|passwrt|kennwort|pwd|secret|token|api[_. -]?key|access[_. -]?key|"
    r"account[_. -]?key|"
    r"secret[_. -]?key|private[_. -]?key|auth[_. -]?key|encryption[_. -]?key|signing[_. -]?key|mot de passe|"
    r"contrase\u00f1a|"
    r"contrasena|senha|wachtwoord|has\u0142o|[\u041f\u043f]\u0430\u0440\u043e\u043b\u044c|\u5bc6\u7801|\u5bc6\u78bc|"
    r"\u30d1\u30b9\u30ef\u30fc\u30c9|\ube44\ubc00\ubc88\ud638|client[_. -]?key|pgpass)"
)
_SEPARATOR = r"(?:[ \t]{0,3}(?:=>|:=|==?|:)[ \t]{0,3}|[ \t]{1,3}(?:is|was|ist|est|es|:is)[ \t]{0,2}:?[ \t]{1,2})"
_NAMED = rf"(?i:{_WORD})[\"'`\\*]{{0,3}}{_SEPARATOR}(?:\\?[\"'`]|\*\*)?"
_VALUE = r"[^\s\"'`<>\\,;(){}\[\]|\x00]{4,}"
_FLAG = r"--?(?i:[a-z-]{0,20}(?:password|passwd|secret|token|api-?key|access-?key|pass))[ \t]+[\"']?"
_USER_FLAG = r"(?:-u|--user|--proxy-user)[ \t=]+[\"']?[A-Za-z0-9._@-]+:"
_SSHPASS = r"sshpass +-p *[\"']?"
_MYSQL = r"(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,120}? -p"

_NAMED_RULE = re.compile(rf"({_NAMED.replace('(?i:', '(?:', 1)})({_VALUE})")  # in lower case: five times faster
_CLI_RULE = re.compile(rf"(?:(?<![A-Za-z0-9_-])(?:{_FLAG}|{_USER_FLAG})|\b{_SSHPASS}|\b{_MYSQL})({_VALUE})", re.ASCII)

# Every alternative of _WORD holds one of these.
_STEMS = (
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "kennwort",
    "mot de",
    "contrase",
    "senha",
    "wachtw",
    "has\u0142o",
    "\u0430\u0440\u043e\u043b\u044c",
    "\u5bc6",
    "\u30d1\u30b9",
    "\ube44\ubc00",
)
_FLAG_PARTS = ("-u", "--", "-p", " -t", "-s", "-a", "-P", "-S", "-T", "-A")
_URL = r"://[^ \t\r\n/:@<>\"'\x00]*:[^ \t\r\n/@<>\"'\x00]+@"
_URL_RULE = re.compile(r"://([^\s/:@<>\"'\x00]*:([^\s/<>\"'\x00]+))@(?=[^\s@/])")
_TOKEN_URL = r"://[A-Za-z0-9_-]{20,}@"
_TOKEN_URL_RULE = re.compile(r"://([A-Za-z0-9_-]{20,})@")

_DUMMY = re.compile(
    r"(?i)(?:(?:your|my|the|some|example|sample|dummy|fake|test|new|old|db|user|admin|root|change|insert|replace|"
    r"enter)[-_.]?)*"
    r"(?:pass(?:word|wd|phrase|code)?|pw|pwd|secret|token|key|api[-_]?key|value|here|me|it|this|credentials?|"
    r"string|x+|\*+|\.+|-+|_+|"
    r"null|none|nil|true|false|undefined|empty|required|optional|redacted|hidden|masked|missing|invalid|incorrect|"
    r"wrong|expired|"
    r"rejected|changed|reset|set|unset|str|int|bool|bytes|any|env|vault|prompt|input|default|example|placeholder|"
    r"basic|bearer|"
    r"authentication|authorization|not|is|was|and|for|from|with|must|should|can|cannot|has|are|the|to|in|on|of|or|"
    r"as|if|by)"
    r"(?:[-_.]?(?:here|value|goes|name|me|it))*[0-9]{0,3}[.!?:,]*"
)
_CODE = re.compile(
    r"[$%@/~.]|https?:|(?:os|self|this|config|cfg|settings|process|env|secrets|ctx|args|options|request|req|vars?|"
    r"var|data|local|"
    r"module|params|credentials|response|resp|values|Values)(?:\.|->|$)|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$|"
    r"[a-z_]+\.[a-z_.]+$|"
    r"[a-z]+(?:_[a-z]+)+$|[A-Z][a-z]+[.!?:]*$"
)


_NAME = re.compile(r"[A-Za-z_][A-Za-z_]*[0-9]?(?:[.][A-Za-z_]+)*")
_SPOKEN = re.compile(r"(?i)[a-z_-]*(?:key|token|secret|password|passwd)[a-z_-]{0,12}[0-9]?")


def _find_named(view: str) -> Iterator[Span]:
    lower = view.lower()
    if not any(stem in lower for stem in _STEMS):
        return
    for found in _NAMED_RULE.finditer(lower):
        lead = found.group(1)
        start, end = found.span(2)
        value = view[start:end].rstrip(".:?*`")
        if "==" in lead:
            continue
        quoted = lead[-1] in "\"'`"
        if not quoted and " =" in lead and _NAME.fullmatch(value):
            continue  # code
        if _is_secret(value, assigned=quoted or "=" in lead, quoted=quoted) and not view.startswith("(", end):
            yield start, start + len(value)


def _find_flags(view: str) -> Iterator[Span]:
    if not any(fixed in view for fixed in _FLAG_PARTS):
        return
    for found in _CLI_RULE.finditer(view):
        value = found.group(1).rstrip(".:?`")
        if _is_secret(value, assigned=True, quoted=False):
            yield found.start(1), found.start(1) + len(value)


def _is_secret(value: str, *, assigned: bool, quoted: bool) -> bool:
    if len(value) < 4 or _DUMMY.fullmatch(value[:60]) or _SPOKEN.fullmatch(value[:60]):
        return False
    if _CODE.match(value) and not (quoted and _mixes(value) and value[0] not in "$%{"):
        return False
    if _mixes(value):
        return len(value) >= (4 if assigned else 6)
    # Behind `=` or in quotes a word may be a password; a number is a count or a time.
    return assigned and len(value) >= 6 and any(letter.isalpha() for letter in value) and (quoted or "-" not in value)


def _mixes(value: str) -> bool:
    return any(letter.isdigit() for letter in value) and any(letter.isalpha() for letter in value)


def _find_credentials(view: str) -> Iterator[Span]:
    if "://" not in view:
        return
    for found in _URL_RULE.finditer(view):
        password = found.group(2)
        if not _DUMMY.fullmatch(password[:60]) and password[0] not in "${%":
            yield found.span(1)
    for found in _TOKEN_URL_RULE.finditer(view):
        if _mixes(found.group(1)):
            yield found.span(1)


CREDENTIALS = Finder(
    "CREDENTIALS", (Gate((_URL,), "words"), Gate((_TOKEN_URL,), "words")), _find_credentials, digits=False
)
FINDERS = (
    Finder("SECRET", (Gate((_NAMED,), "words"),), _find_named, digits=False),
    Finder(
        "SECRET",
        tuple(Gate((core,), "words") for core in (_FLAG, _USER_FLAG, _SSHPASS, _MYSQL.replace(r"\b", ""))),
        _find_flags,
        digits=False,
    ),
)
