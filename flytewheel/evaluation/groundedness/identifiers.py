"""Identifiers in a text: addresses, paths, hosts, channels, handles, hashes, codes, and names of code.

Decides by form alone. A word with a hyphen is one only if it holds a digit or ends like the name of a service
(`billing-api`), so that `read-only` is prose; a word with a dot only if it is no abbreviation. Case and every letter
count: the near miss is the dangerous one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flytewheel.evaluation.groundedness.units import AFTER
from flytewheel.evaluation.groundedness.wording import listed

_TOKEN = re.compile(r"(?<![\w./@#$-])[@#$~./\\]?[\w\u0300-\u036f./\\@#:~%+=&?${}-]+(?:\(\))?")
_LINK = re.compile(
    r"[a-z][a-z0-9+.-]{1,15}://[^\s<>\"'`|\\^{}「」，。]{2,}|(?<![\w.])www\.[^\s<>\"'`|]{3,}|mailto:\S+", re.I
)
_MAIL = re.compile(r"[\w+-][\w.+-]*@[\w-]+(?:\.[\w-]+)+")
_SIGIL = re.compile(r"[@#][\w][\w.-]*")
_HOST = re.compile(r"(?:[a-z0-9_](?:[\w-]{0,62})\.){1,8}[a-z][\w-]{1,30}(?::\d{1,5})?", re.I)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5}|/\d{1,2})?|(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}", re.I)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_HASH = re.compile(r"(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{7,128}", re.I)
_PATH = re.compile(r"(?:~|\.{1,2})?/[\w.@+-]+(?:/[\w.@+:-]+)*/?|[A-Za-z]:\\[\w.\\-]+|[\w.@+-]+(?:/[\w.@+:-]+)+/?")
_SNAKE = re.compile(r"_*[^\W_]+(?:_+[^\W_]+)+_*|__\w+__")
_CAMEL = re.compile(r"[a-z]+[0-9]*(?:[A-Z][a-z0-9]*)+|(?:[A-Z][a-z0-9]+){3,}|(?:[A-Z][a-z0-9]*)+(?:Exception|Error)")
_VERSION = re.compile(r"v\d+(?:\.\w+){0,4}(?:-[\w.]+)?|\d+(?:\.\d+){2,4}(?:[-+.]?[a-z]\w*)?", re.I)
_CODE = re.compile(r"(?=\w*[^\W\d_])[^\W_]*\d[^\W_]*(?:-[^\W_]+)*|[^\W\d_]+(?:-[^\W_]+)*-\w*\d\w*")
_NUMBERED = re.compile(
    r"[+-]?\d[\d.,]*(?:x\d+)?(?:st|nd|rd|th|er|e|x|ª|º)?|\d{1,2}[h:]\d{2}(?:[ap]m)?|\d{1,2}[ap]m", re.I
)
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*\}?|%\w+%|\{\{?\w+\}?\}")
_KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
_SUFFIXES = listed(
    "api apis db worker workers cache proxy service svc queue server gateway prod staging backend frontend cluster job "
    "cron daemon lb cdn exporter consumer producer scheduler controller collector broker store registry router ingress "
    "operator runner sidecar webhook lambda bucket topic index oncall ops alerts sre infra stack pipeline bot adapter "
    "replica node pod vm host app web auth config conf secret token key env dev ui cli sdk lib core engine pool"
)
_PREFIXES = listed(
    "non multi self full pre post re in on off out cross per no single customer inter intra co sub each every all well "
    "high low long short first last real open new old two three api user public private master primary access"
)
_EXTENSIONS = listed(
    "py js ts go rs rb sh md txt yaml yml json toml ini cfg conf log csv xml html css sql db zip tar gz pdf png jpg "
    "svg "
    "java c h cpp cs php ps1 bat exe env lock service pem crt key parquet jsonl com org net io dev de fr es uk eu"
)
_ABBREVIATIONS = listed(
    "e.g i.e z.b d.h u.a a.m p.m p.ex u.s u.k ph.d s.o s.u o.ä i.d.r u.s.a n.b v.a e.v c.f b.v d.c p.s q.e.d"
)
_TRAIL = ".,:;!?-=&"


def find_identifiers(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each."""
    taken = 0
    for found in _LINK.finditer(text):
        bare = _strip_link(found.group())
        yield found.start(), found.start() + len(bare)
    for found in _TOKEN.finditer(text):
        start, token = found.start(), found.group()
        if start < taken or "://" in token or token.lower().startswith("www."):
            continue
        called = token.endswith("()")
        bare = token.removesuffix("()").rstrip(_TRAIL)
        if bare.isalpha() and bare[1:].islower() and not called:
            continue  # a word
        lead = len(bare) - len(bare.lstrip("_*=&?%:+")) if not bare.startswith("__") else 0
        if bare.startswith(":"):
            lead = 1
        bare = bare[lead:]
        if len(bare) > 1 and bare[0] == "_" == bare[-1] and "_" not in bare[1:-1]:
            lead, bare = lead + 1, bare[1:-1]
        if bare.endswith("_") and not bare.startswith("_"):
            bare = bare.rstrip("_")
        for offset, part in _split_foreign(bare):
            if part and (is_identifier(part) or (called and re.fullmatch(r"[A-Za-z_][\w.]*", part))):
                begin = start + lead + offset
                yield begin, begin + len(part)
                taken = begin + len(part)


