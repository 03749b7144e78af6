"""The Modelfile's text against a reader written after Ollama's (parser/parser.go), and our own reader against both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.errors import ExportError
from flytewheel.modelfile import Modelfile, can_tell, read_modelfile


def read_as_ollama(text: str) -> list[tuple[str, str]]:
    """Commands and values as Ollama's state machine reads them: quotes span lines, what does not print is dropped."""
    commands: list[tuple[str, str]] = []
    state, name, buffer = "none", "", ""

    def unquote(value: str) -> str | None:
        if value[:3] == '"""':
            return value[3:-3] if len(value) >= 6 and value.endswith('"""') else None
        if value[:1] == '"':
            return value[1:-1] if len(value) >= 2 and value.endswith('"') else None
        return value

    for letter in text:
        if state == "none":
            if letter == "#":
                state = "comment"
            elif letter not in " \t\r\n":
                state, buffer = "name", letter
        elif state == "comment":
            state = "none" if letter in "\r\n" else "comment"
        elif state in {"name", "parameter"}:
            if letter in " \t":
                if buffer == "PARAMETER":
                    state = "parameter"
                else:
                    name, state = buffer, "value"
                buffer = ""
            else:
                buffer += letter
        elif letter in " \t\r\n":
            value = unquote(buffer.strip())
            if value is None or letter in " \t":
                buffer += letter
            else:
                commands.append((name, value))
                state, buffer = "none", ""
        elif letter.isprintable():
            buffer += letter
    if state == "value":
        value = unquote(buffer.strip())
        assert value is not None
        commands.append((name, value))
    return commands


lines = st.text(st.sampled_from("ab{}<|>[]/é🙂'`\\ \n\t#\"" + "\xa0\u200b"), max_size=20)
texts = lines.filter(can_tell)
words = st.text(st.sampled_from("ab<|>_/"), min_size=1, max_size=8)
modelfiles = st.builds(
    Modelfile,
    model=words.map(lambda word: word.replace("/", "") + ".gguf"),
    template=st.none() | texts,
    system=st.none() | texts.filter(bool),
    parameters=st.fixed_dictionaries(
        {},
        optional={
            "stop": st.lists(texts, min_size=1, max_size=3).map(tuple),
            "num_ctx": st.integers(1, 10**6),
            "temperature": st.floats(0, 2),
        },
    ),
    adapters=st.lists(words.map(lambda word: word.replace("/", "x")), max_size=2).map(tuple),
    comments=st.lists(st.sampled_from(["a b", '# "quoted" {{ x }}', "it's"]), max_size=2).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(modelfile=modelfiles)
def test_what_is_written_is_read_back_by_ollama_and_by_us(modelfile: Modelfile) -> None:
    text = modelfile.to_text()
    assert read_modelfile(text) == modelfile
    expected = [("FROM", f"./{modelfile.model}"), *(("ADAPTER", f"./{one}") for one in modelfile.adapters)]
    expected += [("TEMPLATE", modelfile.template)] if modelfile.template is not None else []
    expected += [("SYSTEM", modelfile.system)] if modelfile.system else []
    for name, value in modelfile.parameters.items():
        expected += [(name, str(item)) for item in (value if isinstance(value, tuple) else (value,))]
    assert read_as_ollama(text) == expected


@pytest.mark.parametrize("text", ['three """ quotes', 'ends with "', "no\xa0break", "null\0", "a\rb"])
def test_what_ollama_would_read_otherwise_is_refused(text: str) -> None:
    assert not can_tell(text)
    with pytest.raises(ExportError, match="SYSTEM holds three quotes"):
        Modelfile("m.gguf", system=text).to_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a line 'FROM"),
        ("TEMPLATE x", "expected a line 'FROM"),
        ("FROM ./m.gguf\nMESSAGE user hi", "MESSAGE is not read here"),
        ("FROM ./m.gguf\nLICENSE mine", "LICENSE is not read here"),
        ("from ./m.gguf", "cannot read 'from ./m.gguf'"),
        ('FROM ./m.gguf\nTEMPLATE """open', "cannot read 'TEMPLATE"),
        ("FROM ./m.gguf\nPARAMETER num_ctx many", "PARAMETER num_ctx 'many' is no number"),
        ("FROM", "cannot read 'FROM'"),
    ],
)
def test_what_a_person_wrote_otherwise_is_refused_with_the_next_step(text: str, said: str) -> None:
    with pytest.raises(ExportError, match=said) as raised:
        read_modelfile(text)
    assert "\n" not in str(raised.value)
