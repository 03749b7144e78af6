from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from flytewheel import training
from flytewheel.training.checkpoints import CODE_VERSION
from flytewheel.training.code import SURROUNDING, digest_source, name_code, read_code

SOURCE = '"""A module."""\n\ndef add(a, b):\n    """Adds."""\n    return a + b  # plainly\n'


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ('"""Another text."""\n\n\ndef add(a, b):\n    return (a + b)\n', True),
        (SOURCE.replace("Adds.", "Adds two numbers."), True),
        (SOURCE.replace("a + b", "a - b"), False),
        (SOURCE.replace("(a, b)", "(a, b=1)"), False),
        (SOURCE.replace("return", "print('x'); return"), False),
    ],
)
def test_what_a_module_does_counts_and_not_how_it_is_described(source: str, same: bool) -> None:
    assert (digest_source(source) == digest_source(SOURCE)) is same


def test_the_code_is_named_by_source_and_libraries() -> None:
    code = read_code()
    assert {name: code[name] for name in code if name != "source"} == {
        name: version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers")
    }
    assert name_code() == CODE_VERSION


def test_what_is_left_out_exists_and_what_trains_is_not_left_out() -> None:
    modules = {path.stem for path in Path(training.__file__).parent.glob("*.py")}
    assert modules >= SURROUNDING
    assert not SURROUNDING & {"sft", "align", "fit", "arguments", "rows", "preference", "order", "redaction"}
