"""Commands and other code of an answer: code blocks, code in backticks, shell lines, and commands in running prose.

Decides what set-off code is: one token is an identifier, a flag or a number; several are a command when they read as
one, else quoted words. In prose a command begins with a program's name (`programs`) and goes on over what can only be
arguments; up to three plain words count as arguments, too, until a word or sign that ends the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flytewheel.evaluation.groundedness.programs import (
    ADVERBS,
    ENDS,
    VERBS,
    WEAK,
    is_run_path,
    is_strong,
    is_technical,
    reads_as_command,
)

Piece = tuple[str, int, int]  # kind, start, end

_FENCE = re.compile(r"^[ ]{0,8}(```|~~~)[ \t]{0,8}([\w+.-]{0,20})[^\n]*$", re.MULTILINE)
_INLINE = re.compile(r"``([^`\n]{1,400})``|`([^`\n]{1,400})`")
_SHELLS = frozenset(["", "sh", "bash", "shell", "zsh", "console", "terminal", "text", "cmd", "powershell", "sql"])
_PROMPT = re.compile(r"^[ ]{0,40}(?:\$|\w{1,32}@[\w.-]{1,64}:?\S{0,64}[$#]|PS>|>)[ ](?=\S)", re.MULTILINE)
_TOKEN = re.compile(r"(?<!\S)\S+")
_FLAG = re.compile(r"(?<![\w-])--[a-zA-Z][\w-]*(?:=[^\s,;)\]*]+)?|(?<![\w.-])(?<=[\s(\"'])-[a-zA-Z](?![\w-])")
_NUMERIC = re.compile(r"[-+~≈]?[$€£¥]?\d[\d.,:/ ]*(?:[a-zA-Zµ%°€$£]{1,8}|[ ][a-zA-Z%]{1,12})?")
_OPEN, _CLOSE = "([{\"'*_“«‘„", ",;:!?)]}\"'*”»’"
_PLAIN_WORDS = 3


def find_set_off(text: str) -> tuple[list[Piece], list[tuple[int, int]]]:
    """What stands in code blocks, backticks and shell lines; and the blocks, in which no names are to be looked for."""
    pieces: list[Piece] = []
    blocks = list(_find_blocks(text))
    for start, end, shell in blocks:
        if shell:
            pieces += _read_lines(text, start, end)
    for found in _INLINE.finditer(text):
        group = 1 if found[1] is not None else 2
        if not any(start <= found.start() < end for start, end, _ in blocks[:64]):
            pieces += _classify(text, found.start(group), found.end(group))
    for found in _PROMPT.finditer(text):
        end = text.find("\n", found.end())
        end = len(text) if end < 0 else end
        line = text[found.end() : end].rstrip()
        if reads_as_command(line) and len(line) <= 400:
            pieces.append(("command", found.end(), found.end() + len(line)))
    return pieces, [(start, end) for start, end, _ in blocks]


def find_prose(text: str) -> Iterator[Piece]:
    """Commands that begin with a program's name in running prose, and flags that stand alone."""
    for line in re.finditer(r"[^\n]+", text):
        tokens = [(found.group(), line.start() + found.start()) for found in _TOKEN.finditer(line.group())]
        at = 0
        while at < len(tokens):
            stop = _read_prose(tokens, at)
            if stop is not None:
                name, start = tokens[at]
                start += len(name) - len(name.lstrip(_OPEN))
                last, place = tokens[stop - 1]
                yield "command", start, place + len(_trim(last))
                at = stop
            else:
                at += 1


def find_flags(text: str) -> Iterator[Piece]:
    """Flags that stand alone."""
    for found in _FLAG.finditer(text):
        yield "command", found.start(), found.start() + len(found.group().rstrip(".:!?"))


def _find_blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    opened: re.Match[str] | None = None
    for found in _FENCE.finditer(text):
        if opened is None:
            opened = found
        elif found[1] == opened[1]:
            yield opened.end(), found.start(), opened[2].lower() in _SHELLS
            opened = None
    if opened is not None:
        yield opened.end(), len(text), opened[2].lower() in _SHELLS


def _read_lines(text: str, start: int, end: int) -> Iterator[Piece]:
    at = start
    for line in text[start:end].split("\n"):
        bare = line.strip()
        if (
            bare
            and not _PROMPT.match(line)
            and not bare.startswith("#")
            and len(bare) <= 400
            and reads_as_command(bare)
        ):
            begin = at + len(line) - len(line.lstrip())
            yield "command", begin, begin + len(bare)
        at += len(line) + 1


def _classify(text: str, start: int, end: int) -> Iterator[Piece]:
    inside = text[start:end]
    start += len(inside) - len(inside.lstrip())
    inside = inside.strip()
    end = start + len(inside)
    if not any(letter.isalnum() for letter in inside) or _NUMERIC.fullmatch(inside):
        return  # a number is found as one
    if inside.startswith("$ "):
        start, inside = start + 2, inside[2:]
    if len(inside.split()) == 1:
        yield "command" if inside.startswith("-") else "identifier", start, end
    else:
        yield "command" if reads_as_command(inside) else "quote", start, end


def _trim(token: str) -> str:
    bare = token.rstrip(_CLOSE)
    if bare.endswith(".") and len(bare) > 1 and not bare.endswith((" .", "/.", "..")):
        bare = bare.rstrip(".")
    if "<" in bare and token[len(bare) :].startswith(">"):
        bare += ">"
    return bare


def _read_prose(tokens: list[tuple[str, int]], at: int) -> int | None:
    """Where the command that begins at a token ends, if one does."""
    name = tokens[at][0].lstrip(_OPEN)
    strong = is_strong(name)
    if not strong and not (name in WEAK or is_run_path(name)):
        return None
    before = tokens[at - 1][0].lower().strip(_OPEN + _CLOSE + ".") if at else ""
    announced = at == 0 or before in VERBS or tokens[at - 1][0].endswith(":")
    stop, plain, technical, settled = at + 1, 0, False, False
    while stop < len(tokens):
        token = tokens[stop][0]
        bare = _trim(token)
        if not bare or bare.lower() in ENDS or not bare.strip("-—"):
            break
        if is_technical(bare) and not bare.startswith("("):
            technical = True
            settled = bare[0] != "-" and tokens[stop - 1][0][:1] != "-"
        elif (
            bare.isascii()
            and bare.islower()
            and plain < _PLAIN_WORDS
            and not settled
            and bare not in ADVERBS
            and strong
        ):
            plain += 1
        else:
            break
        stop += 1
        if len(bare) < len(token) and not token.endswith(("'", '"')):
            break
    if stop == at + 1 or not (technical or (strong and (announced or name.endswith("ctl")))):
        return None
    first = _trim(tokens[at + 1][0])
    if not strong and (
        not is_technical(first) or (first[:1] != "-" and first.strip("/.,:%").replace("/", "").isdecimal())
    ):
        return None
    return stop
