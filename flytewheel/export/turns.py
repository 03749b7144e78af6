"""What a chat template writes between the turns of a conversation: measured, not translated.

A template is a program; what it does to a conversation is read off its output. Conversations with marked contents are
rendered through the tokenizer, and the text between two marks is taken as what belongs to that step: who spoke before,
who speaks next. So a default system turn, a system text folded into the first or the last user turn, a start token
before each question and a header before the answer are all the same thing: a text that depends on two roles. Contents
with white space around them tell whether the template strips them, on which side, at which step.

A table of steps is only believed when it reproduces what the tokenizer renders for conversations that it was not read
from: none or one system turn, one to six questions, contents with white space of every kind, unicode, braces, quotes,
delimiters of Go, and nothing. Otherwise `UnfitError` says what the template does that a table of steps cannot.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Talk = Sequence[tuple[str, str]]

MOST_QUESTIONS = 6

_LEFT, _RIGHT = "\n\t ", " \t\n"  # they differ, so that it is seen whose white space was kept
_CONTENTS = (
    "Hi",
    " one space before and after ",
    "\n\n\tlines  and\ttabs \r\n",
    "",
    "Grüße, 你好 🙂 e\u0301",
    '{{ .Content }} {{- "x" -}} {{/* no */}} {% if x %} %} {# c #}',
    '`back` "quoted" \'single\' """three""" \\n \\',
    "\u3000\xa0\u2028wide\u2009\x85\x1c",
    " \n ",
    "<s> [INST] <|im_end|> <end_of_turn> <|eot_id|> </s>",
)


class UnfitError(Exception):
    """The chat template does what no table of steps does; the message says what, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Step:
    """What stands before a turn's content, and on which sides the content is stripped of white space.

    With `through`, stripping the right side goes on into the text where nothing is left of the content: the template
    strips both together, as where a system text was put before the question first.
    """

    text: str
    strip_left: bool = False
    strip_right: bool = False
    through: bool = False

    def write(self, content: str) -> str:
        """The text and the content as this step passes it on."""
        content = content.lstrip() if self.strip_left else content
        if self.through:
            return (self.text + content).rstrip()
        return self.text + (content.rstrip() if self.strip_right else content)


@dataclass(frozen=True, slots=True)
class Turns:
    """A chat template as steps.

    Attributes:
        steps: (who spoke before, who speaks) → the step; before the first turn nobody (`""`) spoke. A pair that is
            missing is one that the template refuses, or that could not be measured.
        endings: Who spoke last → what leads to the answer.
        folded: Where the system's text belongs into the last question: what stands between them.
        drops_system: The template leaves a system turn out without a word.
        skips_empty_system: A system turn without text counts as none.
        caveats: What a conversation can hold that is rendered otherwise, as sentences.
    """

    steps: Mapping[tuple[str, str], Step]
    endings: Mapping[str, str]
    folded: Step | None = None
    drops_system: bool = False
    skips_empty_system: bool = False
    caveats: tuple[str, ...] = field(default=())

    def render(self, talk: Talk) -> str:
        """Renders a conversation up to where the answer begins.

        Raises:
            UnfitError: the template refuses the order of its roles, or it was not measured.
        """
        parts: list[str] = []
        before, system = "", None
        for index, (role, content) in enumerate(talk):
            if role == "system" and (self.drops_system or (self.skips_empty_system and not content)):
                continue
            if role == "system" and self.folded:
                system = content
                continue
            step = self.steps.get((before, role))
            if step is None:
                raise UnfitError(f"takes no {role} turn after {before or 'nothing'}")
            if self.folded and system is not None and index == len(talk) - 1:
                parts.append(step.write(system))
                step = self.folded
            parts.append(step.write(content))
            before = role
        if before not in self.endings:
            raise UnfitError(f"does not lead from {before or 'nothing'} to an answer")
        return "".join(parts) + self.endings[before]

    def without_start(self, token: str) -> Turns:
        """The same without the start token, for a file whose reader adds it.

        Raises:
            UnfitError: some conversation does not begin with it.
        """
        steps = dict(self.steps)
        for (before, role), step in self.steps.items():
            if not before:
                if not step.text.startswith(token):
                    raise UnfitError(f"begins without {token}, which the file tells its reader to add")
                steps[before, role] = replace(step, text=step.text.removeprefix(token))
        return replace(self, steps=steps)


