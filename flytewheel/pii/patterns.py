"""E-mail addresses, bank accounts, cards, US numbers, network addresses and wallets.

Decides by form and check: cards by brand, length, grouping and Luhn; IBANs by the country's length and mod 97;
addresses by `ipaddress`; wallets by their check sums. What operators need stays: `git@host:path`, `user@2.service`,
versions, loopback, netmasks and multicast, names in C++ with `::`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from flytewheel.pii.cues import is_counter
from flytewheel.pii.rules import START, Finder, Gate, Span, compile_rule, find_zones, lead, unite
from flytewheel.pii.validators import (
    IBAN_LENGTHS,
    is_card,
    is_iban,
    passes_base58check,
    passes_bech32,
    passes_eip55,
    passes_luhn,
    passes_mod97,
)

_AT = r"(?:@|%40|&#64;|\\u0040)"
_SPELT_AT = r"[\[({<](?:at|AT|At)[\])}>]"
_AT_RULE = re.compile(_AT)
_LOCAL = re.compile(r"(?<![\w.+%-])\w[\w.+%'-]{0,63}\Z")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,62})\.)+[^\W\d_]{2,24}(?![\w-])")
_SPELT_AT_RULE = re.compile(_SPELT_AT)
_SPELT_RULE = re.compile(
    rf"(?<![\w.+-])\w[\w.+-]{{0,63}} ?{_SPELT_AT} ?[\w-]+(?:(?: ?[\[({{<](?:dot|DOT|Dot)[\])}}>] ?|\.)[\w-]+)+"
)
# What follows the last dot of a file or a unit, never of a domain.
_NO_DOMAIN_WORDS = (
    "png jpg jpeg gif svg webp ico service timer socket target mount slice scope swap automount json yaml yml "
    "toml html css txt log conf js ts tsx jsx tgz gz jar war whl exe dll lock xml csv sql "
)
_NO_DOMAIN = frozenset(_NO_DOMAIN_WORDS.split())
_SERVICES = frozenset(
    [
        "git",
        "hg",
        "svn",
        "root",
        "admin",
        "ubuntu",
        "ec2-user",
        "centos",
        "debian",
        "core",
        "deploy",
        "postgres",
        "core",
        "www-data",
    ]
)
_REMOTE = re.compile(r"(?:ssh|scp|rsync|sftp|mosh|git clone|git remote|sshfs)\b[^\n]{0,80}$")
_PATH = re.compile(r":(?:~|\.{0,2}/|[\w.-]+/|[\w-]+\.git\b)")

_IBAN = r"[A-Za-z]{2}[0-9]{2}(?:[ \r\n-]{0,2}[A-Za-z0-9]){11,30}"
_IBAN_RULE = re.compile(rf"{START}(?=({_IBAN}))[A-Za-z]{{2}}[0-9]{{2}}", re.ASCII)
_IBAN_BEGUN = re.compile(r"[0-9](?<=[A-Za-z]{2}[0-9])[0-9]")
_CARD = r"[0-9](?:[ .\t\r\n_-]{0,3}[0-9]){11,18}"
_DIGIT_RUN = re.compile(
    r"(?<![A-Za-z0-9])(?<![A-Za-z0-9][_-])(?<![0-9][.,])(?:[0-9](?:[ .\t\r\n_-]{0,3}[0-9]){11,})", re.ASCII
)
_CARD_GROUPS = re.compile(r"4 4 4 4(?: 3)?|4 6 5|4 6 4|4 4 5|4 5 4|4 4 4|8 8|6 13|[0-9]{2}|5 5 5|4 4 7|6 4 6|5 4 4|4 8")
_CARD_CUE = re.compile(
    r"card|visa|amex|maestro|credit|debit|karte|carte|tarjeta|carta|cart[aã]o|kaart|kort|kart|卡|カード|카드|карт|"
    r"(?<![a-z])cc(?![a-z])"
)

_SSN = r"[0-9]{3}[ .-][0-9]{2}[ .-][0-9]{4}"
_SSN_RULE = re.compile(
    r"(?<![\w-])(?<![0-9][.,])(?!000|666)[0-9]{3}([ .-])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![\w-]|[.,][0-9])", re.ASCII
)
_SSN_CORE = re.compile(_SSN)
_SSN_CUE = re.compile(r"(?i)\b(?:ssn|social security|soc\.? ?sec|itin|tax ?id)[^0-9\n]{0,24}$")
_PLAIN_SSN = r"(?i:ssn|social security|itin)[^0-9\n]{0,24}[0-9]{9}"
_PLAIN_SSN_RULE = re.compile(r"(?i:ssn|social security|itin)[^0-9\n]{0,24}(?<!\w)((?!000|666)[0-9]{9})(?!\w)", re.ASCII)

_MAC = r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"
_MAC_PART = re.compile(r"[:.-](?:(?<=[:-])(?:[0-9A-Fa-f]{2}[:-]){4}|(?<=\.)[0-9A-Fa-f]{4}\.)")
_MAC_RULE = re.compile(
    r"(?<![\w:-])(?<!\w\.)(?:[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![\w-]|[:.]\w)",
    re.ASCII,
)

_IPV4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_IPV4_RULE = re.compile(rf"(?<![\w.])(?<![\w.]-)(?<!\w--){_IPV4}(?!\w|\.[0-9]|-[0-9](?![0-9]{{0,2}}\.[0-9]))", re.ASCII)
_RANGE_END = re.compile(r"(?<=[0-9]-)" + _IPV4 + r"(?!\w|\.[0-9])", re.ASCII)
_QUAD = re.compile(_IPV4)
_IPV6 = r"::|(?:[0-9A-Fa-f]{1,4}:){6}"
_IPV6_PART = r":[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:"  # from a colon on: ten times faster
_IPV6_RULE = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![\w:])", re.ASCII
)
_IPV6_PORT = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?=:[0-9]{2,5}(?![\w:]))", re.ASCII)
_COLONS = re.compile(_IPV6)
_GLOBAL_IPV6 = re.compile(r"(?i)[23][0-9a-f]{3}:|f[cde][0-9a-f]{2}:")
_VERSION_CUE = re.compile(
    r"(?i)(?:\bv|\bver(?:sion)?s?|\breleases?|\bbuilds?|\bcharts?|\btags?|\brev(?:ision)?|\bfirmware|\bdriver|"
    r"\bsection|\bchapter|"
    r"\bclause|\bassembly\w*|\bpackage|\bplugin|\bsdk|\bpatch|\bhotfix|§|[=~><^]=|\boid)[\"']?(?: is|"
    r" was)?[ :=\"'@v]{0,4}$|identifier\([\"']$|[0-9]\.[0-9]+[ ,]$"
    r"|\b(?:upgrad|updat|bump|downgrad)\w*[^\n]{0,60}(?:from|to|->|→) ?v?$|\b(?:upgrad|updat|bump|downgrad)\w* $"
)
_PRODUCT = re.compile(r"[A-Za-z][\w.+-]*/$", re.ASCII)

_BASE58 = r"[123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz]"
_BASE58_WALLET = rf"[13LMDXTA9579KcrtQmn2xyzU]{_BASE58}{{24,110}}"
_BECH32 = r"(?:bc|tb|ltc|bcrt|addr|addr_test|stake|cosmos|osmo|terra|nsec|lnbc|zs)1[ac-hj-np-z02-9]{11,110}"
_BECH32_UPPER = r"(?:BC|TB|LTC)1[AC-HJ-NP-Z02-9]{11,110}"
_ETHEREUM = r"0x[0-9a-fA-F]{40}"
_WALLET_RULE = compile_rule(
    f"(?P<eth>{_ETHEREUM})|(?P<bech>{_BECH32}|{_BECH32_UPPER})|(?P<xmr>[48][0-9AB]{_BASE58}{{93}})|"
    f"(?P<b58>{_BASE58_WALLET})"
)
_RUNS = re.compile("[A-Za-z0-9_]+")
_SHORTEST_WALLET = 14
_SOLANA_CUE = r"(?i:solana|\bsol\b|phantom)"
_SOLANA_RULE = compile_rule(rf"{_BASE58}{{32,44}}")


def _find_emails(view: str) -> Iterator[Span]:
    for at in _AT_RULE.finditer(view):
        local = _LOCAL.search(view, max(0, at.start() - 65), at.start())
        domain = _DOMAIN.match(view, at.end())
        if local is None or domain is None or domain.group().rpartition(".")[2].lower() in _NO_DOMAIN:
            continue
        start, end = local.start(), domain.end()
        if view.startswith(":", end) and (_PATH.match(view, end) or local.group() in _SERVICES):
            continue
        if local.group() in _SERVICES and _REMOTE.search(view, max(0, start - 100), start):
            continue
        yield start + local.group().startswith("_"), end
    if _SPELT_AT_RULE.search(view):
        yield from (found.span() for found in _SPELT_RULE.finditer(view))


def _find_ibans(view: str) -> Iterator[Span]:
    if not _IBAN_BEGUN.search(view):
        return
    for found in _IBAN_RULE.finditer(view):
        raw = found.group(1)
        places = [place for place, letter in enumerate(raw) if letter.isalnum()]
        stated = IBAN_LENGTHS.get(raw[:2].upper(), 0)
        if not stated:
            continue
        # Some generators miss a country's length by a little: then upper case and blocks of four must speak for it.
        for length in (stated, *(other for other in range(34, 14, -1) if other != stated)):
            if not 15 <= length <= len(places) or abs(length - stated) > 3:
                continue
            whole = raw[: places[length - 1] + 1]
            end = found.start() + len(whole)
            compact = re.sub("[^A-Za-z0-9]", "", whole).upper()
            if view[end : end + 1].isalnum() or not passes_mod97(compact):
                continue
            groups = re.split(r"[ \r\n-]+", whole)
            regular = len(groups) == 1 or all(len(group) == 4 for group in groups[:-1])
            if length == stated and is_iban(compact) and (regular or whole[2:].upper() == whole[2:]):
                yield found.start(), end
                break
            if length != stated and regular and whole.upper() == whole:
                yield found.start(), end
                break


def _find_cards(view: str) -> Iterator[Span]:
    for run in (run for zone in find_zones(view) for run in _DIGIT_RUN.finditer(view, *zone)):
        text = run.group()
        groups = [found.span() for found in re.finditer("[0-9]+", text)]
        first = 0
        while first < len(groups):
            last = _end_of_card(view, run.start(), text, groups, first)
            if last is None:
                first += 1
            else:
                yield run.start() + groups[first][0], run.start() + groups[last][1]
                first = last + 1


def _end_of_card(view: str, place: int, text: str, groups: list[Span], first: int) -> int | None:
    """The last group of the card number that begins with the group `first`; `text` is the run of digits at `place`."""
    if first and re.search("[._]", text[groups[first - 1][1] : groups[first][0]]):
        return None  # what stands behind a decimal point
    digits, shape = "", []
    longest = None
    for last in range(first, min(first + 6, len(groups))):
        start, end = groups[last]
        digits += text[start:end]
        shape.append(str(end - start))
        if len(digits) > 19:
            break
        if len(digits) < 12 or not _CARD_GROUPS.fullmatch(" ".join(shape)) or not passes_luhn(digits):
            continue
        # Four fours that pass are a card of whatever brand; anything else needs a brand's prefix.
        named = _CARD_CUE.search(view[max(0, place - 32) : place].lower())
        if (
            not is_card(digits)
            and not named
            and (shape != ["4", "4", "4", "4"] or digits[0] in "01" or len(set(digits)) < 4)
        ):
            continue
        seps = {text[groups[one][1] : groups[one + 1][0]] for one in range(first, last)}
        stop = place + end
        if len(seps) > 1 and not seps <= {" ", "\n", "\r\n", " \n", "-", "-\n", "  "}:
            continue
        if view[stop : stop + 1].isalnum() or re.match(r"[.,_-]\w", view[stop : stop + 2]):
            continue
        if first == last and is_counter(view[max(0, place + groups[first][0] - 32) : place + groups[first][0]]):
            continue
        if last == first and len(digits) < 14 and not named and view[place + groups[first][0] - 1 :][:1] in ":/-=_":
            continue  # the short brands' numbers look like accounts of clouds
        longest = last
    return longest


def _find_ssns(view: str) -> Iterator[Span]:
    for found in _SSN_RULE.finditer(view) if _SSN_CORE.search(view) else ():
        if found.group(1) == "-" or _SSN_CUE.search(view[max(0, found.start() - 48) : found.start()]):
            yield found.span()
    lower = view.lower()
    if "ssn" in lower or "social security" in lower or "itin" in lower:
        yield from (found.span(1) for found in _PLAIN_SSN_RULE.finditer(view))


def _find_macs(view: str) -> Iterator[Span]:
    if not _MAC_PART.search(view):
        return
    for found in _MAC_RULE.finditer(view):
        if len(set(re.sub(r"[^0-9a-f]", "", found.group().lower()))) > 1 and (
            ":" in found.group() or "-" in found.group() or re.search("[A-Fa-f]", found.group())
        ):
            yield found.span()


def _find_addresses(view: str) -> Iterator[Span]:
    for quad in _QUAD.finditer(view):
        found = _IPV4_RULE.match(view, quad.start()) or _RANGE_END.match(view, quad.start())
        if found is None:
            continue
        raw = found.group()
        if _is_personal(raw) and not _is_version(view, found.start(), found.end()):
            yield found.span()
    if ("::" not in view and view.count(":") < 6) or not _COLONS.search(view):
        return
    for found in [*_IPV6_RULE.finditer(view), *_IPV6_PORT.finditer(view)]:
        raw = found.group()
        groups = [group for group in raw.split(":") if group]
        # `a::b` is an address, but far more often a name in C++ or Ruby.
        if "::" not in raw and all(len(group) <= 2 for group in groups):
            continue  # a fingerprint
        if (
            (len(groups) >= 3 or _GLOBAL_IPV6.match(raw))
            and any(letter.isdigit() for letter in raw)
            and _is_personal(raw)
        ):
            yield found.span()


def _is_version(view: str, start: int, end: int) -> bool:
    before = view[max(0, start - 72) : start]
    if _VERSION_CUE.search(before):
        return True
    return bool(_PRODUCT.search(before)) and not before.endswith("//") and not re.match(r":[0-9]", view[end : end + 2])


def _is_personal(raw: str) -> bool:
    try:
        address = ipaddress.ip_address(raw)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address) and (int(address) < 1 << 24 or raw == "169.254.169.254"):
        return False  # 0.0.0.255 is a wildcard mask, the other the metadata service of every cloud
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or raw.startswith("255."))


def _find_wallets(view: str) -> Iterator[Span]:
    if max(map(len, _RUNS.findall(view)), default=0) < _SHORTEST_WALLET:
        return
    for found in _WALLET_RULE.finditer(view):
        text = found.group()
        if (
            (found["eth"] and len(set(text.lower())) > 4 and passes_eip55(text))
            or (found["bech"] and passes_bech32(text))
            or found["xmr"]
            or (found["b58"] and passes_base58check(text))
        ):
            yield found.span()
    lower = view.lower()
    if ("sol" in lower or "phantom" in lower) and re.search(_SOLANA_CUE, view):
        for found in _SOLANA_RULE.finditer(view):
            text = found.group()
            if re.search("[0-9]", text) and re.search("[a-z]", text) and re.search("[A-Z]", text):
                yield found.span()


# Of a repetition at a gate's end its least is enough.
_SHORT_IBAN = _IBAN.replace("{11,30}", "{11}")
_SHORT_CARD = _CARD.replace("{11,18}", "{11}")
_SHORT_BASE58 = f"[13LMDXTA9579KcrtQmn2xyzU48]{_BASE58}{{24}}"
_SHORT_BECH32 = unite([core.replace("{11,110}", "{11}") for core in (_BECH32, _BECH32_UPPER)])

EMAIL = Finder("EMAIL", (Gate((_AT,), "words"), Gate((_SPELT_AT,), "words")), _find_emails, digits=False)
IBAN = Finder("IBAN", (Gate((lead(_SHORT_IBAN),), "tokens"),), _find_ibans)
CARD = Finder("CARD", (Gate((lead(_SHORT_CARD),), "numbers", near=True),), _find_cards)
SSN = Finder("SSN", (Gate((_SSN,), "numbers", near=True), Gate((_PLAIN_SSN,), near=True)), _find_ssns)
MAC = Finder("MAC", (Gate((lead(_MAC),), "words"),), _find_macs, digits=False)
IP = Finder("IP", (Gate((lead(_IPV4),), "tokens"), Gate(("::",)), Gate((_IPV6_PART, _IPV6))), _find_addresses)
CRYPTO = Finder(
    "CRYPTO",
    (
        Gate((_ETHEREUM,), "keys"),
        Gate((_SHORT_BECH32,), "keys"),
        Gate((lead(_SHORT_BASE58),), "tokens"),
        Gate((_SOLANA_CUE, _BASE58 + "{32}")),
    ),
    _find_wallets,
)
