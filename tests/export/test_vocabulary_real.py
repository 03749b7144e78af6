"""The real Llama 3, Qwen 2, GPT-2 and Llama 2 vocabularies: published vectors pass on a file of ours.

Extended: runs where `LLAMA_CPP_SOURCE` names the folder `vendor/llama.cpp` of llama-cpp-python's unpacked source
archive (`pip download --no-binary :all: --no-deps llama-cpp-python`); see `real_vocabularies` for what transformers
reads of it. `python -m benchmarks.tokens` compares 10,000 strings of each.
"""

from __future__ import annotations

import pytest

from flytewheel.export.vocabulary import find_match, find_specials
from flytewheel.export.vocabulary.probe import opened, written
from tests.export.real_vocabularies import NAMES, VARIABLE, locate, read_tokenizer, read_vectors
from tests.export.tokenizer_families import draw_strings

pytestmark = pytest.mark.skipif(
    locate() is None,
    reason=f"{VARIABLE} is unset: pip download --no-binary :all: --no-deps llama-cpp-python, unpack, "
    "give vendor/llama.cpp",
)


@pytest.mark.parametrize("name", NAMES)
def test_published_vectors_pass_on_our_file(name: str) -> None:
    folder = locate()
    assert folder is not None
    tokenizer = read_tokenizer(folder, name)
    specials = find_specials(tokenizer)
    found = find_match(tokenizer, len(tokenizer), specials)
    assert found.layout.pre == NAMES[name]
    vectors = read_vectors(folder, name)
    assert len(vectors) > 40
    with written(found.layout, specials) as path, opened(path) as vocabulary:
        assert vocabulary is not None
        for text, ids in vectors:
            assert vocabulary.tokenize(text) == ids, text
        for text in draw_strings(1000, seed=3):
            assert vocabulary.tokenize(text) == tokenizer(text, add_special_tokens=False)["input_ids"], text
