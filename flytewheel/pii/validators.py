"""Check digits and check sums of cards, accounts and wallets.

Decides whether a number that looks right is one: on one corpus patterns alone found 1,861 false cards beside 894
true ones. Sources: ISO/IEC 7812-1 (Luhn), ISO 7064 (mod 97-10, mod 11-2), ISO 13616 (IBAN lengths and which accounts
are digits only), Verhoeff 1969, Bitcoin's base58check, BIP 173 and BIP 350, EIP-55 over Keccak-256.
"""

from __future__ import annotations

import re
from hashlib import sha256

# Length of an IBAN by country (ISO 13616 registry); a trailing n: its account part holds digits only.
_IBANS = (
    "AD24 AE23n AL28 AO25n AT20n AZ28 BA20n BE16n BF28 BG22 BH22 BI27n BJ28 BR29 BY28 CF27n CG27n CH21 CI28 "
    "CM27n CR22n "
    "CV25n CY28 CZ24n DE22n DJ27n DK18n DO28 DZ26n EE20n EG29n ES24n FI18n FK18 FO18n FR27 GA27n GB22 GE22 GI23 "
    "GL18n GN28 "
    "GQ27n GR27 GT28 GW25 HN28 HR21n HU28n IE22 IL23n IQ23 IR26n IS26n IT27 JO30 KM27n KW30 KZ20 LB28 LC32 LI21 "
    "LT20n "
    "LU20 LV21 LY25n MA28n MC27 MD24 ME22n MG27n MK19 ML28 MN20n MR27n MT31 MU30 MZ25n NE28 NI28 NL18 NO15n OM23 "
    "PK24 "
    "PL28n PS29 PT25n QA29 RO24 RS22n RU33 SA24 SC31 SD18n SE24n SI19n SK24n SM27 SN28 SO23n ST25n SV28 TD27n TG28 "
    "TL23n TN24n TR26 UA29 VA22n VG24 XK20n YE30"
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:4]) for entry in _IBANS.split()}
_DIGITS_ONLY = frozenset(entry[:2] for entry in _IBANS.split() if entry.endswith("n"))

_CARD_BRANDS = (
    (re.compile(r"4"), {13, 16, 19}),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),
    (re.compile(r"3[47]"), {15}),
    (re.compile(r"6011|65|64[4-9]|622"), {16, 19}),
    (re.compile(r"35(?:2[89]|[3-8])"), {16, 19}),
    (re.compile(r"35"), {16}),
    (re.compile(r"30[0-5]|36|38|39"), {14}),
    (re.compile(r"2131|1800"), {15}),
    (re.compile(r"50(?:18|20|38)|5[678]|63(?:04|90)|676[1-3]|6759|0604"), {12, 13, 16, 18, 19}),
    (re.compile(r"62|81"), {16, 17, 18, 19}),  # UnionPay
    (re.compile(r"220[0-4]"), {16}),  # Mir
    (re.compile(r"60(?!11)|6521|508[125]|81|82"), {16}),  # RuPay
    (re.compile(r"9792"), {16}),  # Troy
)


def passes_luhn(digits: str) -> bool:
    """Whether the digits pass Luhn's check (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def passes_mod97(iban: str) -> bool:
    """Whether an IBAN without spaces passes its check digits (ISO 7064, mod 97-10)."""
    return int("".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])) % 97 == 1


def is_iban(compact: str) -> bool:
    """Whether upper-case letters and digits without spaces are an IBAN of a country that has them."""
    country = compact[:2]
    if IBAN_LENGTHS.get(country) != len(compact):
        return False
    return (country not in _DIGITS_ONLY or compact[2:].isdigit()) and passes_mod97(compact)


def is_card(digits: str) -> bool:
    """Whether the digits have a brand's prefix and length, and pass Luhn's check."""
    return any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _CARD_BRANDS) and passes_luhn(
        digits
    )


_DIHEDRAL = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def passes_verhoeff(digits: str) -> bool:
    """Whether the digits pass Verhoeff's check (Aadhaar)."""
    state = 0
    for place, digit in enumerate(reversed(digits)):
        state = int(_DIHEDRAL[state][int(_PERMUTED[place % 8][int(digit)])])
    return state == 0


_BASE58 = {letter: place for place, letter in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_BASE58_XRP = {
    letter: place for place, letter in enumerate("rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz")
}


def passes_base58check(text: str) -> bool:
    """Whether the last four of the decoded bytes are the first four of the rest's double SHA-256."""
    for alphabet in (_BASE58_XRP,) if text[0] == "r" else (_BASE58,):
        number = 0
        for letter in text:
            number = number * 58 + alphabet[letter]
        zero = next(iter(alphabet))
        raw = b"\0" * (len(text) - len(text.lstrip(zero))) + number.to_bytes((number.bit_length() + 7) // 8, "big")
        if len(raw) > 20 and sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]:
            return True
    return False


_BECH32 = {letter: place for place, letter in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def passes_bech32(text: str) -> bool:
    """Whether the text passes the check sum of BIP 173 (bech32) or BIP 350 (bech32m)."""
    if text not in (text.lower(), text.upper()):
        return False
    prefix, _, data = text.lower().rpartition("1")
    if not prefix or any(letter not in _BECH32 for letter in data):
        return False
    values = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    state = 1
    for value in values + [_BECH32[letter] for letter in data]:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate(_GENERATOR):
            state ^= term if top >> place & 1 else 0
    return state in (1, 0x2BC830A3)


def passes_eip55(address: str) -> bool:
    """Whether `0x` and forty hex digits of one case, or mixed as EIP-55 says, are an Ethereum address."""
    digits = address[2:]
    if digits in (digits.lower(), digits.upper()):
        return True
    shades = _keccak256(digits.lower().encode()).hex()
    return all(
        letter.isdigit() or letter.isupper() == (int(shade, 16) > 7)
        for letter, shade in zip(digits, shades, strict=False)
    )


def _keccak256(message: bytes) -> bytes:
    """Keccak-256 with its original padding (not SHA-3's) of at most 135 bytes: one block."""
    block = bytearray(message + b"\1" + bytes(135 - len(message)))
    block[-1] |= 0x80
    lanes = [int.from_bytes(block[8 * place : 8 * place + 8], "little") for place in range(17)] + [0] * 8
    wide = (1 << 64) - 1
    register = 1
    for _ in range(24):
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        for x in range(5):
            right = columns[(x + 1) % 5]
            term = columns[x - 1] ^ (right << 1 | right >> 63) & wide
            for y in range(0, 25, 5):
                lanes[x + y] ^= term
        x, y, held = 1, 0, lanes[1]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            turn = (step + 1) * (step + 2) // 2 % 64
            held, lanes[x + 5 * y] = lanes[x + 5 * y], (held << turn | held >> (64 - turn)) & wide
        for y in range(0, 25, 5):
            row = lanes[y : y + 5]
            for x in range(5):
                lanes[x + y] = row[x] ^ ~row[(x + 1) % 5] & row[(x + 2) % 5] & wide
        for step in range(7):
            if register & 1:
                lanes[0] ^= 1 << ((1 << step) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])
