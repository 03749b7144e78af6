"""Renders the part of Go's text/template that `go_template` writes, where Go is not at hand.

Held against vectors that Go itself made (go_golden.json). Anything beyond that part raises: no construct passes unread.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_ACTION = re.compile(r'\{\{ ((?:"(?:[^"\\]|\\.)*"|[^"}]|\}(?!\}))*?) \}\}', re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|:=|=|,|[^\s()",=:]+')


class GoError(Exception):
    """The template stops with an error, as Go's would."""


@dataclass
class Block:
    """A list of nodes: texts, actions, and branches."""

    nodes: list[Any] = field(default_factory=list)


@dataclass
class Branch:
    """`if` with its conditions, or `range`."""

    word: str
    arms: list[tuple[str, Block]]


class GoTemplate:
    """A parsed template."""

    def __init__(self, text: str) -> None:
        self._defined: dict[str, Block] = {}
        parts = _split(text)
        self._root, ended = self._parse(parts)
        if ended:
            raise GoError(f"unexpected {ended}")

    def render(self, messages: list[dict[str, str]]) -> str:
        """Renders turns of system, user and assistant, joined as Ollama joins them."""
        joined: list[dict[str, str]] = []
        for message in messages:
            if joined and joined[-1]["Role"] == message["role"]:
                joined[-1]["Content"] += "\n\n" + message["content"]
            else:
                joined.append({"Role": message["role"], "Content": message["content"]})
        data = {"Messages": joined, "System": "\n\n".join(m["Content"] for m in joined if m["Role"] == "system")}
        out: list[str] = []
        self._run(self._root, data, {"$": data}, out)
        return "".join(out)

    def _parse(self, parts: Iterator[tuple[str, str]]) -> tuple[Block, str]:
        block = Block()
        for kind, text in parts:
            if kind == "text":
                block.nodes.append(text)
                continue
            word, _, rest = text.partition(" ")
            if word == "define":
                self._defined[ast.literal_eval(rest)], _ = self._parse(parts)
            elif word in {"if", "range"}:
                arms, condition = [], rest
                while True:
                    body, ended = self._parse(parts)
                    arms.append((condition, body))
                    if ended == "end":
                        break
                    condition = ended.removeprefix("else").strip().removeprefix("if").strip()
                block.nodes.append(Branch(word, arms))
            elif word in {"else", "end"}:
                return block, text
            else:
                block.nodes.append(("action", text))
        return block, ""

    def _run(self, block: Block, dot: Any, names: dict[str, Any], out: list[str]) -> None:
        for node in block.nodes:
            if isinstance(node, str):
                out.append(node)
            elif isinstance(node, Branch) and node.word == "if":
                for condition, body in node.arms:
                    if not condition or _value(condition, dot, names):
                        self._run(body, dot, _Scope(names), out)
                        break
            elif isinstance(node, Branch):
                self._range(node, dot, names, out)
            else:
                self._act(node[1], dot, names, out)

    def _range(self, node: Branch, dot: Any, names: dict[str, Any], out: list[str]) -> None:
        (head, body), *others = node.arms
        if others:
            raise GoError("range with else is not read here")
        declared, found, over = head.partition(":=")
        variables = [name.strip() for name in declared.split(",")] if found else []
        for index, item in enumerate(_value(over if found else head, dot, names)):
            scope = _Scope(names)
            scope.declare(dict(zip(variables, (index, item), strict=False)))
            self._run(body, item, scope, out)

    def _act(self, text: str, dot: Any, names: dict[str, Any], out: list[str]) -> None:
        if text.startswith("template "):
            name, rest = re.match(r'template ("(?:[^"\\]|\\.)*") (.+)', text, re.DOTALL).groups()  # type: ignore[union-attr]
            if ast.literal_eval(name) not in self._defined:
                raise GoError(f"template {name} not defined")
            argument = _value(rest, dot, names)
            self._run(self._defined[ast.literal_eval(name)], argument, _Scope({"$": argument}), out)
            return
        assigned = re.match(r"(\$\w+) (:?=) (.+)", text, re.DOTALL)
        if assigned is None:
            out.append(str(_value(text, dot, names)))
        elif assigned[2] == ":=":
            names[assigned[1]] = _value(assigned[3], dot, names)
        else:
            assign = names.assign if isinstance(names, _Scope) else names.__setitem__
            assign(assigned[1], _value(assigned[3], dot, names))


class _Scope(dict[str, Any]):
    """Variables of one block; an assignment goes to where the variable was declared."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__()
        self._outer = outer

    def declare(self, names: dict[str, Any]) -> None:
        self.update(names)

    def __missing__(self, name: str) -> Any:
        return self._outer[name]

    def assign(self, name: str, value: Any) -> None:
        if name in self or not isinstance(self._outer, _Scope):
            (self if name in self else self._outer)[name] = value
        else:
            self._outer.assign(name, value)


def _split(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while (start := text.find("{{", at)) >= 0:
        if start > at:
            yield "text", text[at:start]
        action = _ACTION.match(text, start)
        if action is None:
            raise GoError(f"cannot read {text[start : start + 60]!r}")
        yield "action", action[1]
        at = action.end()
    if at < len(text):
        yield "text", text[at:]


def _value(text: str, dot: Any, names: dict[str, Any]) -> Any:
    tokens = _TOKEN.findall(text)
    value, rest = _call(tokens, dot, names)
    if rest:
        raise GoError(f"cannot read {text!r}")
    return value


def _call(tokens: list[str], dot: Any, names: dict[str, Any]) -> tuple[Any, list[str]]:
    head, *rest = tokens
    if head not in _FUNCTIONS:
        return _operand(tokens, dot, names)
    arguments = []
    while rest and rest[0] != ")":
        argument, rest = _operand(rest, dot, names)
        arguments.append(argument)
    return _FUNCTIONS[head](*arguments), rest


def _operand(tokens: list[str], dot: Any, names: dict[str, Any]) -> tuple[Any, list[str]]:
    head, *rest = tokens
    if head == "(":
        value, rest = _call(rest, dot, names)
        if not rest or rest[0] != ")":
            raise GoError("a bracket is not closed")
        return value, rest[1:]
    if head.startswith('"'):
        return ast.literal_eval(head), rest
    if re.fullmatch(r"\d+", head):
        return int(head), rest
    if head in {"true", "false"}:
        return head == "true", rest
    found = re.fullmatch(r"(\$\w*)?((?:\.\w+)*)|\.", head)
    if found is None:
        raise GoError(f"{head!r} is not read here")
    value = dot if head == "." or not found[1] else names[found[1]]
    for key in [] if head == "." else found[2].split(".")[1:]:
        value = value[key]
    return value, rest


def _slice(value: Any, start: int, end: int | None = None) -> Any:
    """Go slices a text by bytes; a part of a character stays one by surrogates, which only equality looks at."""
    if not isinstance(value, str):
        return value[start:end]
    data = value.encode("utf-8", "surrogateescape")
    if start > len(data) or (end is not None and end > len(data)):
        raise GoError("index out of range")
    return data[start:end].decode("utf-8", "surrogateescape")


def _length(value: Any) -> int:
    return len(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else len(value)


def _printf(form: str, value: str, *others: str) -> str:
    if form == "%s%s":
        return value + others[0]
    if form != "%.1s":
        raise GoError(f"printf {form!r} is not read here")
    return value[:1]


_FUNCTIONS: dict[str, Any] = {
    "eq": lambda first, *others: first in others,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "len": _length,
    "lt": lambda one, other: one < other,
    "slice": _slice,
    "printf": _printf,
}