def measure_turns(tokenizer: Any) -> Turns:
    """Reads the steps off the tokenizer's chat template and holds them against other conversations.

    Raises:
        UnfitError: no table of steps reproduces it.
    """
    _check_clock(tokenizer)
    plain = _measure(tokenizer, "uauau", required=True)
    turns = Turns(steps={}, endings={})
    assert plain is not None
    turns = _add_system(tokenizer, _add(turns, plain))
    for roles in ("ua", "au", "uasu", "usu", "sau", "us", "s"):  # what a client may send, and not every template takes
        if not (turns.folded or turns.drops_system) or "s" not in roles:
            found = _measure(tokenizer, roles)
            turns = _add(turns, found) if found is not None and _agrees(turns, found) else turns
    if _render(tokenizer, [("system", ""), ("user", "x")]) == _render(tokenizer, [("user", "x")]):
        turns = replace(turns, skips_empty_system=not turns.drops_system)
    turns = _prove_one(tokenizer, turns)
    return replace(turns, caveats=_find_caveats(tokenizer, turns))


_ROLES = {"s": "system", "u": "user", "a": "assistant"}


@dataclass(frozen=True, slots=True)
class _Seen:
    """One measured conversation: its steps in order, and its ending."""

    steps: tuple[tuple[tuple[str, str], Step], ...]
    ending: tuple[str, str]


