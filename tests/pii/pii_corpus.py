"""A labelled corpus of personal data and of what only looks like it, made from a seed; all invented.

Things come from Faker in twenty locales and from formats of our own; sentences are ours, in ten languages, with a
word that says what follows and without one. A seed that nobody looked at while writing rules is as good as the
others. Secrets are put together at run time, so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from faker import Faker

from tests.pii.pii_things import ID_LOCALES, LOCALES, MAKERS, STRONG_IDS


@dataclass(frozen=True, slots=True)
class Planted:
    """A sentence that holds `value`, a thing of `kind`; "" where it holds nothing to be found."""

    kind: str
    value: str
    sentence: str
    source: str = ""


# fmt: off
_LEADS = {
    "EMAIL": (
        "write to {}", "mail {} today", "({})", "Contact: <{}>.", "user {} cannot log in", '{{"email": "{}"}}',
        "email={}&x=1", "{}", "**{}** asked", "`{}`", "[mail](mailto:{})", "Bitte an {}.", "cc {}, thanks",
        "From: {}\nTo: ops", "\\n{}\\n", "请发邮件到{}谢谢", "login failed for '{}' (attempt 3)", "{}: disk full",
    ),
    "PHONE": (
        "My number is {}.", "call {} now", "phone: {}", "Tel. {}", "tel:{}", "you can reach me at {} after lunch",
        "mobile {}", "Fax: {}", '{{"phone": "{}"}}', "text me on {}", "WhatsApp {}", "Phone number: {}",
        "on-call phone is {}, ask for me", "Telefon: {}", "Rufnummer {}", "Handy: {}", "mein Telefon ist {}",
        "téléphone : {}", "teléfono {}", "Tel.: {}", "telefono: {}", "telefoon {}", "telefone: {}", "celular {}",
        "puhelin {}", "тел. {}", "телефон: {}", "电话：{}", "電話番号: {}", "전화: {}",
        "**Phone:** {}", "{} is my phone",
        "contact {}", "Please call me back on {}", "phone_number={}", "the customer's cell is {}", "- mobile: {}",
        "ring {} and ask for Ann", "dial {} for the desk",
    ),
    "CARD": (
        "Card {} was declined", "pay with {}", "{} is my card", "cc: {}", '{{"card_number": "{}"}}',
        "charged {} twice", "{}", "卡号{}", "Karte {}, bitte stornieren", "card={}", "my Visa is {}.",
        "refund to `{}`",
    ),
    "IBAN": (
        "IBAN {}", "transfer to {} today", "{} is my account", '{{"iban": "{}"}}', "Konto: {}.", "account={}",
        "`{}`", "pay {} PLEASE",
    ),
    "SSN": (
        "SSN {}", "my social is {}", "{}", "ssn={}", '{{"ssn": "{}"}}', "number {} on file", "SSN: {}.",
        "employee {} asks",
    ),
    "NATIONAL_ID": (
        "national id {}", "ID number: {}", "tax id {}", "Personal number {}", "passport {}",
        "national insurance: {}",
    ),
    "IP": (
        "client {} hammers us", "from {}:8080", "ping {}", "blocked {} in the firewall", "http://{}/status",
        "src={} dst=db", "{}", "ssh deploy@{}", "Connection from {} port 51234",
        '{} - - [09/Nov/2026:10:20:30 +0000] "GET / HTTP/1.1" 200', '"ip": "{}"', "allow {};", "peer {} is down",
        "[{}] refused",
    ),
    "MAC": (
        "nic {} is down", "link/ether {} brd ff:ff:ff:ff:ff:ff", "mac={}", "lease for {}", "{}", '"mac": "{}"',
        "HWaddr {}",
    ),
    "CRYPTO": (
        "send it to {}", "wallet {}", "{}", "address: {}", '"to": "{}"', "paid from {} today",
    ),
    "CREDENTIALS": (
        "use {}", "DATABASE_URL={}", "curl {}", "url: {}", '"dsn": "{}"', "connect to {} failed",
    ),
    "API_KEY": (
        "key {}", "export API={}", "curl -H 'X: {}'", "`{}`", "the key is {}", '"k": "{}"', "{}",
        "leaked {} in git",
    ),
    "SECRET": (
        "{}", "here: {}", "set {} and restart", "  {}", "- {}", "env: {}",
    ),
    "JWT": (
        "token {}", "Authorization: Bearer {}", "{}", "cookie jwt={}; path=/", '"t": "{}"',
    ),
    "PRIVATE_KEY": (
        "{}", "here it is:\n{}\nthanks", "key: |\n{}",
    ),
}
# fmt: on
_BARE_PHONE = (
    "{}",
    "try {} first",
    "Ann, {}, desk 4",
    "ask {} or the desk",
    "(office {})",
    "signed: Ann\n{}",
    "{} any time",
)
_BARE_ID = ("{}", "registered as {}", "{} is blocked", '"id": "{}"', "person {} moved", "we have {} on file")


def draw_positives(seed: int, count: int) -> list[Planted]:
    """`count` sentences of every kind, each with one thing."""
    chance = random.Random(f"positive {seed}")
    fakers = {}
    for locale in sorted({*LOCALES, *ID_LOCALES}):
        fakers[locale] = Faker(locale)
        fakers[locale].seed_instance(chance.randrange(1 << 30))
    drawn = []
    for kind in _LEADS:
        for _ in range(count):
            drawn.append(_draw(kind, chance, fakers))
    return drawn


def plant(n: int, seed: int) -> list[Planted]:
    """`n` sentences of all kinds in turn, each with another string that must not come out of curation."""
    planted: list[Planted] = []
    seen: set[str] = set()
    round_ = 0
    while len(planted) < n:
        for one in draw_positives(seed + 7919 * round_, -(-n // len(_LEADS))):
            if one.value not in seen and len(one.value) >= 7 and len(planted) < n:
                seen.add(one.value)
                planted.append(one)
        round_ += 1
    random.Random(f"plant {seed}").shuffle(planted)
    return planted


def _draw(kind: str, chance: random.Random, fakers: dict[str, Faker]) -> Planted:
    value, locale = MAKERS[kind](chance, fakers)
    if kind == "NATIONAL_ID" and re.fullmatch(r"\d{3}-\d{2}-\d{4}", value):
        kind = "SSN"  # what Faker writes where it does not know the state's own form
    leads = _LEADS[kind]
    if kind == "PHONE" and _is_strong_phone(value) and chance.random() < 0.3:
        leads = _BARE_PHONE
    if kind == "NATIONAL_ID" and locale in STRONG_IDS and chance.random() < 0.5:
        leads = _BARE_ID
    if kind == "SSN" or kind == "NATIONAL_ID" or kind == "PHONE":
        locale = f"{kind} {locale}"
    sentence = chance.choice(leads).format(value)
    bare = value
    if kind == "CREDENTIALS":
        bare = value.split("://")[1].rpartition("@")[0]
    if kind == "SECRET":
        bare = value.split("\x01")[1]
        sentence = sentence.replace("\x01", "")
    return Planted(kind, bare, sentence, locale)


def _is_strong_phone(value: str) -> bool:
    return value.startswith(("+", "(0")) or re.fullmatch(r"\(?[2-9]\d\d[)-] ?\d{3}-\d{4}", value) is not None
