"""Check digits of national numbers, by the issuing states' published algorithms.

Each takes a number without blanks, points and strokes, and says whether it is one. Where a number holds its owner's
day of birth, there must be such a day.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from flytewheel.pii.validators import passes_luhn


def _weigh(text: str, weights: str | Sequence[int]) -> int:
    return sum(int(digit) * int(weight) for digit, weight in zip(text, list(map(int, weights)), strict=False))


def _is_date(year: str, month: int, day: int) -> bool:
    """Whether there is such a day in one of the centuries of people alive; `year` has two digits."""
    for century in (1900, 2000, 1800):
        try:
            date(century + int(year), month, day)
        except ValueError:
            continue
        return True
    return False


def _ymd(text: str) -> bool:
    return _is_date(text[:2], int(text[2:4]), int(text[4:6]))


def _dmy(text: str) -> bool:
    return _is_date(text[4:6], int(text[2:4]), int(text[:2]))


def passes_nino(text: str) -> bool:
    return text[:2] == "ZZ" or (text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN") and text[0] not in "DFIQUV" and
                                text[1] not in "DFIOQUV" and text[-1] in "ABCD")  # fmt: skip


def passes_nhs(text: str) -> bool:
    check = (11 - _weigh(text[:9], (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return len(set(text)) > 1 and check == int(text[9])


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        ),
        strict=True,
    )
)


def passes_codice_fiscale(text: str) -> bool:
    text = text.upper()
    even = (int(letter) if letter.isdigit() else ord(letter) - 65 for letter in text[1:15:2])
    return chr(65 + (sum(_ODD[letter] for letter in text[:15:2]) + sum(even)) % 26) == text[15]


def passes_dni(text: str) -> bool:
    text = text.upper()
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1] and len(set(number)) > 1


def passes_hetu(text: str) -> bool:
    number = re.sub(r"[^0-9]", "", text[:6] + text[7:10])
    return _dmy(text) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(number) % 31] == text[-1]


def passes_personnummer(text: str) -> bool:
    digits = re.sub(r"\D", "", text)[-10:]
    day = int(digits[4:6]) - 60 * (int(digits[4:6]) > 60)
    return _is_date(digits[:2], int(digits[2:4]), day) and passes_luhn(digits)


def passes_fodselsnummer(text: str) -> bool:
    day = int(text[:2]) - 40 * (int(text[:2]) > 40)
    first = (11 - _weigh(text, "376189452") % 11) % 11
    second = (11 - _weigh(text, "5432765432") % 11) % 11
    return _is_date(text[4:6], int(text[2:4]), day) and (str(first), str(second)) == (text[9], text[10])


def passes_pesel(text: str) -> bool:
    check = (10 - _weigh(text[:10], "1379137913") % 10) % 10
    return _is_date(text[:2], int(text[2:4]) % 20, int(text[4:6])) and check == int(text[10])


def passes_tckn(text: str) -> bool:
    numbers = [int(digit) for digit in text]
    tenth = (sum(numbers[0:9:2]) * 7 - sum(numbers[1:8:2])) % 10
    return text[0] != "0" and tenth == numbers[9] and sum(numbers[:10]) % 10 == numbers[10]


def passes_cpf(text: str) -> bool:
    first = _weigh(text[:9], (10, 9, 8, 7, 6, 5, 4, 3, 2)) * 10 % 11 % 10
    second = _weigh(text[:10], (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)) * 10 % 11 % 10
    return len(set(text)) > 1 and text[9:] == f"{first}{second}"


def passes_cnpj(text: str) -> bool:
    first = -_weigh(text[:12], "543298765432") % 11 % 10
    second = -_weigh(text[:13], "6543298765432") % 11 % 10
    return len(set(text)) > 1 and text[12:] == f"{first}{second}"


def passes_belgian(text: str) -> bool:
    number, check = int(text[:9]), int(text[9:])
    born = int(text[2:4]) % 20 <= 12 and int(text[4:6]) <= 31
    return born and check in (97 - number % 97, 97 - (number + 2_000_000_000) % 97)


def passes_baltic(text: str) -> bool:
    remainder = _weigh(text[:10], "1234567891") % 11
    if remainder == 10:
        remainder = _weigh(text[:10], "3456789123") % 11 % 10
    return text[0] in "123456" and _ymd(text[1:7]) and remainder == int(text[10])


def passes_cnp(text: str) -> bool:
    remainder = _weigh(text[:12], "279146358279") % 11
    return text[0] != "0" and _ymd(text[1:7]) and (1 if remainder == 10 else remainder) == int(text[12])


def passes_jmbg(text: str) -> bool:
    if text[4] not in "09":  # a year's last three digits
        return False
    check = -_weigh(text[:12], "765432765432") % 11 % 10
    return _is_date(text[5:7], int(text[2:4]), int(text[:2])) and check == int(text[12])


def passes_nir(text: str) -> bool:
    number = text[:13].upper().replace("2A", "19").replace("2B", "18")
    month = int(text[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and 97 - int(number) % 97 == int(text[13:])


def passes_resident(text: str) -> bool:
    total = _weigh(text[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return _is_date(text[8:10], int(text[10:12]), int(text[12:14])) and "10X98765432"[total % 11] == text[17].upper()


def passes_south_african(text: str) -> bool:
    return _ymd(text) and text[10] in "012" and passes_luhn(text)


def passes_amka(text: str) -> bool:
    return _dmy(text) and passes_luhn(text)


def passes_czech(text: str) -> bool:
    month = int(text[2:4]) % 50
    born = _is_date(text[:2], month - 20 * (month > 20), int(text[4:6]))
    return born and (len(text) == 9 or int(text) % 11 == 0 or (int(text[:9]) % 11 == 10 and text[9] == "0"))


def passes_thai(text: str) -> bool:
    return (11 - _weigh(text[:12], tuple(range(13, 1, -1))) % 11) % 10 == int(text[12])


def passes_ahv(text: str) -> bool:
    return (10 - _weigh(text[:12], "131313131313") % 10) % 10 == int(text[12])


def passes_rvnr(text: str) -> bool:
    letter = f"{ord(text[8]) - 64:02d}"
    digits = text[:8] + letter + text[9:11]
    return sum(sum(divmod(int(one) * weight, 10)) for one, weight in
               zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)) % 10 == int(text[11])  # fmt: skip


def passes_steuer_id(text: str) -> bool:
    product = 10
    for digit in text[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    most = max(text[:10].count(digit) for digit in set(text[:10]))
    return text[0] != "0" and most in (2, 3) and (11 - product) % 10 == int(text[10])


def passes_oib(text: str) -> bool:
    product = 10
    for digit in text[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(text[10])


def passes_snils(text: str) -> bool:
    total = _weigh(text[:9], "987654321")
    return (total if total < 100 else total % 101 % 100) == int(text[9:])


def passes_bsn(text: str) -> bool:
    return (_weigh(text[:8], "98765432") - int(text[8])) % 11 == 0 and len(set(text)) > 1


def passes_tfn(text: str) -> bool:
    return _weigh(text, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def passes_taiwanese(text: str) -> bool:
    first = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(text[0].upper()) + 10
    return (first // 10 + first % 10 * 9 + _weigh(text[1:9], "87654321") + int(text[9])) % 10 == 0


def passes_nric(text: str) -> bool:
    total = _weigh(text[1:8], "2765432") + {"T": 4, "G": 4, "M": 3}.get(text[0], 0)
    letters = {"S": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "M": "KLJNPQRTUWX"}
    table = letters["S" if text[0] in "ST" else "M" if text[0] == "M" else "F"]
    return (table[10 - total % 11] if text[0] == "M" else table[total % 11]) == text[8]


def passes_hong_kong(text: str) -> bool:
    letters = text[:-7]
    values = [36 if len(letters) == 1 else ord(letters[0]) - 55, ord(letters[-1]) - 55, *map(int, text[-7:-1])]
    check = 10 if text[-1] == "A" else int(text[-1])
    return (sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) + check) % 11 == 0


def passes_korean(text: str) -> bool:
    return int(text[2:4]) <= 12 and int(text[4:6]) <= 31


def passes_curp(text: str) -> bool:
    alphabet = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(alphabet.index(letter) * (18 - place) for place, letter in enumerate(text[:17]))
    return _ymd(text[4:]) and str(-total % 10) == text[17]


def passes_rut(text: str) -> bool:
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(text[:-1])))
    return "0K987654321"[total % 11] == text[-1].upper()


def passes_cuil(text: str) -> bool:
    return -_weigh(text[:10], "5432765432") % 11 == int(text[10])


def passes_latvian(text: str) -> bool:
    check = (1101 - _weigh(text[:10], (1, 6, 3, 7, 9, 10, 5, 8, 4, 2))) % 11 % 10
    return _dmy(text) and check == int(text[10])


def passes_egn(text: str) -> bool:
    month = int(text[2:4])
    month -= 40 if month > 40 else 20 if month > 20 else 0
    return _is_date(text[:2], month, int(text[4:6])) and _weigh(text, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == int(
        text[9]
    )


def passes_austrian(text: str) -> bool:
    return int(text[6:8]) <= 15 and _weigh(text, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == int(text[3])


def passes_pps(text: str) -> bool:
    total = _weigh(text[:7], "8765432") + (9 * (ord(text[8]) - 64) if len(text) > 8 and text[8] != "W" else 0)
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == text[7]


def passes_malaysian(text: str) -> bool:
    return _ymd(text) and text[6:8] not in ("00", "17", "18", "19", "20")


def passes_emirati(text: str) -> bool:
    return passes_luhn(text)


def passes_always(text: str) -> bool:
    return len(set(text)) > 2