def _render(tokenizer: Any, talk: Talk, **options: Any) -> str | None:
    """The tokenizer's own rendering; None where the template refuses."""
    from jinja2 import TemplateError

    messages = [{"role": role, "content": content} for role, content in talk]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))
    except (TemplateError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _mark(roles: str) -> list[tuple[str, str]]:
    return [(_ROLES[role], f"Q{role.upper()}x{index}z") for index, role in enumerate(roles)]


def _split(text: str, marks: Sequence[str]) -> list[str] | None:
    """The texts around the marks; None unless each stands there once, in this order."""
    gaps = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            return None
        gaps.append(before)
    return [*gaps, text]


def _measure(tokenizer: Any, roles: str, *, required: bool = False) -> _Seen | None:
    """Reads one conversation's steps and what it strips; None where the template refuses it or loses a turn."""
    talk = _mark(roles)
    marks = [content for _, content in talk]
    text = _render(tokenizer, talk)
    padded = _render(tokenizer, [(role, f"{_LEFT}{content}{_RIGHT}") for role, content in talk])
    gaps = None if text is None else _split(text, marks)
    wide = None if padded is None else _split(padded, marks)
    if gaps is None or wide is None:
        if required:
            refused = "refuses a plain conversation" if text is None else "does not write every turn once, in order"
            raise UnfitError(refused)
        return None
    kept: list[tuple[bool, bool]] = []  # of each gap: the white space that ends the turn before, that begins this one
    for index, (narrow, broad) in enumerate(zip(gaps, wide, strict=True)):
        fits = [
            (left, right)
            for left, right in itertools.product((False, True), repeat=2)
            if broad == _RIGHT * left + narrow + _LEFT * right
            and not (left and index == 0)
            and not (right and index == len(gaps) - 1)
        ]
        if not fits:
            if required:
                raise UnfitError("changes white space inside or around contents in a way of its own")
            return None
        kept.append(fits[0])
    names = [""] + [role for role, _ in talk]
    steps = tuple(
        ((names[index], names[index + 1]), Step(gaps[index], not kept[index][1], not kept[index + 1][0]))
        for index in range(len(talk))
    )
    return _Seen(steps, (names[-1], gaps[-1]))


def _agrees(turns: Turns, seen: _Seen) -> bool:
    told = dict(turns.steps)
    for pair, step in seen.steps:
        if told.setdefault(pair, step) != step:
            return False
    return turns.endings.get(seen.ending[0], seen.ending[1]) == seen.ending[1]


def _add(turns: Turns, seen: _Seen) -> Turns:
    """With the steps of one more conversation; the first that was seen of a pair holds."""
    return replace(
        turns,
        steps={**dict(reversed(seen.steps)), **turns.steps},
        endings={seen.ending[0]: seen.ending[1], **turns.endings},
    )


def _add_system(tokenizer: Any, turns: Turns) -> Turns:
    """Finds out what becomes of a system turn that opens a conversation: a step, folded, dropped, or refused."""
    seen, longer = _measure(tokenizer, "su"), _measure(tokenizer, "suau")
    if seen is not None and longer is not None:
        return _add(_add(turns, longer), seen)
    talk = _mark("suau")
    text = _render(tokenizer, talk)
    if text is None:
        return turns  # refused
    system, *others = [content for _, content in talk]
    if system not in text:
        return replace(turns, drops_system=True)
    asked, answered, last = others
    gaps = _split(text, [asked, answered, system, last])
    wide = _render(tokenizer, [(role, f"{_LEFT}{content}{_RIGHT}") for role, content in talk])
    if gaps is None or wide is None:
        raise UnfitError("puts a system turn where neither a turn of its own nor the first or last question is")
    usual = turns.steps["assistant", "user"]
    between = gaps[3]
    for left, right in itertools.product((False, True), repeat=2):
        folded = replace(turns, folded=Step(between, left, right))
        talk = [(role, f"{_LEFT}{content}{_RIGHT}") for role, content in talk]
        if gaps[2] == usual.text and folded.render(talk) == _render(tokenizer, talk):
            return folded
    raise UnfitError("folds a system turn into the last question in a way of its own")


def _check_clock(tokenizer: Any) -> None:
    """Templates may ask for the date; what they would write tomorrow cannot be told to Ollama today."""
    for roles in ("u", "su"):
        talk = _mark(roles)
        if _render(tokenizer, talk, strftime_now="no clock") != _render(tokenizer, talk):  # a text cannot be called
            raise UnfitError("writes the date of the day")


def _prove_one(tokenizer: Any, turns: Turns) -> Turns:
    """The turns, or where these fail the same with stripping that goes through; whichever holds."""
    try:
        _prove(tokenizer, turns)
    except UnfitError:
        if all(step.strip_left or not step.strip_right for step in turns.steps.values()):
            raise
        steps = {
            pair: replace(step, through=step.strip_right and not step.strip_left) for pair, step in turns.steps.items()
        }
        turns = replace(turns, steps=steps)
        _prove(tokenizer, turns)
    return turns


def _prove(tokenizer: Any, turns: Turns) -> None:
    """Holds the steps against conversations that they were not read from."""
    takes_system = turns.drops_system or turns.folded is not None or ("", "system") in turns.steps
    for questions in range(1, MOST_QUESTIONS + 1):
        for opening in (("system",), ()) if takes_system else ((),):
            roles = [*opening, *(("user", "assistant") * questions)[:-1]]
            for shift in range(len(_CONTENTS)):
                talk = [(role, _CONTENTS[(3 * index + shift) % len(_CONTENTS)]) for index, role in enumerate(roles)]
                expected = _render(tokenizer, talk)
                if expected is None:
                    raise UnfitError(f"refuses a conversation of {len(talk)} turns that others of its kind are like")
                if turns.render(talk) != expected:
                    raise UnfitError(f"writes {len(talk)} turns in a way that follows from no two of them")


def _find_caveats(tokenizer: Any, turns: Turns) -> tuple[str, ...]:
    thought = "<think>\nHm.\n</think>\n\nYes."
    talk = [("user", "Is it?"), ("assistant", thought), ("user", "Why?")]
    if turns.render(talk) == _render(tokenizer, talk):
        return ()
    return ("earlier answers that hold <think> … </think> are passed on whole; the chat template leaves thoughts out",)
