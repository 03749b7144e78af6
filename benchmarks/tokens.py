"""Token ids through llama.cpp against the tokenizer's, 10,000 strings (unicode, code, digits, white space) a family.

The tokenizers are trained here; each is written by our writer, opened in llama.cpp as it is, and asked string by
string. A string that lies outside what the match says it holds for is counted apart, and must be rare. Where
`LLAMA_CPP_SOURCE` is set (`tests.export.real_vocabularies`), the real vocabularies are taken, too.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import Goal, report
from flytewheel.export.vocabulary import find_match, find_specials
from flytewheel.export.vocabulary.domain import list_domains
from flytewheel.export.vocabulary.layout import read_raw
from flytewheel.export.vocabulary.match import Match
from flytewheel.export.vocabulary.probe import opened, written
from tests.export.real_vocabularies import NAMES, locate, read_tokenizer
from tests.export.tokenizer_families import KINDS, draw_strings


def measure(quick: bool) -> list[Goal]:
    """Differences of each family."""
    goals = []
    count = 1000 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        for kind, (build, _) in KINDS.items():
            goals += _compare(kind, build(Path(folder) / kind), count)
    real = locate()
    if real is not None:
        for name in NAMES:
            goals += _compare(f"real {name}", read_tokenizer(real, name), count)
    return goals


def _compare(name: str, tokenizer: Any, count: int) -> list[Goal]:
    begun = time.process_time()
    specials = find_specials(tokenizer)
    found = find_match(tokenizer, len(tokenizer), specials)
    matched_s = time.process_time() - begun
    inside = select(tokenizer, found, list(draw_strings(count, seed=2026)))
    with written(found.layout, specials) as path, opened(path) as vocabulary:
        assert vocabulary is not None
        expected = tokenizer(inside, add_special_tokens=False)["input_ids"]
        different = [text for text, ids in zip(inside, expected, strict=True) if vocabulary.tokenize(text) != list(ids)]
    for text in different[:3]:
        print(f"  {name}: {text!r}")
    print(
        f"{name}: {found.layout.model}/{found.layout.pre}, {len(inside)} strings, {len(different)} differ, found in "
        f"{matched_s:.1f} CPU-s{'; ' + '; '.join(found.limits) if found.limits else ''}"
    )
    return [
        Goal(f"{name}: strings with other ids", len(different), 0),
        Goal(f"{name}: share of strings inside the limits", len(inside) / count, 0.7, at_most=False),
    ]


def select(tokenizer: Any, found: Match, texts: list[str]) -> list[str]:
    """The texts that the match says it holds for."""
    domains = list_domains(read_raw(tokenizer), tokenizer)
    return next(domain for domain in domains if domain.limits == found.limits).select(texts)


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