def is_identifier(token: str) -> bool:
    """Whether a token without white space has the form of one."""
    if not 2 <= len(token) <= 300 or not any(letter.isalnum() for letter in token):
        return False
    if _UUID.fullmatch(token) or _MAIL.fullmatch(token) or _ADDRESS.fullmatch(token) or _VARIABLE.fullmatch(token):
        return True
    if token[0] in "@#":
        return (_SIGIL.fullmatch(token) is not None and not token[1:].isdecimal()) or (
            token[1:].isdecimal() and len(token) > 3
        )
    if re.fullmatch(r"0x[0-9a-f]+", token, re.IGNORECASE):
        return True
    if _is_measure(token):
        return False
    if "/" in token or "\\" in token:
        return _is_path(token)
    if _SNAKE.fullmatch(token) or _CAMEL.fullmatch(token) or _VERSION.fullmatch(token):
        return True
    if "." in token:
        return _is_dotted(token)
    if _HASH.fullmatch(token):
        return True
    if _KEBAB.fullmatch(token) and not token[0].isdigit():
        parts = token.split("-")
        return any(letter.isdigit() for letter in token) or (parts[-1] in _SUFFIXES and parts[0] not in _PREFIXES)
    return _CODE.fullmatch(token) is not None and not token.replace("-", "").isdecimal() and token[:4].isascii()


def _is_measure(token: str) -> bool:
    """Whether it is a number with its unit: `30s`, `2nd`, `14h30`, `30-day`."""
    if _NUMBERED.fullmatch(token):
        return True
    found = re.match(r"[+-]?\d[\d.,]*", token)
    if found is None:
        return False
    if re.fullmatch(r"[+-]?\d+(?:[.,]\d+)?(?:-\d+)?-[a-zäöüß]+", token, re.I):
        return True
    rest = token[found.end() :]
    parts = re.fullmatch(r"-?(?:\d[\d.,]*)?([^\W\d]*|%)(?:/[^\W\d]+)?", rest)
    if parts is None:
        joined = re.fullmatch(r"([a-z]{1,4})\d+([a-z]{1,4})", rest, re.I)
        return joined is not None and all(_is_unit(name) for name in joined.groups())
    return not parts[1] or _is_unit(parts[1])


def _is_unit(name: str) -> bool:
    found = AFTER.match(name)
    return found is not None and found.end() == len(name)


def _is_path(token: str) -> bool:
    if not _PATH.fullmatch(token):
        return False
    if token[0] in "/~." or "\\" in token:
        return len(token) > 2
    parts = [part for part in token.split("/") if part]
    if all(part[0].isdigit() for part in parts):
        return False
    return any(is_identifier(part) for part in parts) or (len(parts) > 2 and token.islower() and token.isascii())


def _is_dotted(token: str) -> bool:
    lower = token.lower().strip(".")
    parts = lower.split(".")
    if lower in _ABBREVIATIONS or all(len(part) <= 1 for part in parts) or len(parts) < 2 or not all(parts):
        return False
    if token.startswith(".") and re.fullmatch(r"\.[a-z]\w+", token):
        return True
    if parts[-1] in _EXTENSIONS and re.fullmatch(r"[\w.-]+", token):
        return True
    if len(parts) == 2 and re.fullmatch(r"[^\W\d_]+\.[A-Z][a-z]+", token):
        return False  # a missing space between two sentences
    return (re.fullmatch(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)+", token) is not None and min(map(len, parts)) > 1) or (
        _HOST.fullmatch(token) is not None
    )


def _split_foreign(token: str) -> Iterator[tuple[int, str]]:
    """Runs of letters that are written with spaces: an identifier inside Chinese or Japanese text stands alone."""
    if token.isascii() or not re.search("[\u3040-\u9fff\uac00-\ud7af]", token):
        yield 0, token
        return
    for found in re.finditer("[^\u3040-\u30ff\u3400-\u9fff]+", token):
        lead = len(found.group()) - len(found.group().lstrip(":=.,"))
        yield found.start() + lead, found.group()[lead:].rstrip(_TRAIL)


def _strip_link(link: str) -> str:
    link = link.rstrip(".,:;!?*_")
    while link and link[-1] in ")]" and link.count(link[-1]) > link.count("(" if link[-1] == ")" else "["):
        link = link[:-1].rstrip(".,:;!?*_")
    return link
