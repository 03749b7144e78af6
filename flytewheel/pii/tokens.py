"""Keys and tokens that say by their own form what they are, and private keys.

Decides by the issuers' published prefixes and lengths; digests, trace ids and ARNs have none of them. Each form is
searched only where its fixed part stands in the text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from flytewheel.pii.rules import Finder, Gate, Span, compile_rule, unite

_BEFORE = r"(?<![A-Za-z0-9_-])"
_AFTER = r"(?![A-Za-z0-9_-])"

# (fixed part, core)
_FORMS: tuple[tuple[str, str], ...] = (
    *((prefix, rf"{prefix}[A-Z0-9]{{16}}") for prefix in ("AKIA", "ASIA", "AROA", "ABIA", "ACCA")),  # AWS
    *((f"gh{letter}_", rf"gh{letter}_[A-Za-z0-9]{{36,}}") for letter in "pousr"),
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,}"),
    ("gl", r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt|ffct)-[A-Za-z0-9_.-]{19,}[A-Za-z0-9_-]"),  # GitLab
    ("xox", r"xox[abceoprs]-[A-Za-z0-9-]{10,}"),
    ("xapp-", r"xapp-[A-Za-z0-9-]{10,}"),
    ("_live_", r"[srp]k_live_[A-Za-z0-9]{16,}"),  # Stripe
    ("_test_", r"[srp]k_test_[A-Za-z0-9]{16,}"),
    ("whsec_", r"whsec_[A-Za-z0-9+/]{24,}={0,2}"),
    ("sk-", r"sk-[A-Za-z0-9_-]{20,}"),  # OpenAI, Anthropic, OpenRouter
    ("hf_", r"hf_[A-Za-z0-9]{30,}"),
    ("api_org_", r"api_org_[A-Za-z0-9]{30,}"),
    ("AIza", r"AIza[A-Za-z0-9_-]{35}"),  # Google
    ("ya29.", r"ya29\.[A-Za-z0-9_-]{20,}"),
    ("GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    ("1//0", r"1//0[A-Za-z0-9_-]{40,}"),
    ("npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi-", r"pypi-[A-Za-z0-9_-]{50,}"),
    ("SG.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),  # SendGrid
    ("SK", r"SK[0-9a-f]{32}"),  # Twilio
    ("AC", r"AC[0-9a-f]{32}"),
    ("key-", r"key-[0-9a-f]{32}"),  # Mailgun
    ("-us", r"[0-9a-f]{32}-us[0-9]{1,2}"),  # Mailchimp
    ("_v1_", r"do[opr]_v1_[0-9a-f]{64}"),  # DigitalOcean
    ("dapi", r"dapi[0-9a-f]{32}(?:-[0-9])?"),  # Databricks
    ("HRKU-", r"HRKU-[A-Za-z0-9_-]{36,}"),  # Heroku
    ("shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),  # Shopify
    ("sq0", r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,}"),  # Square
    ("lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    ("secret_", r"secret_[A-Za-z0-9]{43}"),  # Notion
    ("ntn_", r"ntn_[A-Za-z0-9]{40,}"),
    ("hv", r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),  # Vault
    (".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}"),  # Terraform
    ("glsa_", r"glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}"),  # Grafana
    ("glc_", r"glc_[A-Za-z0-9+/]{32,}={0,2}"),
    ("NRAK-", r"NRAK-[A-Z0-9]{27}"),  # New Relic
    ("sntr", r"sntr(?:ys|yu)_[A-Za-z0-9_=+/]{40,}"),  # Sentry
    ("dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}"),
    ("dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}"),  # Doppler
    ("PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),  # Postman
    ("ATATT3", r"ATATT3[A-Za-z0-9_=-]{60,}"),  # Atlassian
    ("EAA", r"EAA[A-Za-z0-9]{80,}"),  # Meta
    ("AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    ("r8_", r"r8_[A-Za-z0-9]{37}"),  # Replicate
    ("gsk_", r"gsk_[A-Za-z0-9]{40,}"),  # Groq
    ("xai-", r"xai-[A-Za-z0-9]{60,}"),
    ("pplx-", r"pplx-[A-Za-z0-9]{40,}"),
    ("sbp_", r"sbp_[0-9a-f]{40}"),  # Supabase
    ("pscale_", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,}"),
    ("rubygems_", r"rubygems_[0-9a-f]{48}"),
    ("oy2", r"oy2[a-z0-9]{43}"),  # NuGet
    ("lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f_]{40,}"),  # LangSmith
    ("pcsk_", r"pcsk_[A-Za-z0-9_]{40,}"),  # Pinecone
    ("figd_", r"figd_[A-Za-z0-9_-]{40}"),
    ("pat", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),  # Airtable
    ("8Q~", r"[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{31,34}"),  # Entra ID
    ("==", r"[A-Za-z0-9+/]{86}=="),  # Azure storage
    ("APKA", r"APKA[A-Z0-9]{16}"),
    ("eyJ", r"(?:[A-Za-z0-9]{3,10}_)?eyJrIjoi[A-Za-z0-9]{40,}={0,2}"),  # Grafana, older
    (":", r"[0-9]{8,10}:[A-Za-z0-9_-]{35}"),  # Telegram
    (".", r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27,40}"),  # Discord
    ("hooks.slack.com/", r"https?://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_+-]{20,}"),
    ("/api/webhooks/", r"https?://(?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/[0-9]+/[A-Za-z0-9_-]{40,}"),
    (".webhook.office.com/", r"https?://[a-z0-9-]+\.webhook\.office\.com/[A-Za-z0-9@/_-]{40,}"),
)
# Forms that begin with anything cost a gate dear: it begins with their fixed part or a mark inside.
_GATES = {
    "-us": r"-us[0-9]",
    ".atlasv1.": r"\.atlasv1\.",
    "8Q~": r"8Q~",
    "==": r"==",
    ":": r":[A-Za-z0-9_-]{35}",
    ".": r"\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27}",
    "eyJ": "eyJrIjoi",
}
_STARTS = [core for fixed, core in _FORMS if fixed not in _GATES]

# (fixed part, what stands before, the key itself)
_VALUES: tuple[tuple[str, str, str], ...] = (
    ("Key=", r"(?:Account|SharedAccess)Key=", r"[A-Za-z0-9+/]{40,}={0,2}"),  # Azure connection strings
    ("sig=", r"[?&;]sig=", r"[A-Za-z0-9%+/_-]{30,}={0,2}"),  # Azure SAS
    ("X-Amz-", r"X-Amz-(?:Signature|Security-Token)=", r"[A-Za-z0-9%+/_=-]{32,}"),
    ("X-Goog-", r"X-Goog-Signature=", r"[0-9A-Za-z%+/_=-]{32,}"),
)
_BEARER = r"(?i:bearer)[ \t]{1,3}[\"']?"
_BEARER_VALUE = r"[A-Za-z0-9._~+/-]{16,}=*"
_BASIC = r"(?i:basic)[ \t]{1,3}"
_BASIC_VALUE = r"[A-Za-z0-9+/]{7,}={0,2}"

# By a sign in the fixed part, else its first letter: most texts lack most of these.
_MARKED: dict[str, list[tuple[str, re.Pattern[str]]]] = defaultdict(list)
for _fixed, _core in _FORMS:
    _mark = next((sign for sign in "~:=_./-" if sign in _fixed), _fixed[0])
    _MARKED[_mark].append((_fixed, compile_rule(_core, _BEFORE, _AFTER)))
_COMPILED_VALUES = tuple((fixed, re.compile(f"{lead}({value})")) for fixed, lead, value in _VALUES)
_AUTHORIZED = re.compile(f"(?<![A-Za-z0-9_])(?:{_BEARER}({_BEARER_VALUE})|{_BASIC}({_BASIC_VALUE}))", re.ASCII)

_JWT = r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{0,}){1,3}"
_JWT_RULE = compile_rule(_JWT, _BEFORE, "")
_PRIVATE_KEY = (
    r"-----BEGIN (?:[A-Z0-9 ]{0,20}PRIVATE KEY(?: BLOCK)?)-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----|"
    r"PuTTY-User-Key-File-[0-9]"
)
_PRIVATE_KEY_RULE = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{0,20}PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END \1-----|\Z)"
    r"|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----.*?(?:---- END SSH2 ENCRYPTED PRIVATE KEY ----|\Z)"
    r"|PuTTY-User-Key-File-[0-9].*?(?:Private-MAC: ?[0-9a-f]+|\Z)",
    re.DOTALL,
)


def _find_private_keys(view: str) -> Iterator[Span]:
    if "PRIVATE KEY" in view or "PuTTY" in view:
        yield from (found.span() for found in _PRIVATE_KEY_RULE.finditer(view))


def _find_jwts(view: str) -> Iterator[Span]:
    if "eyJ" in view:
        yield from (found.span() for found in _JWT_RULE.finditer(view))


def _find_keys(view: str) -> Iterator[Span]:
    for fixed, rule in chain.from_iterable(forms for mark, forms in _MARKED.items() if mark in view):
        if fixed in view:
            for found in rule.finditer(view):
                if _is_mixed(found.group()[len(fixed) :] if found.group().startswith(fixed) else found.group()):
                    yield found.span()
    for fixed, rule in _COMPILED_VALUES:
        if fixed in view:
            yield from (found.span(1) for found in rule.finditer(view))


def _is_mixed(value: str) -> bool:
    """A key is random: a long name in kebab or snake case has no digit, or no letter."""
    return any(letter.isdigit() for letter in value) and any(letter.isalpha() for letter in value)


def _find_authorizations(view: str) -> Iterator[Span]:
    if not any(part in view for part in ("earer", "asic", "EARER", "ASIC")):
        return
    for found in _AUTHORIZED.finditer(view):
        if found.group(1):
            if _is_mixed(found.group(1)) or len(found.group(1)) >= 32:
                yield found.span(1)
        elif _is_basic(found.group(2)):
            yield found.span(2)


def _is_basic(value: str) -> bool:
    """Whether the value is `user:password` in base64 (RFC 7617)."""
    try:
        pair = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return ":" in pair and pair.isprintable()


FINDERS = (
    Finder("PRIVATE_KEY", (Gate((_PRIVATE_KEY,), "words"),), _find_private_keys, digits=False),
    Finder("JWT", (Gate((_JWT,), "keys"),), _find_jwts),
    Finder(
        "API_KEY",
        (Gate((unite([*_STARTS, *_GATES.values(), *(lead + value for _, lead, value in _VALUES)]),), "keys"),),
        _find_keys,
    ),
    Finder(
        "API_KEY",
        (Gate((_BEARER + _BEARER_VALUE,), "words"), Gate((_BASIC + _BASIC_VALUE,), "words")),
        _find_authorizations,
        digits=False,
    ),
)
