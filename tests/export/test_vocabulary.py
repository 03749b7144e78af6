from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.export.vocabulary import find_match, find_specials
from flytewheel.export.vocabulary.domain import Domain
from flytewheel.export.vocabulary.match import Match
from flytewheel.export.vocabulary.probe import opened, written
from tests.export.tokenizer_families import (
    KINDS,
    draw_strings,
)

STRINGS = 400


def find(tokenizer: Any, folder: Path | None = None) -> Match:
    return find_match(tokenizer, len(tokenizer) + 7, find_specials(tokenizer, folder), folder)


def first_difference(tokenizer: Any, found: Match, texts: list[str]) -> tuple[str, list[int], list[int]] | None:
    """Through a file of our writer, opened as it is: nothing overridden."""
    with written(found.layout, find_specials(tokenizer)) as path, opened(path) as vocabulary:
        assert vocabulary is not None
        for text in texts:
            expected, got = tokenizer(text, add_special_tokens=False)["input_ids"], vocabulary.tokenize(text)
            if expected != got:
                return text, expected, got
    return None


def select(found: Match, texts: list[str]) -> list[str]:
    """What the match says that it holds for."""
    domain = Domain()
    for limit in found.limits:
        if limit.startswith("text behind"):
            domain = domain.limit(limit, opening=limit.split()[2].strip(",'"))
        elif limit.startswith("text without a space at its start"):
            domain = domain.limit(limit, lambda text: not text.startswith(" "))
        elif limit == "text without combining marks":
            domain = domain.limit(limit, lambda text: not any("\u0900" <= sign <= "\u0dff" for sign in text))
    return domain.select(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_has_the_same_ids_in_llama_cpp(kind: str, tmp_path: Path) -> None:
    build, name = KINDS[kind]
    tokenizer = build(tmp_path)
    found = find(tokenizer)
    assert found.layout.pre == name
    assert not found.ends_missed
    texts = select(found, list(draw_strings(STRINGS, seed=11)))
    assert len(texts) > STRINGS * 0.7
    assert first_difference(tokenizer, found, texts) is None
