"""Finds answers that were cut: by what the server said of them, or by what stands open at their end.

Many good answers end without a full stop, in a command, an address, a list item or a smile. So only strong signs count:
the server's finish reason, a code fence that never closes, a table's or a JSON document's row that stops, a bare list
numeral, an open bracket or quotation, a comma, a small word after which English cannot end, or the beginning of a word
that the text has written out before.
"""

from __future__ import annotations

import re

LONG = 160  # characters below which the end of a sentence is a matter of style
SURE_TAIL = 40  # characters in which code would stand, for what is sure otherwise
SHORT = 24  # characters of a last line below which nothing is judged
CUT_REASONS = frozenset(
    {"length", "max_tokens", "max_length", "max_output_tokens", "token_limit", "model_length", "incomplete"}
)

# After these no English sentence ends. `of`, `to`, `with`, `for` may ("the host you connect to") and are not here.
_OPENING = (
    "the a an and or but nor because your their my our its every whose unless although while whereas if than into "
    "onto upon via per whether until these those very between among during such however therefore moreover "
    "is are was were be been being has have should would could might must shall will may "
    "der die das ein eine einen einem und oder weil dass le la les un une et ou parce el los las y porque para"
)
_OPEN_WORDS = frozenset(_OPENING.split())
_INFLECTED = (
    "s es d ed r er ers ing ly y al able ful ment ments ion ions ity n en ness or ors ation ations less "
    "ings ally ive e ped ping ted ting ned ning ged ging"
)
# Determiners and conjunctions, which close nothing; judged in texts of any length.
_SURE = (
    "the a an and or nor because your their my our its whose unless although whereas if than per whether these during "
    "among between therefore as such within without despite der ein eine einen einem und oder weil dass le les "
    "une des et ou parce el los las y porque "
    "para il gli una e che o os um uma een het"
)
_SURE_WORDS = frozenset(_SURE.split()) - {"o", "e", "a", "y"} | {"a"}
_AUXILIARIES = frozenset({"should", "would", "could", "might"})
_SURE_PHRASE = re.compile(
    r"(?:^|[ ,])(?:from \S+ to|(?:according|due|prior|similar|related|in addition|equal|in order|set \S+|change "
    r"\S+|\S+` ?) to|"
    r"(?:so|such) that|which (?:is|are)|(?:ones|those|nodes|pods|files|all) that (?:are|were|have)|then you need "
    r"to|and then|"
    r"(?:is|are|was|were) (?:never|always|also|only|usually|often)|(?:daarna|vervolgens|dan|en) de|(?:und|et|y|e) "
    r"(?:dann |ensuite |luego |dopo )?(?:die|der|das|la|le|el|il|lo)|"
    r"(?:dann|danach|ensuite|puis|luego|despues|después|poi|dopo) \S*\s?(?:die|der|das|den|la|le|les|el|los|il|lo|gli)|"
    r"by the|of the|with the|in the|on the|to the|for the|at the|from the|that the)$|, (?:so|but|and)$"
)
_OPEN_CYRILLIC = re.compile(r"[а-яё],? (?:и|в|на|с|для|или|что|чтобы|но|от|по|из|при|к|если|когда)$")
_PROMISE = re.compile(
    r"(?:following|these|steps|below|here(?:'s| is| are)|as follows|follows|ways|reasons|things|folgende[nrms]?|"
    r"suivantes?|siguientes?|"
    r"seguenti|seguintes?)\b[^.!?:]*:$"
)
_BOLD_NUMERAL = re.compile(
    r"^\s*\*\*(?:step|schritt|paso|étape|passo)?\s*\d{1,2}[.:)]?\*\*:?$|^\s*\*\*step \d{1,2}[^*]{0,3}\*\*$",
    re.IGNORECASE,
)
_LIST_KEY = re.compile(r"^\s*- (?:name|image|key|value|host|path|port|containerPort|mountPath|id|type|command|hosts):$")
_OPENERS = frozenset(",([{-“„«，、")  # beside letters, what an open sentence may end with
_ENDINGS = frozenset(_INFLECTED.split())
# Ends of sentences that these words make when an auxiliary closes a comparison or a question ("as it should").
_CLOSING = re.compile(
    r"(?:as|than|where|what|how|which|who|that|it|they|you|there|so|if|when|why|we|he|she)\s+(?:\w+\s+){0,3}(?:is|"
    r"are|was|were|be|has|have|should|would|could|might|must|will|may|been)$"
)
_OPEN_PHRASE = re.compile(
    r"(?:^|[ ,])(?:(?:which|who|that) (?:is|are|was|were|has|have|can|will)|(?:then|so|and|but|because|when|if|"
    r"while|once|after|before|until) (?:they|we|he|she|it|you|i)|"
    r"(?:an?|the|its|your|their|every|each|any) [a-z]+(?:ed|ive|ful|ous|less|able|ible|ic))$"
)
_NOUNS_IN_IC = re.compile(
    r"(?:traffic|metric|topic|logic|panic|mechanic|public|fabric|basic|generic|arithmetic|static|need|seed|feed|"
    r"speed|shed|bed|thread|executable|table|variable|drive|archive|directive|alternative|objective|enable|"
    r"deliverable|cable|primitive|initiative|narrative|negative|positive|active|hive|wildcard|embed)$"
)
_LAST_WORD = re.compile(r"(?<![\w./-])([a-z]+)$")
_NUMERAL_ONLY = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s*(?:\*\*)?$")
_LISTED = re.compile(r"^\s*(?:[-*•+]|\d{1,2}[.)])\s")
_FENCE_LINE = re.compile(r"^[ \t]*~~~+", re.MULTILINE)
_CODE_END = re.compile(
    r"^(?:\s{4,}|\t)|^\s*[$>#]|[={}]|;(?:$| ?(?:do|then|done|fi)\b)|^\s*[\w.-]+:(?:\s|$)|(?<!\w)--?\w|/\w+/|\w+\.\w+\("
)
_CODE_LINE = re.compile(r"^(?:\s{4,}|\t)|^\s*[$>#]|^\s*[\w.-]+:(?:\s|$)")
_BEFORE_A = re.compile(r"[a-z,] a$")
_SENTENCES = re.compile(r"[.!?:][\s)\"']")


