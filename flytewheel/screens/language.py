"""Tells whether an answer is written in another language than the recipe asks for.

Small words of an asked language decide first and for nothing: a text that has enough of them is in it. Then the
script, then py3langid (97 languages, BSD; naive Bayes over byte n-grams) on what is left when code, addresses and
quoted names are taken out. Short texts, code and mixed ones are not judged: a wrong verdict costs a good answer, a
missed one costs little.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Protocol, cast

MIN_LETTERS = 40  # of prose, below which nothing is judged
MIN_WORDS = 6
MIN_WIDE = 10  # letters in a script without spaces
OWN = 6  # kinds of small words of an asked language that tell it …
OWN_SHARE = 10  # … where they are one kind of words in so many
SURE = 0.5  # share of probability that a language other than those asked for must reach …
SURE_ALONE = 0.9  # … and where no language is asked for
UNLIKELY = 0.1  # … while those asked for stay below this

STOPWORDS = {
    "en": (
        "the a an and or of to in is it for on that this with as at by be not are from if you your then can was "
        "has have will which when its their they there these but into than also only all after before so do does "
        "use"
    ),
    "de": (
        "der die das und ist nicht ein eine einen zu mit auf für den von dem des sich im wird auch bei nach wenn "
        "oder als werden sie es aus durch dann kann sind noch nur wie zum zur"
    ),
    "fr": (
        "le la les et est un une des du que pour pas dans sur avec qui par il elle ce cette ne sont aux au puis "
        "si vous être plus ou mais son sa ses"
    ),
    "es": (
        "el la los las es en por para con no se del una un que y al lo su sus como más pero este esta si cuando "
        "hay está son ser después"
    ),
    "it": (
        "il lo la gli le di che per non con una un è e si del della dei nel nella sono da al alla come più ma se "
        "questo questa poi anche essere"
    ),
    "pt": (
        "o os as do da dos das em um uma que para não com se por no na e é ao como mais mas este esta são seu sua "
        "depois quando ou ser está"
    ),
    "nl": (
        "de het een en van niet op met is te dat die voor zijn aan in er ook als bij naar dan wordt om uit door "
        "maar nog of deze kan moet"
    ),
    "pl": (
        "i w na z do jest się nie to że jak po od dla o a przez przy lub jego są oraz ale jest może ten tego "
        "który jeśli"
    ),
    "tr": "bir ve bu için ile da de çok daha olarak gibi sonra kadar ancak ne var olan değil veya ise mi",
    "sv": "och att det som en är på för med den inte av till ett om har kan men när eller från du ska",
    "da": "og at det som en er på for med den ikke af til et om har kan men når eller fra du skal",
    "ru": "и в не на что с по как это для из к но от же если или при он его так они был чтобы после",
}
# Small English words that stand in other languages too, and so say little.
_SHARED = frozenset(
    (
        "a",
        "an",
        "as",
        "at",
        "do",
        "in",
        "is",
        "no",
        "on",
        "or",
        "so",
        "to",
        "was",
        "die",
        "not",
        "for",
        "has",
        "men",
        "all",
        "me",
        "will",
        "be",
        "of",
    )
)
_STOPWORDS = {language: frozenset(words.split()) for language, words in STOPWORDS.items()}

# A script and the languages written in it; Latin and what is not named here are left to the model.
_SCRIPTS = (
    (re.compile(r"[\u0400-\u04ff]"), frozenset({"ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "mn", "tg", "os"})),
    (re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]"), frozenset({"el"})),
    (re.compile(r"[\u0590-\u05ff]"), frozenset({"he", "yi"})),
    (re.compile(r"[\u0600-\u06ff\u0750-\u077f]"), frozenset({"ar", "fa", "ur", "ps", "ku", "ug", "sd"})),
    (re.compile(r"[\u0900-\u097f]"), frozenset({"hi", "mr", "ne", "sa"})),
    (re.compile(r"[\u0e00-\u0e7f]"), frozenset({"th"})),
    (re.compile(r"[\uac00-\ud7af]"), frozenset({"ko"})),
    (re.compile(r"[\u3040-\u30ff]"), frozenset({"ja"})),
    (re.compile(r"[\u3400-\u9fff]"), frozenset({"zh", "ja"})),
)
_WIDE = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")
_NO_PROSE = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|\"[^\"\n]{0,200}\"|“[^”\n]{0,200}”|„[^“”\n]{0,200}[“”]|"
    r"«[^»\n]{0,200}»|https?://\S+|\S*[/\\_=<>{}@|]\S*|"
    r"\S+\.\w+\S*|\b\w*\d\w*\b|(?<!\S)--?\w[\w-]*|(?m:^\s*[\w.-]+:(?:\s.*)?$)|(?m:^\s*[$#>].*$)",
    re.DOTALL,
)


class _Identifier(Protocol):
    def rank(self, text: str) -> list[tuple[str, float]]: ...


@lru_cache(maxsize=1)
def _open_identifier() -> _Identifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    return cast("_Identifier", LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True))


def find_other_language(text: str, languages: Collection[str]) -> str | None:
    """The ISO 639-1 code of the language of `text` where it is surely none of `languages`; `None` otherwise.

    Args:
        text: An answer.
        languages: Codes that are wanted; none: any language is.
    """
    if not languages:
        return None
    wanted = _name(languages)
    if text.isascii():
        kinds = frozenset(text.lower().split())
        if len(kinds & _gather(wanted)) >= max(OWN, len(kinds) // OWN_SHARE):
            return None
    prose = _NO_PROSE.sub(" ", text)
    letters = len(_LETTER.findall(prose))
    wide = len(_WIDE.findall(prose))
    if wide < MIN_WIDE and (letters < MIN_LETTERS or len(prose.split()) < MIN_WORDS):
        return None
    for script, written in _SCRIPTS:
        if len(script.findall(prose)) > (0.2 if written == {"ja"} else 0.5) * letters:
            return (
                None
                if wanted & written and len(written) > 1 and not _differs(prose, wanted)
                else _tell(written, wanted)
            )
    own = len(({word.strip(".,;:!?()") for word in prose.lower().split()} & _gather(wanted)) - _SHARED)
    if own >= OWN:
        return None
    return _judge(prose, wanted, own)


def _tell(written: frozenset[str], wanted: Collection[str]) -> str | None:
    return None if len(written) == 1 and written & set(wanted) else min(written - set(wanted), default=None)


def _differs(prose: str, wanted: Collection[str]) -> bool:
    return _judge(prose, wanted, 0) is not None


def _judge(prose: str, wanted: Collection[str], own: int) -> str | None:
    """What the model says; `own` small words of the wanted languages speak against it."""
    ranked = _open_identifier().rank(" ".join(prose.split())[:2000])
    best, sure = ranked[0]
    mine = sum(share for language, share in ranked if language in wanted)
    if best in wanted or sure < SURE or mine > UNLIKELY:
        return None
    foreign = {word.strip(".,;:!?()") for word in prose.lower().split()} & _STOPWORDS.get(best, frozenset())
    return best if own == 0 or len(foreign) > 2 * own else None


def name_language(text: str) -> str:
    """The language that a prompt is most likely written in, as an ISO 639-1 code; empty where nothing tells.

    A guess, for counting many: two small words of a language and more of them than of any other decide, else the
    script, else py3langid where it is sure. What it takes a text for, it takes every such text for.
    """
    prose = _NO_PROSE.sub(" ", text[:2000])
    letters = len(_LETTER.findall(prose))
    if not text.isascii():
        for script, written in _SCRIPTS:
            if len(written) < 3 and len(script.findall(prose)) > (0.2 if written == {"ja"} else 0.5) * letters > 0:
                return "zh" if "zh" in written else min(written)
    kinds = frozenset(word.strip(".,;:!?()'") for word in prose.lower().split())
    told = sorted(((len(kinds & words), language) for language, words in _STOPWORDS.items()), reverse=True)
    if told[0][0] >= 2 and told[0][0] > told[1][0]:
        return told[0][1]
    if letters < MIN_LETTERS and len(_WIDE.findall(prose)) < MIN_WIDE:
        return ""
    best, sure = _open_identifier().rank(" ".join(prose.split()))[0]
    return best if sure >= SURE_ALONE else ""


def gather_small_words(languages: Collection[str]) -> frozenset[str]:
    """The small words of all of `languages`; an ASCII text that has enough of them is in one."""
    return _gather(_name(languages))


def _name(languages: Collection[str]) -> frozenset[str]:
    return frozenset(language.split("-")[0].lower() for language in languages)


@lru_cache(maxsize=64)
def _gather(languages: frozenset[str]) -> frozenset[str]:
    return frozenset().union(*(_STOPWORDS.get(language, frozenset()) for language in languages))
