"""Words that say what the number beside them is: a telephone's in thirty languages, or only a counter.

Decides how near a word has to stand. All searches are in lower-case text, and only around a number.
"""

from __future__ import annotations

import re

_NOUNS = (
    r"phone|telephone|mobile|tele?|cell(?:phone)?|fax|whats ?app|telegram|viber|signal|sms|hotline|landline|"
    r"handy(?:nummer)?|"
    r"telefon[^\W\d_]*|festnetz|mobil[^\W\d_]*|rufnummer|t[eé]l[eé]phone|t[eé]l|portable|gsm|tel[eé]fono|m[oó]vil|"
    r"celular|tel[eé]fone|"
    r"telem[oó]vel|cellulare|telefoon[^\W\d_]*|puhelin[^\W\d_]*|puh|matkapuhelin|tlf|tel[eé]fonn?[iy]?|"
    r"kom[oó]rk[^\W\d_]*|kom|cep|"
    r"телефон[^\W\d_]*|тел|моб|номер|τηλ[έε]φωνο|τηλ|κινητ[όο]|फ़ोन|फोन|मोबाइल|هاتف|جوال|تلفن|موبایل|טלפון|נייד|"
    r"điện thoại|nomor|"
    r"ponsel|simu|my number|(?:her|his|their|our|contact|direct) number|direct line|pager|msisdn|phone_?number|"
    r"contact"
)
_VERBS = (
    r"(?:call|ring|reach|text|dial|contact|phone|ping|message)(?:s|ed|ing)?(?: ?(?:back|me|us|him|her|them|"
    r"up)){0,2}|anrufen|"
    r"rufen sie|ruf|appelez|appeler|joindre|ll[aá]m[ae][^\W\d_]*|ligue|ligar|chiama[^\W\d_]*|bel|zadzwo[^\W\d_]*|"
    r"dzwo[^\W\d_]*|"
    r"позвони[^\W\d_]*|звони[^\W\d_]*|ara(?:yın)?"
)
UNSPACED_CUE = r"电话|電話|手机|手機|携帯|携帯番号|番号|전화|휴대폰|연락처|拨打|请拨|致电|โทร"
_PHONE = re.compile(rf"(?<![^\W_])(?:(?P<noun>{_NOUNS})|(?:{_VERBS}))(?![^\W\d_])|(?P<unspaced>{UNSPACED_CUE})")
# For the gate: bounded by ASCII only, so that it lets through a little more.
PHONE_CUE_START = rf"(?:^|[^A-Za-z0-9])(?i:{_NOUNS}|{_VERBS})".replace(r"[^\W\d_]*", "[A-Za-z]*")
PHONE_CUE = rf"{PHONE_CUE_START}(?:[^A-Za-z]|$)|(?:{UNSPACED_CUE})"
# "0151 2345678 is my mobile", "… (mobile)"
FOLLOWING = (
    r"[ ,(–-]{1,3}(?:[A-Za-z']{1,12} ){0,4}(?i:phone|telephone|mobile|cell(?:phone)?|fax|whatsapp|handy|hotline|tel)"
)
_FOLLOWED = re.compile(FOLLOWING + r"(?![A-Za-z0-9])")
_SMALL_WORD = re.compile(
    r"numbers?|no|nr|num|nummer|num[eé]ro|n[uú]mero|is|are|was|at|on|under|via|to|it'?s|me|us|him|her|the|my|our|"
    r"your|for|"
    r"ist|lautet|unter|est|au|es|al|è|é|op|na|w|pod|på|er|är|по|номеру?|mob|mobile|home|work|office|cell|direct|"
    r"line|or|"
    r"phone|tel|emergency|desk|support|code|call|text|now|back|please|h|m|o|f|customer|user|contact|new|old|"
    r"alternate|primary|secondary|"
    r"do|le|la|el|il|a|de|di|du|von|und|and|so|field|value|string|dial|them|up"
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SENTENCE_END = re.compile(r"[!?;.]\s|\n\s*\n")

_COUNTED_WORDS = (
    "order orders ticket invoice tracking trace span request req build epoch timestamp ts ean isbn issn gtin upc "
    "sku barcode offset nonce seed uid pid inode seq sequence serial batch shipment parcel commit part model case "
    "job run event article item lot po size count total line lines row rows bytes port version range page pages "
    "message user customer session transaction tx txn rx chunk block height revision release issue bug pr error "
    "code "
)
_COUNTED = frozenset(_COUNTED_WORDS.split())
_COUNTING = frozenset(
    ["is", "was", "of", "id", "ids", "no", "nr", "number", "num", "code", "ref", "reference", "stamp"]
)
_LAST_WORDS = re.compile(r"[a-z]+")


def is_counter(before: str) -> bool:
    """Whether what stands before a number says that it only counts: `order no. `, `"trace_id": "`, `#`, `$ `."""
    tail = before[-40:].lower()
    if tail.endswith(("#", "$", "€", "£", "¥", "$ ", "€ ", "£ ")):
        return True
    bare = tail.rstrip(" :=#\"'(”.")
    if not 0 < len(tail) - len(bare) <= 5 or not bare[-1:].isascii() or not bare[-1:].isalpha():
        return False
    words = _LAST_WORDS.findall(bare)[-4:]
    while len(words) > 1 and words[-1] in _COUNTING:
        words.pop()
    return words[-1] in _COUNTED or words[-1].removesuffix("id") in _COUNTED


UNIT = re.compile(
    r" ?(?:bytes?|[kKMGT]i?B|rows?|ms|sec(?:onds)?|requests?|records|tokens?|users?|events?|pictures?|items?|"
    r"files?|lines?|px|km|kg|"
    r"packets|EUR|USD|GBP|ns|us)(?![A-Za-z])| ?[€$%°£]"
)


def find_phone_cue(view: str, start: int, end: int) -> str:
    """How a word for telephone stands to a number: `tight`, only small words between; `loose`, in its sentence; ""."""
    cut = max(0, start - 72)
    before = view[max(0, cut - 1) : start].lower()  # with the letter before, or a cut "hotel" reads as "tel"
    for cue in reversed(list(_PHONE.finditer(before, min(cut, 1)))):
        between = before[cue.end() :].removeprefix(".")  # an abbreviation's, no sentence's
        if _SENTENCE_END.search(between):
            break
        if not re.search("[0-9]", between) and all(_SMALL_WORD.fullmatch(word) for word in _WORD.findall(between)):
            return "tight"
        if (cue["noun"] or cue["unspaced"]) and len(between) <= 60:
            return "loose"
    return "loose" if _FOLLOWED.match(view, end) else ""
