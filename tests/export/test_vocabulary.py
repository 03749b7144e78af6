from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from flytewheel.errors import ExportError
from flytewheel.export.vocabulary import find_match, find_specials, layout, match
from flytewheel.export.vocabulary.domain import list_domains
from flytewheel.export.vocabulary.layout import LLAMA3_SPLIT, QWEN2_SPLIT, TEKKEN_SPLIT, read_raw
from flytewheel.export.vocabulary.match import Match
from flytewheel.export.vocabulary.probe import opened, written
from tests.export.tokenizer_families import (
    CHATML,
    KINDS,
    build_byte_level,
    build_gemma,
    build_llama2,
    build_merged_pieces,
    draw_strings,
    split_bytes,
)

STRINGS = 200


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


def select(tokenizer: Any, found: Match, texts: list[str]) -> list[str]:
    """What the match says that it holds for."""
    domains = list_domains(read_raw(tokenizer), tokenizer)
    return next(domain for domain in domains if domain.limits == found.limits).select(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_has_the_same_ids_in_llama_cpp(kind: str, tmp_path: Path) -> None:
    build, name = KINDS[kind]
    tokenizer = build(tmp_path)
    found = find(tokenizer)
    assert found.layout.pre == name
    assert not found.ends_missed
    texts = select(tokenizer, found, list(draw_strings(STRINGS, seed=11)))
    assert len(texts) > STRINGS * 0.7
    assert first_difference(tokenizer, found, texts) is None


def with_normalizer(*steps: Any) -> Any:
    tokenizer = build_byte_level("gpt-2")
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(list(steps))
    return tokenizer


def with_split(pattern: str, behavior: str = "isolated") -> Any:
    tokenizer = build_byte_level(LLAMA3_SPLIT)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior=behavior),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def with_added(**flags: bool) -> Any:
    tokenizer = build_byte_level("gpt-2")
    tokenizer.add_tokens([AddedToken("<mark>", **flags)])
    return tokenizer


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: with_split(r"\p{L}{1,4}|[^\p{L}]+"), None),
        (lambda: with_split(r"\s", "removed"), r"'\\t'|'\\n'|' '"),
        (lambda: with_normalizer(normalizers.Lowercase()), "'[A-Z].*'|'ǅ'"),
        (lambda: with_normalizer(normalizers.NFKC()), None),
        (lambda: with_normalizer(normalizers.NFD()), None),
        (lambda: with_normalizer(normalizers.Strip()), r"' '|'\\t'|'\\n'"),
        (lambda: with_normalizer(normalizers.NFC(), normalizers.StripAccents()), None),
        (lambda: with_normalizer(normalizers.Replace(Regex(" {2,}"), " ")), "'  '"),
        (lambda: with_added(lstrip=True, special=True), r"'.*<mark>.*'"),
        (lambda: with_added(rstrip=True, special=True), r"'.*<mark>.*'"),
        (lambda: with_added(single_word=True), r"'.*<mark>.*'"),
    ],
    ids=[
        "unknown-split", "spaces-removed", "lower-case", "nfkc", "nfd", "strip", "strip-accents", "spaces-joined",
        "left-stripping-token", "right-stripping-token", "single-word-token",
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_do_is_refused_with_the_first_difference(build: Any, text: str | None) -> None:
    text = f"({text or '.*'})"
    pattern = rf"the closest, '.+' \(gpt2\), fails on \d+ .* texts.*; {text} is \[.*\] for the tokenizer but \["
    with pytest.raises(ExportError, match=pattern) as raised:
        find(build())
    assert "\n" not in str(raised.value)


def test_permuted_merges_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another tokenizer's merges written in place of its own: the same words, in another order."""
    rows = layout.list_layouts

    def permute(*arguments: Any) -> Any:
        for group, candidates in rows(*arguments):
            merges = (*group.merges[400:], *group.merges[:400]) if group.merges else None
            scores = tuple(sorted(group.scores)) if group.scores else None
            yield (
                replace(group, merges=merges, scores=scores),
                [replace(one, merges=merges, scores=scores) for one in candidates],
            )

    for tokenizer in (build_byte_level(LLAMA3_SPLIT), build_merged_pieces(Path())):
        find(tokenizer)
        with monkeypatch.context() as patch:
            patch.setattr(match, "list_layouts", permute)
            with pytest.raises(ExportError, match="no way of llama"):
                find(tokenizer)


@pytest.mark.parametrize("wrong", ["gpt-2", "smollm", "deepseek-llm", "falcon", "default"])
def test_a_wrong_name_is_never_taken_even_where_it_is_the_guess(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "guess_name", lambda _: wrong)
    tokenizer = build_byte_level(LLAMA3_SPLIT, ignore_merges=True)
    found = find(tokenizer)
    assert found.layout.pre == "llama-bpe"
    forced = replace(found, layout=replace(found.layout, pre=wrong))
    assert first_difference(tokenizer, forced, ["it'S 1234567\n\n  x", *draw_strings(50, seed=2)]) is not None


def test_a_word_that_only_ignoring_merges_gives_decides_between_two_names_of_one_pattern() -> None:
    ignoring, merging = (build_byte_level(LLAMA3_SPLIT, ignore_merges=ignore) for ignore in (True, False))
    assert [find(one).layout.pre for one in (ignoring, merging)] == ["llama-bpe", "dbrx"]
    found = find(build_byte_level(QWEN2_SPLIT, ignore_merges=True))
    assert found.layout.pre != "qwen2"  # which applies merges only


def test_tokens_of_pieces_that_no_merge_makes_keep_their_merges() -> None:
    """llama.cpp's SentencePiece joins any pair that makes a token; here `ab` + `c` make one, and are no merge."""
    tokenizer = build_merged_pieces(Path())
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    size = len(raw["model"]["vocab"])
    for token in ("qz", "qzz", "zqz", "zqzz", "\n\n"):
        raw["model"]["vocab"].setdefault(token, len(raw["model"]["vocab"]))
    raw["model"]["merges"] += [["q", "z"], ["z", "qz"]]
    assert len(raw["model"]["vocab"]) > size
    changed: Any = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(raw)), eos_token="</s>")
    found = find(changed)
    assert (found.layout.model, found.layout.pre) == ("gpt2", "sarvam-moe")
    texts = ["qzz", "zqzz and\n\nzqz", *draw_strings(200, seed=4)]
    assert first_difference(changed, found, texts) is None


