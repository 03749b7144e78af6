"""Units, currencies and scales of numbers, in five languages: what a number beside one means.

Decides what is the same: `90 min` and `1.5 h`, `4 GB` and `4,096 MB` (a kilo is 1,000 or 1,024, both are in use), `$30`
and `30 USD`. Months are not days. A unit that is not listed here is a word like any other, and the number stands alone.
"""

from __future__ import annotations

import re

Unit = tuple[str, float]  # dimension, and how many of its base unit

_TABLE: dict[str, list[tuple[float, str]]] = {
    "time": [
        (1e-9, "ns nanosecond nanoseconds"),
        (1e-6, "µs us μs microsecond microseconds"),
        (1e-3, "ms msec millisecond milliseconds millisekunde millisekunden milliseconde millisecondes "
               "milisegundo milisegundos 毫秒 ミリ秒"),
        (1, "s sec secs second seconds sek sekunde sekunden seconde secondes seg segundo segundos 秒 秒钟 秒間"),
        (60, "m min mins minute minutes minuten minuto minutos 分钟 分鐘 分間 分"),
        (3600, "h hr hrs hour hours std stunde stunden heure heures hora horas 小时 小時 時間"),
        (86400, "d day days tag tage tagen tages jour jours día días dia dias 天 日間"),
        (604800, "w wk week weeks woche wochen semaine semaines semana semanas 周 週 週間 星期"),
    ],
    "month": [
        (1, "month months monat monate monaten monats mois mes meses 个月 個月 か月 ヶ月 カ月"),
        (12, "year years yr yrs jahr jahre jahren jahres ans année années año años 年間"),
    ],
    "share": [(1, "% percent pct prozent procent pourcent パーセント"), (0.1, "‰ promille")],
    "byte": [
        (1, "byte bytes octets"),
        (2**10, "kib"), (2**20, "mib"), (2**30, "gib"), (2**40, "tib"),
        (1e3, "kb kilobyte kilobytes"), (1e6, "mb megabyte megabytes"), (1e9, "gb gigabyte gigabytes"),
        (1e12, "tb terabyte terabytes"),
    ],
    "bit/s": [(1e3, "kbps kbit/s"), (1e6, "mbps mbit/s"), (1e9, "gbps gbit/s")],
    "gram": [
        (1e-6, "µg mcg μg"), (1e-3, "mg milligram milligrams milligramm"),
        (1, "g gram grams gramm gramme grammes gramo gramos 克 グラム"),
        (1e3, "kg kilo kilos kilogram kilograms kilogramm kilogramme kilogrammes kilogramos 公斤 キロ"),
        (1e6, "t tonne tonnes tonnen toneladas"), (28.349523125, "oz ounce ounces"), (453.59237, "lb lbs pound pounds"),
    ],
    "metre": [
        (1e-3, "mm millimeter millimeters millimetres"),
        (1e-2, "cm centimeter centimeters centimetre centimetres zentimeter centimètres centímetros 厘米 センチ"),
        (1, "m meter meters metre metres mètre mètres metro metros 米 メートル"),
        (1e3, "km kilometer kilometers kilometre kilometres kilomètre kilomètres kilómetro kilómetros "
              "公里 千米 キロメートル"),
        (0.0254, "inch inches zoll"), (0.3048, "ft feet foot"), (1609.344, "mi mile miles"),
    ],
    "litre": [
        (1e-3, "ml milliliter milliliters millilitre millilitres mililitros 毫升 ミリリットル"), (1e-2, "cl"),
        (1e-1, "dl"), (1, "l liter liters litre litres litro litros 升 リットル"),
    ],
    "tablespoon": [(1, "tbsp tablespoon tablespoons esslöffel 大さじ 汤匙")],
    "teaspoon": [(1, "tsp teaspoon teaspoons teelöffel 小さじ 茶匙")],
    "cup": [(1, "cup cups tasse tassen taza tazas カップ")],
    "kelvin": [(1, "° °c celsius ℃ grad degrees degree grados degrés 度")],
    "fahrenheit": [(1, "° °f fahrenheit ℉ degrees")],
    "hertz": [(1, "hz"), (1e3, "khz"), (1e6, "mhz"), (1e9, "ghz")],
    "watt": [(1, "w watt watts"), (1e3, "kw"), (1e6, "mw")],
    "watt hour": [(1, "wh"), (1e3, "kwh"), (1e6, "mwh")],
    "volt": [(1, "v volt volts")],
    "ampere": [(1, "ampere amps mah")],
    "km/h": [(1, "km/h kmh kph"), (1.609344, "mph")],
    "calorie": [(1, "kcal calories kalorien")],
    "times": [(1, "x × times fold mal fois veces 倍")],
    "pixel": [(1, "px pixel pixels")],
    "USD": [(1, "usd dollar dollars dólares us$ 美元 ドル")],
    "EUR": [(1, "eur euro euros € 欧元 ユーロ")],
    "GBP": [(1, "gbp £ pound pounds")],
    "JPY": [(1, "jpy yen 円 日元")],
    "CNY": [(1, "cny rmb yuan 元 人民币")],
    "CHF": [(1, "chf franken francs")],
    "INR": [(1, "inr ₹ rupees")],
    "KRW": [(1, "krw ₩ 원")],
}  # fmt: skip
_BOTH_KILOS = {1e3: 2**10, 1e6: 2**20, 1e9: 2**30, 1e12: 2**40}

