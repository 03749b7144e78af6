"""Things of every kind for the labelled corpus, well-formed and invented: Faker's in many locales, and our own."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from hashlib import sha256

from faker import Faker

_LOCALES_WORDS = (
    "en_US en_GB de_DE fr_FR es_ES it_IT nl_NL pl_PL pt_BR sv_SE fi_FI da_DK cs_CZ ro_RO tr_TR ja_JP ko_KR zh_CN "
    "en_IN en_CA en_AU no_NO fr_CH es_MX hu_HU uk_UA ru_RU "
)
LOCALES = tuple(_LOCALES_WORDS.split())
# Where Faker writes the numbers that the state writes (elsewhere it writes 3-2-4 digits: labelled SSN).
_ID_LOCALES_WORDS = (
    "en_CA en_PH de_AT fr_CH es_CL es_CO et_EE fi_FI fr_FR he_IL hr_HR hu_HU it_IT ko_KR lv_LV mk_MK nl_BE nl_NL "
    "no_NO pl_PL pt_BR ro_RO ru_RU sr_BA sv_SE th_TH tr_TR uk_UA zh_CN zh_TW el_GR es_MX en_GB bn_BD "
)
ID_LOCALES = tuple(_ID_LOCALES_WORDS.split())
# Forms with a check that is strong enough to do without a word before it.
_STRONG_IDS_WORDS = (
    "en_CA en_PH fr_CH et_EE fi_FI fr_FR it_IT ko_KR lv_LV mk_MK nl_BE no_NO pl_PL pt_BR ro_RO sr_BA sv_SE th_TH "
    "tr_TR zh_CN zh_TW el_GR en_GB "
)
STRONG_IDS = frozenset(_STRONG_IDS_WORDS.split())


def _email(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    locale = chance.choice(LOCALES)
    if chance.random() < 0.7:
        return fakers[locale].email(), locale
    local = chance.choice(("o'neil", "j.d+ops", "x_y-z", "first.last", "a", "R2D2", "info")) + str(chance.randrange(99))
    return (
        f"{local}@{chance.choice(('mail.example.co.uk', 'Example.COM', 'sub-1.example.io', 'b.dev'))}",
        "own",
    )


def _phone(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    while True:
        locale = chance.choice(LOCALES)
        value = fakers[locale].phone_number()
        if sum(letter.isdigit() for letter in value) >= 7:
            break
    if chance.random() < 0.05:
        value = value.replace(" ", "\u00a0").replace("-", "\u2011")
    return value, locale


def _card(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    value = fakers[chance.choice(LOCALES)].credit_card_number()
    if len(value) in (16, 19):
        gap = chance.choice(("", " ", "-", "\u00a0"))
        value = gap.join(value[start : start + 4] for start in range(0, len(value), 4))
    elif len(value) in (14, 15) and chance.random() < 0.5:
        value = f"{value[:4]} {value[4:10]} {value[10:]}"
    return value, "faker"


def _iban(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    locale = chance.choice(LOCALES)
    value = fakers[locale].iban()
    if chance.random() < 0.5:
        gap = chance.choice((" ", " ", "\u00a0"))
        value = gap.join(value[start : start + 4] for start in range(0, len(value), 4))
    return value, locale


def _ssn(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    return fakers["en_US"].ssn(), "en_US"


def _national(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    locale = chance.choice(ID_LOCALES)
    if locale == "es_MX" or chance.random() < 0.1:
        faker = fakers["es_ES"]
        return chance.choice((faker.nif, faker.nie))(), "es_ES"
    return fakers[locale].ssn(), locale


def _ip(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    faker = fakers["en_US"]
    while True:
        value = chance.choice((faker.ipv4_public, faker.ipv4_private, faker.ipv6, faker.ipv4_public))()
        if chance.random() < 0.1:
            value = f"2001:db8::{chance.randrange(1, 0xFFFF):x}:{chance.randrange(1, 0xFFFF):x}"
        if not value.startswith(("127.", "22", "23", "24", "25", "0.", "ff", "169.254.169.254")):
            return value, "faker"


def _mac(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    value = fakers["en_US"].mac_address()
    if chance.random() < 0.3:
        return value.upper().replace(":", "-"), "faker"
    if chance.random() < 0.15:
        plain = "a" + value.replace(":", "")[1:]
        return f"{plain[:4]}.{plain[4:8]}.{plain[8:]}", "cisco"
    return value, "faker"


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def _crypto(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    form = chance.randrange(3)
    if form == 0:
        raw = bytes([chance.choice((0, 5))]) + chance.randbytes(20)
        raw += sha256(sha256(raw).digest()).digest()[:4]
        number, text = int.from_bytes(raw, "big"), ""
        while number:
            number, rest = divmod(number, 58)
            text = _BASE58[rest] + text
        return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text, "btc"
    if form == 1:
        return "0x" + chance.randbytes(20).hex(), "eth"
    data = [0] + [chance.randrange(32) for _ in range(32)]
    values = [3, 3, 0, 2, 3, *data, *[0] * 6]
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            state ^= term if top >> place & 1 else 0
    checks = [(state ^ 1) >> 5 * (5 - place) & 31 for place in range(6)]
    return "bc1" + "".join(_BECH32[value] for value in data + checks), "bech32"


def draw_text(chance: random.Random, length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """`length` characters of the alphabet, with letters of both cases and a digit in front."""
    return "a1Z"[: min(3, length)] + "".join(chance.choices(alphabet, k=length - 3))


def _credentials(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    faker = fakers["en_US"]
    user, password = (
        faker.user_name(),
        draw_text(chance, chance.randrange(6, 20), string.ascii_letters + string.digits + "!.-_"),
    )
    scheme = chance.choice(("postgres", "https", "redis", "mongodb+srv", "amqp", "mysql", "ftp"))
    return (
        f"{scheme}://{user}:{password}@{chance.choice(('db.example.com:5432/app', 'localhost:6379', 'x.io/v1'))}",
        "own",
    )


def _api_key(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    hexa = "0123456789abcdef"
    upper = string.ascii_uppercase + string.digits
    makers: tuple[Callable[[], str], ...] = (
        lambda: "AKI" + "A" + "".join(chance.choices(upper, k=15)) + "7",
        lambda: "gh" + chance.choice("pousr") + "_" + draw_text(chance, 36),
        lambda: "github" + "_pat_" + draw_text(chance, 22) + "_" + draw_text(chance, 59),
        lambda: "glp" + "at-" + draw_text(chance, 20),
        lambda: "xox" + "b-" + "".join(chance.choices(string.digits, k=12)) + "-" + draw_text(chance, 24),
        lambda: (
            "https://hooks.sl"
            + "ack.com/services/T"
            + draw_text(chance, 8)
            + "/B"
            + draw_text(chance, 8)
            + "/"
            + draw_text(chance, 24)
        ),
        lambda: chance.choice(("sk", "rk")) + "_li" + "ve_" + draw_text(chance, 24),
        lambda: "s" + "k-" + chance.choice(("", "proj-", "ant-api03-")) + draw_text(chance, 48),
        lambda: "h" + "f_" + draw_text(chance, 34),
        lambda: "AI" + "za" + draw_text(chance, 35),
        lambda: "np" + "m_" + draw_text(chance, 36),
        lambda: "py" + "pi-AgEIcHlwaS5vcmc" + draw_text(chance, 60),
        lambda: "S" + "G." + draw_text(chance, 22) + "." + draw_text(chance, 43),
        lambda: "S" + "K" + "".join(chance.choices(hexa, k=32)),
        lambda: "key" + "-" + "".join(chance.choices(hexa, k=32)),
        lambda: "do" + "p_v1_" + "".join(chance.choices(hexa, k=64)),
        lambda: "da" + "pi" + "".join(chance.choices(hexa, k=32)),
        lambda: "".join(chance.choices("123456789", k=10)) + ":AA" + draw_text(chance, 33),
        lambda: "ya2" + "9." + draw_text(chance, 60),
        lambda: "h" + "vs." + draw_text(chance, 28),
    )
    return chance.choice(makers)(), "own"


def _secret(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    value = chance.choice(
        (
            fakers["en_US"].password(length=12, special_chars=False),
            draw_text(chance, 10),
            draw_text(chance, 40, string.ascii_letters + string.digits + "/+"),
        )
    )
    form = chance.choice(
        (
            "password={}",
            "DB_PASSWORD={}",
            "password: {}",
            '"client_secret": "{}"',
            "aws_secret_access_key = {}",
            "--password {}",
            "api_key: '{}'",
            "SECRET_KEY='{}'",
            "token={}",
            "export PGPASSWORD={}",
            "passwd: {}",
            "mysql -u root -p{}",
            "Passwort: {}",
            "my password is {}",
            "AccountKey={}",
            "curl -u admin:{}",
            "--api-key={}",
            "spring.datasource.password={}",
            "PASSWORD={}",
        )
    )
    return form.format(f"\x01{value}\x01"), "own"


def _jwt(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    head = part('{"alg":"HS256","typ":"JWT"}')
    body = part('{"sub":"' + str(chance.randrange(10**9)) + '"}')
    return f"{head}.{body}.{draw_text(chance, 43)}", "own"


def _private_key(chance: random.Random, fakers: dict[str, Faker]) -> tuple[str, str]:
    name = chance.choice(("RSA ", "", "EC ", "OPENSSH ", "PGP "))
    tail = "PRIVATE KEY" + (" BLOCK" if name == "PGP " else "")
    body = "\n".join(draw_text(chance, 64) for _ in range(4))
    return f"-----BEGIN {name}{tail}-----\n{body}\n-----END {name}{tail}-----", "own"


MAKERS: dict[str, Callable[[random.Random, dict[str, Faker]], tuple[str, str]]] = {
    "EMAIL": _email,
    "PHONE": _phone,
    "CARD": _card,
    "IBAN": _iban,
    "SSN": _ssn,
    "NATIONAL_ID": _national,
    "IP": _ip,
    "MAC": _mac,
    "CRYPTO": _crypto,
    "CREDENTIALS": _credentials,
    "API_KEY": _api_key,
    "SECRET": _secret,
    "JWT": _jwt,
    "PRIVATE_KEY": _private_key,
}