def test_scores_come_from_the_file_beside_where_there_is_one(tmp_path: Path) -> None:
    import sentencepiece

    tokenizer = build_llama2(tmp_path)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    beside, derived = find(tokenizer, tmp_path).layout.scores, find(tokenizer).layout.scores
    assert beside is not None
    assert beside[:2000] == tuple(pieces.get_score(index) for index in range(2000))
    assert beside != derived
    (tmp_path / "tokenizer.model").write_bytes(b"a tiktoken file may have this name, too")
    assert find(tokenizer, tmp_path).layout.scores == derived


def test_kinds_of_tokens(tmp_path: Path) -> None:
    found = find(build_gemma(tmp_path)).layout
    kinds = dict(zip(found.tokens, found.types, strict=True))
    assert [kinds[token] for token in ("<unk>", "<s>", "<0x41>", "▁the", "<table>", "\n\n", "<end_of_turn>")] == [
        layout.UNKNOWN, layout.CONTROL, layout.BYTE, layout.NORMAL, layout.USER_DEFINED, layout.USER_DEFINED,
        layout.CONTROL,
    ]  # fmt: skip
    assert kinds[f"[PAD{len(found.tokens) - 1}]"] == layout.UNUSED
    assert found.space_prefix is False


def test_other_models_are_refused_in_one_line() -> None:
    for model in (models.Unigram([("a", 0.0)]), models.WordLevel({"a": 0}, unk_token="a"), models.BPE({"a": 0}, [])):
        with pytest.raises(ExportError, match="only BPE with one of the two can be exported") as raised:
            read_raw(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model)))
        assert "\n" not in str(raised.value)


def test_more_tokens_than_rows_and_tokens_that_look_like_fillers(tmp_path: Path) -> None:
    tokenizer = build_byte_level("gpt-2")
    with pytest.raises(ExportError, match=r"has a token \d+, but the model only 2000 embeddings"):
        find_match(tokenizer, 2000, find_specials(tokenizer))
    tokenizer.add_tokens([f"[PAD{len(tokenizer) + 3}]"])  # what a row without a token would be called
    assert len(set(find(tokenizer).layout.tokens)) == len(tokenizer) + 7
    small = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))  # knows three signs: others are dropped
    small.pre_tokenizer, small.decoder = split_bytes("gpt-2"), decoders.ByteLevel()
    assert find(PreTrainedTokenizerFast(tokenizer_object=small, eos_token="b", chat_template=CHATML)).layout.pre
    assert TEKKEN_SPLIT.count("{M}") == 4
