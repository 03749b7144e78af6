"""How a command, an identifier, a name or a quotation of an answer is found in one text of its context.

All comparisons look for something that is there, so whatever else the text holds takes no support away. A word must
stand there whole: `billing-api` is not in `billing-api-v2`, nor `7` in `7.5`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

_PLACEHOLDER = re.compile(
    r"<[^<>\s]{1,40}>|\$\{?[A-Za-z_]\w{0,40}\}?|\{\{?\s?[\w-]{1,40}\s?\}?\}|\[[A-Za-z][\w-]{1,40}\]"
)
_CAPITALS = re.compile(r"[A-Z][A-Z_]{3,30}")
_NO_PLACEHOLDERS = frozenset(
    [
        "POST",
        "DELETE",
        "PATCH",
        "HEAD",
        "OPTIONS",
        "SELECT",
        "INSERT",
        "UPDATE",
        "FROM",
        "WHERE",
        "TRUE",
        "FALSE",
        "NULL",
        "TABLE",
    ]
)
_SHORT_FLAGS = re.compile(r"-[A-Za-z]{2,4}")
_LETTERS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\n|[.,;:!?()|。，、；]")
_MARKS = re.compile(r"[*`\"“”„«»‹›「」『』']|(?<!\w)_|_(?!\w)")
_ELLIPSIS = re.compile(r"\s*(?:\[\.\.\.\]|\.\.\.|\(\.\.\.\))\s*")
_ABBREVIATED = frozenset(["prof", "inc", "ltd", "mrs", "mme", "sra"])
_BREAKS = frozenset(".,;:!?()|\n。，、；")
_LINKS = frozenset(["of", "the", "and", "for", "de", "la", "du", "des", "del", "y", "et", "von", "der", "die", "und"])
_QUOTED_VALUE = re.compile(r"((?:^|(?<=\s))--?[\w-]{1,40}[= ])([\"'])([^\"'\n]{1,80})\2")
_ELIDED = re.compile(r"(?:[dljmtnsc]|qu)'(?=[^\W\d_]{2})")
_MOST_PLACES = 2000  # of a word that are looked at


def is_joined(before: str, after: str) -> bool:
    """Whether two characters belong to one word; Chinese and Japanese are written without spaces."""
    return bool(before and after) and before.isalnum() and after.isalnum() and max(ord(before), ord(after)) < 0x2E80


def find_whole(needle: str, hay: str, fits: Callable[[str, int, int], bool]) -> bool:
    """Whether `needle` stands somewhere in `hay` where `fits(hay, start, end)`."""
    at = hay.find(needle) if needle else -1
    while at >= 0:
        if fits(hay, at, at + len(needle)):
            return True
        at = hay.find(needle, at + 1)
    return False


def fits_word(hay: str, start: int, end: int) -> bool:
    """No letter or digit goes on at either end."""
    return not is_joined(hay[start - 1 : start], hay[start]) and not is_joined(hay[end - 1], hay[end : end + 1])


def fits_number(hay: str, start: int, end: int) -> bool:
    """Nor do digits behind a point or comma."""
    before, after = hay[max(0, start - 2) : start], hay[end : end + 2]
    if re.fullmatch(r"\d[.,:/-]", before) or re.fullmatch(r"[.,:/-]\d", after):
        return False
    return fits_word(hay, start, end)


def fits_identifier(hay: str, start: int, end: int) -> bool:
    """It is a whole identifier there, or whole parts of a longer one: a file of a path, a field of an object."""
    first, last = hay[start], hay[end - 1]
    before, after = hay[start - 1 : start], hay[end : end + 1]
    beyond = hay[end + 1 : end + 2]
    dotted = "." in hay[start:end] and "/" not in hay[start:end]
    if _goes_on(before, first) or _goes_on(last, after):
        return False
    if first in "/.\\" and (before.isalnum() or (before in "/.\\~-_" and before)):
        return False
    if after == "-" and beyond.isalnum() and last.isalnum():
        return False
    if after and after in "./@" and beyond.isalnum() and dotted and after != "/":
        return False
    return not (before and before in ".@" and dotted and hay[max(0, start - 2) : start - 1].isalnum())


def _goes_on(one: str, two: str) -> bool:
    if not one or not two or max(ord(one), ord(two)) >= 0x2E80:
        return False
    return (one.isalnum() or one in "_-") and (two.isalnum() or two in "_-") and (one.isalnum() or two.isalnum())


def smooth(text: str) -> str:
    """How quotations are compared: without emphasis, marks and runs of white space."""
    return " ".join(_MARKS.sub("", text).split())


def holds_quote(quoted: str, hay: str) -> bool:
    """Whether smoothed words stand in a smoothed text; parts around an ellipsis in their order."""
    at = 0
    for part in _ELLIPSIS.split(quoted):
        part = part.strip(" .,;:!?。，！？、")
        if not part:
            continue
        place = hay.find(part, at)
        while place >= 0 and not fits_word(hay, place, place + len(part)):
            place = hay.find(part, place + 1)
        if place < 0:
            return False
        at = place + len(part)
    return True


def split_command(text: str) -> list[str]:
    """The tokens of a command, or of a text that may hold one."""
    tokens = []
    text = _QUOTED_VALUE.sub(lambda found: found[1] + found[3].replace(" ", "\ufffc"), text)
    for raw in re.sub("[`\"'“”]", " ", text).split():
        token = _trim(raw)
        if not token or token in "$>\\#":
            continue
        if token.startswith("--") and "=" in token:
            tokens += [part for part in token.split("=", 1) if part]
        elif _SHORT_FLAGS.fullmatch(token):
            tokens.append("-" + "".join(sorted(token[1:])))
        else:
            tokens.append(token)
    return tokens


def _trim(token: str) -> str:
    token = token.lstrip("*(").rstrip(",;:!?*")
    while token and token[-1] in ".)]}" and not (token[-1] == "." and len(token.strip(".")) == 0):
        pair = {")": "(", "]": "[", "}": "{"}.get(token[-1])
        if pair and pair in token:
            break
        token = token[:-1].rstrip(",;:!?*")
    return token


class Tokens:
    """The tokens of one text, and where each stands."""

    def __init__(self, text: str) -> None:
        self.tokens = split_command(text)
        self._places: dict[str, list[int]] = defaultdict(list)
        for at, token in enumerate(self.tokens):
            self._places[token].append(at)
        self.templates = [(at, token) for at, token in enumerate(self.tokens) if _is_template(token)][:_MOST_PLACES]

    def __contains__(self, token: str) -> bool:
        return token in self._places

    def holds(self, command: Sequence[str], is_known: Callable[[str], bool]) -> bool:
        """Whether the command stands here, its flags in any order, with placeholders filled in by what is known."""
        starts = self._places.get(command[0], ())[:_MOST_PLACES]
        starts = [*starts, *(at for at, token in self.templates if _fills(command[0], token, is_known))]
        for at in starts:
            window = self.tokens[at : at + len(command)]
            if len(window) == len(command) and (
                all(one == other or _fills(one, other, is_known) for one, other in zip(command, window, strict=True))
                or _is_reordered(command, window, is_known)
            ):
                return True
        return False


def _is_template(token: str) -> bool:
    return _PLACEHOLDER.search(token) is not None or (
        _CAPITALS.fullmatch(token) is not None and token not in _NO_PLACEHOLDERS
    )


def _fills(said: str, template: str, is_known: Callable[[str], bool]) -> bool:
    """Whether `said` is a placeholder itself, or fills those of `template` with what is known."""
    if _PLACEHOLDER.fullmatch(said) and not said.startswith("$"):
        return not template.startswith("-")
    if _CAPITALS.fullmatch(template) and template not in _NO_PLACEHOLDERS:
        return not said.startswith("-") and is_known(said)
    if not _PLACEHOLDER.search(template):
        return False
    pattern = "(.+)".join(map(re.escape, _PLACEHOLDER.split(template)[:6]))
    found = re.fullmatch(pattern, said) if len(said) <= 200 else None
    return found is not None and all(is_known(part) for part in found.groups())


def _is_reordered(command: Sequence[str], window: Sequence[str], is_known: Callable[[str], bool]) -> bool:
    """The same tokens with flags elsewhere: no flag has another value, plain arguments keep their order."""
    if command[0] != window[0] or not any(token.startswith("-") for token in command):
        return False
    window = [token if token in command else _find_filler(token, command, window, is_known) for token in window]
    if Counter(command) != Counter(window):
        return False
    ours, theirs = (dict(_list_values(tokens)) for tokens in (command, window))
    if any(ours[flag] and theirs.get(flag) and ours[flag] != theirs[flag] for flag in ours):
        return False
    valued = set(filter(None, ours.values())) | set(filter(None, theirs.values()))
    plain = [[token for token in tokens if token[0] != "-" and token not in valued] for tokens in (command, window)]
    return plain[0] == plain[1]


def _find_filler(token: str, command: Sequence[str], window: Sequence[str], is_known: Callable[[str], bool]) -> str:
    return next((said for said in command if said not in window and _fills(said, token, is_known)), token)


def _list_values(tokens: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for at, token in enumerate(tokens):
        if token.startswith("-"):
            value = tokens[at + 1] if at + 1 < len(tokens) else None
            yield token, None if value is None or value.startswith("-") else value


def stem(word: str) -> str:
    """A word without possessive and plural."""
    word = _ELIDED.sub("", word, count=1) if word[1:3].find("'") >= 0 else word
    word = word.removesuffix("'s").removesuffix("'").replace("'", "")
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def split_name(name: str) -> list[str]:
    """The words of a name, as they are compared."""
    words = [stem(word) for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", name.casefold())]
    return [word for word in words if word not in _LINKS] or words


class Names:
    """The words of one text, for names."""

    def __init__(self, text: str) -> None:
        self._words: list[str] = []
        self._places: dict[str, list[int]] = defaultdict(list)
        initials: list[str] = []
        self.acronyms: set[str] = set()
        for found in _LETTERS.finditer(text):
            word = found.group()
            if word == "." and self._words and (len(self._words[-1]) < 3 or self._words[-1] in _ABBREVIATED):
                continue  # St. Mary's, J. Doe
            if word in _BREAKS:
                self._words.append("")
                initials = []
                continue
            if word.casefold() in _LINKS:
                continue
            self._places[stem(word.casefold())].append(len(self._words))
            self._words.append(stem(word.casefold()))
            initials = [*initials[-5:], word[0]]
            for size in range(2, len(initials) + 1):
                tail = initials[-size:]
                if size > 2 or all(map(str.isupper, tail)):
                    self.acronyms.add("".join(tail).upper())

    def holds(self, name: Sequence[str]) -> bool:
        """Whether the words of a name stand here next to each other, in any order, one other word between at most."""
        rarest = min(name, key=lambda word: len(self._places.get(word, ())))
        wanted = Counter(name)
        reach = len(name)
        for at in self._places.get(rarest, ())[:_MOST_PLACES]:
            for start in range(max(0, at - reach), at + 1):
                window = self._words[start : start + reach + 1]
                for size in (reach, reach + 1):
                    part = window[:size]
                    turned = reach == 2 and part[1:2] == [""] and part[2:] == [name[0]]  # "Schmidt, Anna"
                    if len(part) == size and not wanted - Counter(part) and ("" not in part or turned):
                        return True
        return False