UNITS: dict[str, tuple[Unit, ...]] = {}
for _dimension, _rows in _TABLE.items():
    for _factor, _names in _rows:
        for _name in _names.split():
            more = [(_dimension, _factor)]
            if _dimension == "byte" and _factor in _BOTH_KILOS:
                more.append((_dimension, float(_BOTH_KILOS[_factor])))
            UNITS[_name] = (*UNITS.get(_name, ()), *more)
SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₩": "KRW", "US$": "USD", "CHF": "CHF"} | {
    code: code for code in ("USD", "EUR", "GBP", "JPY", "CNY", "INR", "KRW")
}
SCALES = {
    "thousand": 1e3, "tausend": 1e3, "tsd": 1e3, "mille": 1e3, "mil": 1e3, "千": 1e3, "万": 1e4, "萬": 1e4,
    "mn": 1e6, "million": 1e6, "millions": 1e6, "mio": 1e6, "millionen": 1e6, "millón": 1e6, "millones": 1e6,
    "百万": 1e6, "亿": 1e8, "億": 1e8, "bn": 1e9, "billion": 1e9, "mrd": 1e9, "milliarden": 1e9, "milliarde": 1e9,
    "milliard": 1e9, "milliards": 1e9, "trillion": 1e12,
}  # fmt: skip
LETTER_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}  # only where they touch the number
_LETTERS = r"A-Za-z\u00b5\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_BOUND = rf"(?![{_LETTERS}\d_])"


def _unite(names: list[str]) -> str:
    """Longest first; a name of Latin letters ends where a word ends."""
    parts = []
    for name in sorted(names, key=len, reverse=True):
        latin = re.match(rf"[{_LETTERS}]", name[-1]) is not None
        parts.append(re.escape(name) + (_BOUND if latin else ""))
    return "|".join(parts)


_NAMED = [name for name in UNITS if name != "%"]
AFTER = re.compile(
    rf"(?P<scale> ?(?:{_unite(list(SCALES))})\.?|(?-i:[kKMB]){_BOUND})?(?P<sign> ?[$€£¥₹])?"
    rf"(?P<unit>[ -]?(?:%|per ?cent{_BOUND}|pour ?cent{_BOUND}|por ciento{_BOUND}|{_unite(_NAMED)}"
    rf"|(?:minütig|tägig|stündig|wöchig|monatig|jährig|sekündig)[a-z]{{0,2}}{_BOUND}))?",
    re.IGNORECASE,
)
_ADJECTIVES = {"minütig": "min", "tägig": "d", "stündig": "h", "wöchig": "w", "monatig": "month", "jährig": "year",
               "sekündig": "s"}  # fmt: skip


def find_units(name: str) -> tuple[Unit, ...]:
    """What a unit's name may mean; nothing where it is none."""
    name = name.strip(" -").casefold()
    if name.replace(" ", "") in {"percent", "pourcent", "porciento"}:
        name = "%"
    for ending, short in _ADJECTIVES.items():
        if name.startswith(ending):
            name = short
    return UNITS.get(name, ())


def find_scale(name: str) -> float:
    """What a number's scale multiplies it by."""
    return LETTER_SCALES.get(name) or SCALES.get(name.strip(" .").casefold(), 1.0)
