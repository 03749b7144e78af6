"""Which code trains: named by what it says and by the libraries under it, never by a number that somebody must raise.

A checkpoint of other code is not gone on from (`checkpoints`), and Flyte's cache does not hand out its results. What
counts of our own source is its syntax tree without docstrings: comments, docstrings and layout may change. Modules that
only surround a training are left out by name; a new module counts until it is named here, which is the safe side.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flytewheel.records import digest

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers")
SURROUNDING = frozenset(
    {"__init__", "checkpoints", "code", "leftovers", "lock", "report", "seal", "uploads", "watcher", "workplace"}
)
_BESIDE = ("models", "profiles")  # modules of the package that decide how a base is loaded
_DIGITS = 12
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def read_code() -> dict[str, str]:
    """The code of this process: `source`, the digest of ours, and the version of each library (`none`: not installed).

    Imports none of them; about 0.1 s, once a process.
    """
    here = Path(__file__).parent
    files = [path for path in sorted(here.glob("*.py")) if path.stem not in SURROUNDING]
    files += [here.parent / f"{name}.py" for name in _BESIDE]
    source = {path.name: digest_source(path.read_text(encoding="utf-8")) for path in files}
    return {"source": digest(source)[:_DIGITS], **{name: _find_version(name) for name in LIBRARIES}}


def name_code() -> str:
    """The code of this process in twelve digits, for Flyte's cache."""
    return digest(read_code())[:_DIGITS]


def digest_source(source: str) -> str:
    """Digest of what a module does: of its syntax tree, without docstrings, comments and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return digest(ast.dump(tree))


def _find_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
