'''The Modelfile as a record: written as text for `ollama create -f`, and read back for Ollama's HTTP API.

Ollama's own parser (parser/parser.go) decides the form: a value ends at the line's end unless it stands in `"…"` or
`"""…"""`; nothing inside is escaped, and characters that do not print are dropped. What cannot be told so is refused
when it is written, not changed. The reader takes what the writer writes, and no more: a Modelfile that a person edited
goes to `ollama create -f`.
'''

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from flytewheel.errors import ExportError

Value = int | float | str | tuple[str, ...]

_LINE = re.compile(
    r"\s*(?:#(?P<comment>[^\n]*)|(?P<command>[A-Z]+) (?:(?P<name>[a-z_]+) )?"
    r'(?:"""(?P<long>.*?)"""|"(?P<short>[^"]*)"|(?P<bare>[^"\s][^\n]*)))(?=\n|\Z)',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Modelfile:
    """What Ollama is told of a model.

    Attributes:
        model: The GGUF file, relative to the Modelfile.
        template: Go's text/template over `.Messages`; None: Ollama takes what the GGUF says.
        system: The system turn of conversations that bring none.
        parameters: By Ollama's names; `stop` is a tuple.
        adapters: LoRA adapters as GGUF, relative to the Modelfile.
        comments: Lines for a reader.
    """

    model: str
    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()

    def to_text(self) -> str:
        """The Modelfile's text.

        Raises:
            ExportError: a value cannot be written so that Ollama reads it.
        """
        lines = [f"FROM ./{self.model}"]
        lines += [f"# {' '.join(comment.split())}" for comment in self.comments]
        lines += [f"ADAPTER ./{adapter}" for adapter in self.adapters]
        if self.template is not None:
            lines.append(f"TEMPLATE {_quote(self.template, 'TEMPLATE')}")
        if self.system:
            lines.append(f"SYSTEM {_quote(self.system, 'SYSTEM')}")
        for name, value in self.parameters.items():
            if isinstance(value, tuple):
                lines += [f"PARAMETER {name} {_quote(item, f'PARAMETER {name}')}" for item in value]
            else:
                lines.append(f"PARAMETER {name} {value}")
        return "\n".join(lines) + "\n"


def can_tell(text: str) -> bool:
    """Whether Ollama's parser reads `text` back as it is."""
    plain = text.replace("\n", "").replace("\t", "")
    return '"""' not in text and not text.endswith('"') and plain.isprintable()


def read_modelfile(text: str) -> Modelfile:
    """Reads what `Modelfile.to_text` wrote.

    Raises:
        ExportError: it is none of ours.
    """
    model, template, system = "", None, None
    parameters: dict[str, Value] = {}
    adapters: list[str] = []
    comments: list[str] = []
    at = 0
    while text[at:].strip():
        found = _LINE.match(text, at)
        if found is None:
            line = text[at:].lstrip().split("\n", 1)[0]
            raise ExportError(f"Modelfile: cannot read {line[:80]!r}; create it with 'ollama create -f' instead")
        at = found.end()
        if found["comment"] is not None:
            comments.append(found["comment"].strip())
            continue
        quoted = found["long"] if found["long"] is not None else found["short"]
        value = found["bare"] if quoted is None else quoted
        match found["command"], found["name"]:
            case "FROM", None:
                model = value.removeprefix("./")
            case "ADAPTER", None:
                adapters.append(value.removeprefix("./"))
            case "TEMPLATE", None:
                template = value
            case "SYSTEM", None:
                system = value
            case "PARAMETER", str(name):
                _put(parameters, name, value, quoted is not None)
            case command, _:
                raise ExportError(f"Modelfile: {command} is not read here; create it with 'ollama create -f' instead")
    if not model:
        raise ExportError("Modelfile: expected a line 'FROM ./model.gguf', there is none; export again")
    return Modelfile(model, template, system, parameters, tuple(adapters), tuple(comments))


def _put(parameters: dict[str, Value], name: str, value: str, quoted: bool) -> None:
    if quoted or name == "stop":
        earlier = parameters.get(name, ())
        parameters[name] = (*earlier, value) if isinstance(earlier, tuple) else (value,)
        return
    try:
        parameters[name] = int(value)
    except ValueError:
        try:
            parameters[name] = float(value)
        except ValueError:
            raise ExportError(f"Modelfile: PARAMETER {name} {value!r} is no number; export again") from None


def _quote(text: str, what: str) -> str:
    if not can_tell(text):
        raise ExportError(
            f"{what} holds three quotes, a quote at its end or characters that do not print; a Modelfile cannot say it"
        )
    return f'"""{text}"""' if "\n" in text or '"' in text or what in {"TEMPLATE", "SYSTEM"} else f'"{text}"'
