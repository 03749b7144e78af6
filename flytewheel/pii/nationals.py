"""National numbers of people, by the issuing state's own check digits.

Decides: a form that nothing else has, or one with a strong check, counts wherever it stands; a plain run of digits
whose check one in ten passes by chance needs a word before it that says what it is. Where that word says it plainly
("national id: …"), the number counts without a check: it is what somebody took for one. Sources: the issuers'
published algorithms; US numbers have a kind of their own (`patterns`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flytewheel.pii import states
from flytewheel.pii.cues import UNIT, find_phone_cue, is_counter
from flytewheel.pii.rules import START, Finder, Gate, Span, compile_rule, find_zones, lead, unite
from flytewheel.pii.validators import passes_luhn, passes_verhoeff

_Check = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Form:
    """A form with its check. `plain`: a run of digits, which may as well be a telephone's."""

    core: str
    check: _Check
    plain: bool = False


_EPOCH = re.compile("1[5-9]")  # milliseconds since 1970

_SAFE: tuple[_Form, ...] = (
    _Form(r"[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-DT]", states.passes_nino),
    _Form(
        r"(?i:[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-EHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z])",
        states.passes_codice_fiscale,
    ),
    _Form(r"[0-9]{8}-?[A-HJ-NP-TV-Z]|[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]", states.passes_dni),
    _Form(r"[0-9]{6}[+A-FU-Y-][0-9]{3}[0-9A-FHJ-NPR-Y]", states.passes_hetu),
    _Form(r"(?:[0-9]{2})?[0-9]{6}[+-][0-9]{4}", states.passes_personnummer),
    _Form(
        r"[0-9]{6} ?[0-9]{5}", lambda text: states.passes_fodselsnummer(text) or states.passes_belgian(text), plain=True
    ),
    _Form(
        r"[0-9]{11}",
        lambda text: (
            states.passes_pesel(text)
            or states.passes_tckn(text)
            or states.passes_cpf(text)
            or states.passes_baltic(text)
            or states.passes_amka(text)
        ),
        plain=True,
    ),
    _Form(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", states.passes_belgian),
    _Form(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", states.passes_cpf),
    _Form(r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", states.passes_cnpj),
    _Form(
        r"[0-9]{13}",
        lambda text: (
            states.passes_cnp(text)
            or states.passes_jmbg(text)
            or (not _EPOCH.match(text) and states.passes_south_african(text))
        ),
        plain=True,
    ),
    _Form(r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", states.passes_nir, plain=True),
    _Form(r"[1-9][0-9]{5}(?:18|19|20)[0-9]{9}[0-9Xx]", states.passes_resident, plain=True),
    _Form(r"[1-9][0-9]{5} (?:18|19|20)[0-9]{6} [0-9]{3}[0-9Xx]", states.passes_resident),
    _Form(r"[0-9]{6}/[0-9]{3,4}", states.passes_czech),
    _Form(r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]", states.passes_thai),
    _Form(r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}|756[0-9]{10}", states.passes_ahv),
    _Form(r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}", states.passes_rvnr),
    _Form(r"[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}", states.passes_steuer_id),
    _Form(r"[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}", states.passes_snils),
    _Form(r"[1-79][0-9]{2}[ -][0-9]{3}[ -][0-9]{3}", passes_luhn),
    _Form(r"[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}", passes_verhoeff),
    _Form(r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", lambda text: True),
    _Form(r"[A-Z][12][0-9]{8}", states.passes_taiwanese),
    _Form(r"[STFGM][0-9]{7}[A-Z]", states.passes_nric),
    _Form(r"[A-Z]{1,2}[0-9]{6}\([0-9A]\)", states.passes_hong_kong),
    _Form(r"[0-9]{6}-[1-8][0-9]{6}", states.passes_korean),
    _Form(r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", states.passes_curp),
    _Form(r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9kK]", states.passes_rut),
    _Form(r"(?:20|23|24|27)-[0-9]{8}-[0-9]", states.passes_cuil),
    _Form(r"[0-9]{6}-[0-9]{5}", states.passes_latvian),
    _Form(r"[0-9]{4}-[0-9]{7}-[0-9]", states.passes_always),  # Philippines
    _Form(r"[0-9]{5}-[0-9]{7}-[0-9]", states.passes_always),  # Pakistan
    _Form(r"[0-9]{6}-[0-9]{2}-[0-9]{4}", states.passes_malaysian),
    _Form(r"784-[0-9]{4}-[0-9]{7}-[0-9]", states.passes_emirati),
)
# A run of digits (blanks between) that one in ten passes by chance, and the words that must stand before it.
_CUED: tuple[tuple[str, str, _Check], ...] = (
    (r"nhs", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", states.passes_nhs),
    (
        r"bsn|burgerservice|sofi",
        r"[0-9]{9}|[0-9]{4}[ .][0-9]{2}[ .][0-9]{3}|[0-9]{3} [0-9]{3} [0-9]{3}",
        states.passes_bsn,
    ),
    (r"tfn|tax file", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", states.passes_tfn),
    (r"aadhaa?r|uidai", r"[0-9]{4} ?[0-9]{4} ?[0-9]{4}", passes_verhoeff),
    (r"steuer|idnr|identifikationsnummer", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", states.passes_steuer_id),
    (r"oib", r"[0-9]{11}", states.passes_oib),
    (r"egn|егн", r"[0-9]{10}", states.passes_egn),
    (r"svnr|sozialversicherung|sv-nummer", r"[0-9]{4} ?[0-9]{6}", states.passes_austrian),
    (r"ppsn?|public service", r"[0-9]{7}[A-W][A-IW]?", states.passes_pps),
    (r"cnpj", r"[0-9]{14}", states.passes_cnpj),
)
# Whoever writes this says what follows.
_PLAIN_CUE = (
    r"ssn|social security|social insurance|id (?:number|no|nr)|identification(?: number)?|national (?:id|identity|"
    r"identification|insurance)|nin|nino|nric|tax (?:id|file|number|payer)|"
    r"taxpayer|tax identification|tin|itin|ein|identity (?:card|number)|id card|personal (?:id|identity|"
    r"identification|code|number)|"
    r"personnummer|personal-?id|resident (?:id|registration)|passport|driver'?s? licen[cs]e|dni|nie|nif|nuss|cpf|"
    r"cnpj|curp|nss|rut|"
    r"c[eé]dula|pesel|nip|bsn|hetu|henkil[oö]tunnus|cpr|codice fiscale|steuer-?id(?:nr|entifikationsnummer)?|"
    r"steuernummer|"
    r"sozialversicherungsnummer|versicherungsnummer|rentenversicherungsnummer|ahv|avs|ausweisnummer|"
    r"num[eé]ro de s[eé]curit[eé] sociale|"
    r"s[eé]curit[eé] sociale|s[eé]cu|nir|oib|jmbg|egn|cnp|emso|emšo|rodn[eé] [cč][ií]slo|amka|afm|tckn|tc kimlik|"
    r"kimlik|"
    r"снилс|инн|паспорт|рнокпп|身份证|身分證|マイナンバー|주민등록번호|aadhaa?r|pan card|pps|nhs|medicare|isikukood|"
    r"asmens kodas|personas kods|ad[oó]azonos[ií]t[oó]|taj|teudat zehut|national registration|citizen id|"
    r"government id|birth number"
)
_LINK = (
    r"(?: ?(?:card|number|no|nr|num|code|id|is|was|ist|est|es|е|è|é|är|on|#|nummer|num[eé]ro|n[uú]mero|numero|"
    r"number is)\.?){0,3}"
    r"[ \t\"'`*:=#_()|-]{1,8}"
)
_PLAIN = r"[A-Z]{0,4}[0-9](?:[ ./-]?[0-9A-Z]){5,19}"
# In lower case, which is five times faster than to ignore it.
_ANY_CUE_RULE = re.compile(rf"(?<![^\W_])(?:{_PLAIN_CUE}|{'|'.join(cue for cue, _, _ in _CUED)})")
_CUE_END = re.compile(rf"(?<![^\W_])(?:{_PLAIN_CUE}){_LINK}\Z")
_PLAIN_RULE = compile_rule(_PLAIN)

_COMPILED = tuple(
    (compile_rule(form.core, after=r"(?![A-Za-z0-9])(?!_[A-Za-z0-9])(?![.,-][0-9])"), form) for form in _SAFE
)
_PAN = r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]"  # India's tax number: four digits only, so in no zone
_PAN_CORE = re.compile(_PAN)
_PAN_RULE = compile_rule(_PAN)
_OPENING = re.compile(f"{START}[A-Za-z0-9]", re.ASCII)
_SOME = re.compile(unite([form.core for form in _SAFE]), re.ASCII)
_COMPILED_CUED = tuple(
    (re.compile(rf"(?<![^\W_])(?:{cue})[^0-9\n]{{0,40}}\Z"), compile_rule(core), check) for cue, core, check in _CUED
)
_MORE_BEFORE = re.compile(r"[0-9][ .,-]$|\+[0-9 ()-]{0,8}$|[0-9]{3}[ -]$")
_MORE_BEHIND = re.compile(r" ?[*^=]|[ -][0-9]{2,}(?![0-9]*[-:/.][0-9])|[.,-][0-9]")
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3])[0-5][0-9]")
_STAMP = re.compile(r"(?:20[123][0-9]|1[5-9]|2[0-9])(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])-")


def _find_nationals(view: str) -> Iterator[Span]:
    if _PAN_CORE.search(view):
        yield from (found.span() for found in _PAN_RULE.finditer(view) if not is_counter(view[: found.start()][-40:]))
    for first, last in find_zones(view):
        for opening in _OPENING.finditer(view, first, last):
            if not _SOME.match(view, opening.start()):
                continue
            for rule, form in _COMPILED:
                found = rule.match(view, opening.start())
                if found and _counts(view, found, form):
                    yield found.span()
        yield from _find_cued(view, first, last)


def _counts(view: str, found: re.Match[str], form: _Form) -> bool:
    raw = found.group()
    if not form.check(raw if form.check is states.passes_hetu else re.sub(r"[ ./()-]", "", raw)):
        return False
    start, end = found.span()
    before = view[max(0, start - 72) : start]
    if _MORE_BEFORE.search(before) or _MORE_BEHIND.match(view, end) or UNIT.match(view, end) or is_counter(before):
        return False
    if raw in "012345678901234567890":
        return False
    if (
        form.check is states.passes_personnummer
        and _STAMP.match(raw)
        and (len(raw) == 13 or _CLOCK.fullmatch(raw[-4:]))
    ):
        return bool(_CUE_END.search(before.lower()))  # 261109-1430 is a moment
    if form.plain or form.check in (passes_luhn, states.passes_steuer_id, passes_verhoeff):
        return len(set(raw)) > 2 and find_phone_cue(view, start, end) != "tight"
    return True


def _find_cued(view: str, first: int, last: int) -> Iterator[Span]:
    before = view[max(0, first - 64) : last].lower()
    if not _ANY_CUE_RULE.search(before):
        return
    for cue, rule, check in _COMPILED_CUED:
        for found in rule.finditer(view, first, last):
            if cue.search(view[max(0, found.start() - 64) : found.start()].lower()) and check(
                re.sub(r"[ .-]", "", found.group())
            ):
                yield found.span()
    for found in _PLAIN_RULE.finditer(view, first, last):
        digits = sum(letter.isdigit() for letter in found.group())
        if 6 <= digits <= 18 and _CUE_END.search(view[max(0, found.start() - 64) : found.start()].lower()):
            yield found.span()


_ANY_CUED = "|".join(cue for cue, _, _ in _CUED)
NATIONAL_ID = Finder(
    "NATIONAL_ID",
    (
        Gate((lead(_PAN),), "tokens"),
        Gate((lead(unite([form.core for form in _SAFE])),), "identities", near=True),
        Gate((lead(f"(?i:{_PLAIN_CUE})(?i:{_LINK}){_PLAIN}".replace("{5,19}", "{5}")),), "identities", near=True),
        Gate((lead(rf"(?i:{_ANY_CUED})[^0-9\n]{{0,40}}[0-9](?:[ .-]?[0-9A-Z]){{7}}"),), "identities", near=True),
    ),
    _find_nationals,
)