def is_cut_off(text: str, finish_reason: str | None = None) -> bool:
    """Whether an answer was cut; see the module's text.

    Args:
        text: The answer.
        finish_reason: What the server said of its end (`length`), where known.
    """
    if finish_reason is not None and finish_reason.lower() in CUT_REASONS:
        return True
    body = text.rstrip()
    if not body:
        return False
    # One sign is searched for faster than three.
    if "`" in body and body.count("```") % 2:
        return True
    if "~" in body and "~~~" in body and len(_FENCE_LINE.findall(body)) % 2:
        return True
    start = body.rfind("\n") + 1
    if _row_stops(body, start):
        return True
    if (body[-1] in ":*" or body[-1].isalpha()) and _item_stops(body, start):
        return True
    if body[-1] in ".!?)]}>\"'”’»。！？…*:":
        return False
    return _sentence_stops(body, start)


def _row_stops(body: str, start: int) -> bool:
    """A list numeral without its item, a table row or a JSON document that stands open."""
    last = body[start:]
    if start and not body[-2].isalpha() and _NUMERAL_ONLY.match(last):  # its last sign stands behind no letter
        before = body[:start].rstrip().rsplit("\n", 1)[-1]
        return _LISTED.match(before) is not None
    if "|" in last and last.lstrip().startswith("|") and not last.endswith("|"):
        before = body[:start].rstrip().rsplit("\n", 1)[-1].strip()
        return before.startswith("|") and before.endswith("|")
    if body[0] in "{[" and len(body) >= 20 and body[1:2] in '"{[ \n\t':
        return body.count(body[0]) > body.count("}" if body[0] == "{" else "]") and '"' in body
    return False


def _item_stops(body: str, start: int) -> bool:
    """A list item of one small word, a key of a manifest's list without its value, or a promise of what follows.

    All of them end in a letter, a colon or an asterisk.
    """
    last = body[start:]
    if start and (_LISTED.match(last) or _BOLD_NUMERAL.match(last)):
        item = _LISTED.sub("", last).split()
        if _BOLD_NUMERAL.match(last) or (item and item[-1] in _SURE_WORDS and (len(item) == 1 or item[-1] != "a")):
            return True
        return _LIST_KEY.match(last) is not None
    return last.endswith(":") and len(last) >= SHORT and _PROMISE.search(last[-LONG:].lower()) is not None


def _surely_stops(last: str) -> bool:
    """The end of a text too short to be judged by style: only what cannot end a sentence."""
    if len(last) < SHORT:
        return False
    if last.count("`") % 2 or last.endswith((",", " (")):
        return True
    if _OPEN_CYRILLIC.search(last[-SHORT:]) or last.endswith(("，", "、")):
        return True
    found = _LAST_WORD.search(last[-SHORT:])
    if found is None:
        return False
    sentence = re.split(r"[.!?:]\s", last[-LONG:])[-1].lower()
    if found[1] == "a" and not _BEFORE_A.search(last):  # GROUP BY a
        return False
    if found[1] in _SURE_WORDS or _SURE_PHRASE.search(sentence):
        return len(sentence.split()) >= 2
    return found[1] in _AUXILIARIES and _CLOSING.search(sentence) is None and "if" not in sentence


def _sentence_stops(body: str, start: int) -> bool:
    last = body[start:]
    end = body[-1]
    # Numbers and commands: nothing is open, and below only words and openers make a sentence stop.
    if not end.isalpha() and end not in _OPENERS and "(" not in last and last.count("`") % 2 == 0:
        return False
    if _surely_stops(last) and not _CODE_LINE.search(last) and not _CODE_END.search(last[-SURE_TAIL:]):
        return True
    if len(body) < LONG:
        return False
    if _CODE_END.search(last[-LONG:]) or len(last.split(None, 4)) < 4:
        return last.count("`") % 2 == 1 and "```" not in body and len(last.split()) >= 4
    if last.count("`") % 2 or body.endswith((",", "(", "[", "{", " -", "“", "„", "«", ", e")):
        return True
    sentence = re.split(r"[.!?:]\s", last)[-1]
    if sentence.count("(") > sentence.count(")") and not re.search(r"[:;]-?\($", sentence):
        return True
    found = _LAST_WORD.search(last[-LONG:])
    if found is None:
        return False
    word = found[1]
    if _OPEN_PHRASE.search(sentence[-LONG:].lower()) and not _NOUNS_IN_IC.search(word) and "?" not in sentence:
        return True
    if word == "then" and sentence.lower().startswith("if "):
        return True
    if _SURE_PHRASE.search(sentence[-LONG:].lower()):
        return True
    if word in _OPEN_WORDS and len(sentence.split()) >= 2:
        return _CLOSING.search(sentence.lower()) is None
    return _is_part(word, body[: len(body) - len(word)])


def _is_part(word: str, before: str) -> bool:
    """Whether a word is the beginning of one that stands in the text and no word of its own there."""
    if len(word) < 4 or len(_SENTENCES.findall(before)) < 2:
        return False
    whole: list[str] = re.findall(rf"(?<![\w]){re.escape(word)}(\w*)", before.lower())
    return bool(whole) and "" not in whole and not _ENDINGS.intersection(whole)
