"""The Modelfile: what Ollama must be told to speak to the GGUF as the model was trained.

Ollama does not run a chat template of Jinja: it recognises some by their text and otherwise passes the bare prompt
on, which looks as if the model had become stupid. So the template is written out in Go. It is not translated but
measured: short conversations with marked contents are rendered through the tokenizer, and what stands before and
after each role's content is read off. That fits every template that writes turn after turn (ChatML, Llama 3 and their
kin). The result is held against longer conversations; a template that does more (tools, dates, a trimmed history)
does not reproduce them, and then no TEMPLATE line is written but a comment that says so: servers that read the
template in the GGUF need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_CONTEXT = 8192  # tokens that are set aside by default; a longer context is the operator's choice

_ROLES = ("system", "user", "assistant")
_PROBES: tuple[tuple[str, ...], ...] = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user", "assistant", "user"),
)


@dataclass(frozen=True, slots=True)
class Turns:
    """A chat template that writes turn after turn: what stands before and after each role's content."""

    opening: str
    heads: dict[str, str]
    tails: dict[str, str]
    reply: str

    def render(self, roles_and_contents: Sequence[tuple[str, str]]) -> str:
        """Renders a conversation up to where the assistant's answer begins."""
        body = "".join(f"{self.heads[role]}{content}{self.tails[role]}" for role, content in roles_and_contents)
        return f"{self.opening}{body}{self.reply}"

    def to_go(self) -> str:
        """The same as a template of Go, over Ollama's `.Messages`."""
        branches = "".join(
            f'{{{{ {"if" if not index else "else if"} eq .Role "{role}" }}}}'
            f"{self.heads[role]}{{{{ .Content }}}}{self.tails[role]}"
            for index, role in enumerate(_ROLES)
        )
        return f"{self.opening}{{{{ range .Messages }}}}{branches}{{{{ end }}}}{{{{ end }}}}{self.reply}"


def write_modelfile(
    path: Path, *, model_file: str, tokenizer: Any, context_tokens: int, system: str | None = None
) -> Turns | None:
    """Writes the Modelfile and returns the turns that its TEMPLATE renders; None where it has no such line.

    Args:
        path: Where to.
        model_file: The GGUF's name, beside the Modelfile.
        tokenizer: Its chat template decides TEMPLATE and the stops.
        context_tokens: The longest context of the model.
        system: The system turn of conversations that bring none.
    """
    turns = measure_turns(tokenizer)
    lines = [f"FROM ./{model_file}"]
    if turns is None:
        lines.append(
            "# No TEMPLATE: the chat template in the GGUF does more than write turns, which Go cannot be told here."
        )
    else:
        lines.append(f'TEMPLATE """{turns.to_go()}"""')
    if system and '"""' not in system:
        lines.append(f'SYSTEM """{system}"""')
    lines += [f'PARAMETER stop "{stop}"' for stop in find_stops(tokenizer, turns)]
    lines.append(f"PARAMETER num_ctx {min(context_tokens, MAX_CONTEXT)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return turns


def measure_turns(tokenizer: Any) -> Turns | None:
    """Reads off what the chat template writes around each role's content; None where it does more than that."""
    from jinja2 import TemplateError

    marks = ("Uqxz1", "Aqxz2", "Vqxz3", "Sqxz4")
    user, answer, second, system = marks
    try:
        one = _render(tokenizer, [("user", user)], reply=False)
        three = _render(tokenizer, [("user", user), ("assistant", answer), ("user", second)], reply=False)
        asked = _render(tokenizer, [("user", user)], reply=True)
        answered = _render(tokenizer, [("user", user), ("assistant", answer)], reply=False)
        headed = _render(tokenizer, [("system", system), ("user", user)], reply=False)
        before, tail = one.split(user)
        gap_answer, rest = three.split(user)[1].split(answer)
        gap_second = rest.split(second)[0]
        before_system, gap_system = headed.split(user)[0].split(system)
        tail_answer = answered.split(answer)[1]
        head = gap_second.removeprefix(tail_answer)
        opening = before.removesuffix(head)
        turns = Turns(
            opening=opening,
            heads={
                "system": before_system.removeprefix(opening),
                "user": head,
                "assistant": gap_answer.removeprefix(tail),
            },
            tails={"system": gap_system.removesuffix(head), "user": tail, "assistant": tail_answer},
            reply=asked.removeprefix(one),
        )
        same = all(_reproduces(tokenizer, turns, roles) for roles in _PROBES)
    except (ValueError, IndexError, TemplateError):  # a mark is missing or doubled, or the template refuses a turn
        return None
    literal = turns.to_go().replace("{{ .Content }}", "")
    return turns if same and '"""' not in literal and "{{" not in turns.render([("user", "")]) else None


def find_stops(tokenizer: Any, turns: Turns | None) -> list[str]:
    """Texts that end an answer: the end token, and the special token that closes a turn."""
    stops = [tokenizer.eos_token] if tokenizer.eos_token else []
    if turns is not None:
        closing = turns.tails["assistant"].strip()
        if closing and closing in tokenizer.get_added_vocab():
            stops.append(closing)
    return sorted(set(stops))


def _reproduces(tokenizer: Any, turns: Turns, roles: Sequence[str]) -> bool:
    talk = [(role, f"{role} says\n{index} things.") for index, role in enumerate(roles)]
    return _render(tokenizer, talk, reply=True) == turns.render(talk)


def _render(tokenizer: Any, talk: Sequence[tuple[str, str]], *, reply: bool) -> str:
    messages = [{"role": role, "content": content} for role, content in talk]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply))
