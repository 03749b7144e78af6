r"""Turns as a template of Go's text/template over Ollama's `.Messages`.

Ollama knows no function that strips white space, so that is written in the template itself, as one that calls itself:
`printf "%.1s"` gives the first character, `slice` the rest, and Python's white space is listed. What a chat template
refuses ends here in an error, too: a template is called whose name, which nothing defines, is the reason (a turn that
vanished without a word would be worse). Such calls pass an argument, because Ollama's walk over the template's nodes
(template/template.go, Identifiers) does not expect one without.

Modelfiles drop characters that do not print, and three quotes end a text: such characters, quotes and braces stand
in actions as strings of Go (`{{ "\u00a0" }}`), never bare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from flytewheel.export.turns import Step, Turns

WHITE_SPACE = tuple(
    chr(code) for code in range(0x3001) if chr(code).isspace()
)  # what str.strip takes, and Jinja's trim
_UNSAFE = re.compile(r'[{"]+|[^ -~\n]+')
_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r", '"': r"\"", "\\": r"\\"}


def write_go_template(turns: Turns) -> str:
    """The template's text."""
    branches = [(f'eq .Role "{role}"', _write_turn(turns, role)) for role in ("system", "user", "assistant")]
    branches.append(("", _refuse("only turns of system, user and assistant can be rendered")))
    ending = _choose(
        "$before",
        [((before,), _literal(text)) for before, text in sorted(turns.endings.items())],
        _refuse("the conversation does not lead to an answer"),
    )
    body = "".join(
        [
            '{{ $before := "" }}',
            '{{ $system := "" }}{{ $given := false }}' if turns.folded else "",
            "{{ range $index, $turn := .Messages }}" if turns.folded else "{{ range .Messages }}",
            _branch(branches),
            "{{ end }}",
            ending,
        ]
    )
    return _write_strippers(turns) + body


def quote_go(text: str) -> str:
    """`text` as a string of Go in ASCII that prints."""
    return '"' + "".join(_escape(letter) for letter in text) + '"'


def _escape(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if " " <= letter <= "~":
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def _literal(text: str) -> str:
    """`text` as it may stand in a template inside a Modelfile."""

    def wrap(found: re.Match[str]) -> str:
        run = found[0]
        safe = run.isprintable() and not set(run) & set('{"')
        return run if safe else f"{{{{ {quote_go(run)} }}}}"

    return _UNSAFE.sub(wrap, text)


def _refuse(reason: str) -> str:
    return f"{{{{ template {quote_go(reason)} . }}}}"


def _branch(branches: Iterable[tuple[str, str]]) -> str:
    """`if … else if … else … end`; the condition of the last is empty."""
    parts = []
    for index, (condition, text) in enumerate(branches):
        word = "if" if not index else "else if"
        parts.append(f"{{{{ {word} {condition} }}}}{text}" if condition else f"{{{{ else }}}}{text}")
    return "".join(parts) + "{{ end }}"


def _choose(variable: str, cases: Iterable[tuple[tuple[str, ...], str]], otherwise: str) -> str:
    """Chooses by the value of a variable."""
    told = [(f"eq {variable} " + " ".join(quote_go(value) for value in values), text) for values, text in cases]
    return _branch([*told, ("", otherwise)]) if told else otherwise


def _write_turn(turns: Turns, role: str) -> str:
    """A turn of `role`: its step by who spoke before, its content, and the note of who spoke."""
    if role == "system" and turns.folded is not None:
        noted = "{{ $system = .Content }}{{ $given = true }}"
        return f"{{{{ if .Content }}}}{noted}{{{{ end }}}}" if turns.skips_empty_system else noted
    if role == "system" and turns.drops_system:
        return ""
    by_step: dict[Step, list[str]] = {}
    for (before, after), step in turns.steps.items():
        if after == role:
            by_step.setdefault(step, []).append(before)
    cases = [
        (tuple(sorted(befores)), _write_step(turns, role, step))
        for step, befores in sorted(by_step.items(), key=lambda item: sorted(item[1]))
    ]
    refusal = _refuse(f"the chat template takes no turn of {role} here")
    turn = _choose("$before", cases, refusal) + f'{{{{ $before = "{role}" }}}}'
    return f"{{{{ if .Content }}}}{turn}{{{{ end }}}}" if role == "system" and turns.skips_empty_system else turn


def _write_step(turns: Turns, role: str, step: Step) -> str:
    if role != "user" or turns.folded is None:
        return _strip(".Content", step)
    last = _strip("$system", step) + _strip(".Content", turns.folded)
    return _branch([("and $given (eq (len (slice $.Messages $index)) 1)", last), ("", _strip(".Content", step))])


def _strip(field: str, step: Step) -> str:
    """A step's text and what it leaves of a field."""
    if step.through:
        return f'{{{{ template "strip_right" (printf "%s%s" {quote_go(step.text)} {field}) }}}}'
    name = _STRIPPERS.get((step.strip_left, step.strip_right))
    return _literal(step.text) + (f'{{{{ template "{name}" {field} }}}}' if name else f"{{{{ {field} }}}}")


_STRIPPERS = {(True, True): "strip", (True, False): "strip_left", (False, True): "strip_right"}


def _write_strippers(turns: Turns) -> str:
    """Definitions of the templates that strip, as far as they are called."""
    used = {(step.strip_left, step.strip_right) for step in (*turns.steps.values(), *filter(None, [turns.folded]))}
    text = ""
    if {(True, True), (False, True)} & used:
        text += _write_strip_right()
    if (True, True) in used:
        text += _write_strip_left("strip", '{{ template "strip_right" . }}')
    if (True, False) in used:
        text += _write_strip_left("strip_left", "{{ . }}")
    return text


def _write_strip_left(name: str, rest: str) -> str:
    spaces = " ".join(quote_go(space) for space in WHITE_SPACE)
    return (
        f'{{{{ define "{name}" }}}}{{{{ $first := printf "%.1s" . }}}}{{{{ if eq $first {spaces} }}}}'
        f'{{{{ template "{name}" (slice . (len $first)) }}}}{{{{ else }}}}{rest}{{{{ end }}}}{{{{ end }}}}'
    )


def _write_strip_right() -> str:
    """The last character has one to three bytes; `len (slice . 2)` is the length without the last two."""
    text = "{{ . }}"
    for size in (3, 2, 1):
        spaces = " ".join(quote_go(space) for space in WHITE_SPACE if len(space.encode()) == size)
        text = (
            f"{{{{ if lt (len .) {size} }}}}{{{{ . }}}}{{{{ else if eq (slice . (len (slice . {size}))) {spaces} }}}}"
            f'{{{{ template "strip_right" (slice . 0 (len (slice . {size}))) }}}}{{{{ else }}}}{text}{{{{ end }}}}'
        )
    return f'{{{{ define "strip_right" }}}}{text}{{{{ end }}}}'
