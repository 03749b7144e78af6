"""Counting tokens: every judgement equals the one that encoding gives, whatever kind of tokenizer."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from flytewheel.recipe import BaseModelSpec
from flytewheel.tokens import TokenCounter

CORPUS = [
    "Look at the disk graph of blob-7, then drain the node and check that every write succeeds again.",
    "Run `diskctl heal mail-12`.\nEscalate: #disk-oncall (24/7), or page 'sre'!",
    "for i in range(10):\n    print(i, end='')\n\n",
    "Überprüfe die Größe des Caches – dann naïve Prüfung: 3.141, 1,000,000 €.",
    "磁盘已满，请先检查日志　然后重启服务。ディスクを確認してください。",
    "디스크를 확인하십시오. ¿Cuánto espacio queda? Нужно проверить диск.",
] * 4
PIECES = (
    "disk", "graph", "the", "node", "a", "I", "12", "345678", "GET", "naïve", "Größe", "é", "e\u0301", "磁盘", "已满",
    "ディスク", "확인", "🙂", "👩\u200d💻", "--", "...", "(x)", "`a`", "don't", "we'll", "x" * 30, "<|im_end|>",
    "<|im_", "<s>", "</s>", "[UNK]", "▁", "Ġ", "<0x0A>", "ﬁ", "Å", "\u200b", "\x00", "xyzzy", "ßß", "_",
)  # fmt: skip
GAPS = (
    " ", " ", " ", " ", " ", "  ", "\n", "\n\n", "\t", " \n", "\n ", "   ", "", "\r\n", "\xa0", "\u3000", "\x1c",
    "\x85",
)  # fmt: skip
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = pre_tokenizers.ByteLevel.alphabet()
SPECIAL = ["<|im_end|>", "<s>", "</s>"]


def train_bpe(
    splitter: pre_tokenizers.PreTokenizer | None,
    normalizer: normalizers.Normalizer | None = None,
    *,
    size: int = 600,
    alphabet: list[str] | None = None,
    added: list[str] = SPECIAL,
    **model: object,
) -> Tokenizer:
    made = Tokenizer(models.BPE(**model))
    if splitter is not None:
        made.pre_tokenizer = splitter
    if normalizer is not None:
        made.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=added,
        initial_alphabet=BYTES if alphabet is None else alphabet,
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    return made


def bytewise(*, prefix: bool = False, regex: bool = True) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def split_gpt4() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(GPT4), "isolated"), bytewise(regex=False)])


def build_llama2(*, marked: bool = True, whole: bool = True) -> Tokenizer:
    """SentencePiece's BPE as it is converted: no pre-tokenizer, bytes for what is unknown, a mark for a space."""
    words = [
        "disk",
        "graph",
        "the",
        "node",
        "check",
        "that",
        "look",
        "at",
        "is",
        "on",
        "drain",
        "12",
        "24",
        "Run",
        "an",
        "in",
        "er",
        "es",
    ]
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocab |= {f"<0x{code:02X}>": 3 + code for code in range(256 if whole else 200)}
    merges: list[tuple[str, str]] = []

    def add(token: str) -> None:
        vocab.setdefault(token, len(vocab))

    for sign in [*(["▁"] if marked else []), *"abcdefghijklmnopqrstuvwxyzRNI0123456789.,é"]:
        add(sign)
    for word in words if marked else []:
        left = "▁"
        for sign in word:
            merges.append((left, sign))
            left += sign
            add(left)
    if marked:
        merges += [("▁", "▁"), ("▁▁", "▁▁")]
        add("▁▁"), add("▁▁▁▁")
    made = Tokenizer(
        models.BPE(vocab, list(dict.fromkeys(merges)), byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.add_special_tokens(["<s>", "</s>"])
    return made


def build_unigram(*, fallback: bool = False) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    if not fallback:
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=220, special_tokens=["<unk>", *SPECIAL], unk_token="<unk>",
                                        show_progress=False)
    )  # fmt: skip
    return made


def build_wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    return made


def build_superwords() -> Tokenizer:
    """Merges go across words: nothing splits the text before."""
    return train_bpe(bytewise(regex=False), size=900)


def with_added(made: Tokenizer, *tokens: AddedToken) -> Tokenizer:
    made.add_tokens(list(tokens))
    return made


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": lambda: train_bpe(bytewise()),
    "gpt2, prefix": lambda: train_bpe(bytewise(prefix=True)),
    "gpt4": lambda: train_bpe(split_gpt4()),
    "llama3, merges ignored": lambda: train_bpe(split_gpt4(), ignore_merges=True),
    "qwen, NFC": lambda: train_bpe(split_gpt4(), normalizers.NFC()),
    "falcon": lambda: train_bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), bytewise(), pre_tokenizers.Digits(True)])
    ),
    "NFKC": lambda: train_bpe(bytewise(), normalizers.NFKC()),
    "lower case": lambda: train_bpe(bytewise(), normalizers.Lowercase()),
    "strips": lambda: train_bpe(bytewise(), normalizers.Strip()),
    "deletes": lambda: train_bpe(bytewise(), normalizers.Replace("disk", "")),
    "grows": lambda: train_bpe(bytewise(), normalizers.Replace("a", " x y z ")),
    "long prefix": lambda: train_bpe(bytewise(), normalizers.Prepend("a b c d e f ")),
    "few signs": lambda: train_bpe(bytewise(), alphabet=[], size=300),
    "splits and prefixes": lambda: train_bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Punctuation("isolated"), bytewise(prefix=True)]), size=257
    ),
    "superwords": build_superwords,
    "superwords, merges ignored": lambda: train_bpe(bytewise(regex=False), size=900, ignore_merges=True),
    "suffix": lambda: train_bpe(bytewise(regex=False), end_of_word_suffix="</w>", size=400),
    "fixed lengths": lambda: train_bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"[\s\S]{1,7}"), "isolated"), bytewise(regex=False)])
    ),
    "words, split by length": lambda: split_otherwise(train_bpe(bytewise()), r"[\s\S]{1,7}"),
    "words, split by long length": lambda: split_otherwise(train_bpe(bytewise()), r"[\s\S]{1,90}"),
    "pairs of words": lambda: train_bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\S+ \S+|\s+|\S+"), "isolated"), bytewise(regex=False)]),
        size=300,
        ignore_merges=True,
    ),
    "spans ideographic space": lambda: with_added(train_bpe(bytewise()), AddedToken("磁盘\u3000已满")),
    "spans words": lambda: with_added(train_bpe(bytewise()), AddedToken("the node")),
    "strips left": lambda: with_added(train_bpe(bytewise()), AddedToken("graph", lstrip=True, rstrip=True)),
    "single word": lambda: with_added(train_bpe(bytewise()), AddedToken("a", single_word=True)),
    "short added, prefix": lambda: with_added(train_bpe(bytewise(prefix=True), size=262), AddedToken("x")),
    "runs of spaces": lambda: with_added(train_bpe(split_gpt4()), AddedToken("  "), AddedToken("    ")),
    "llama2": build_llama2,
    "llama2 without a mark": lambda: build_llama2(marked=False),
    "llama2 without some bytes": lambda: build_llama2(whole=False),
    "unigram": build_unigram,
    "unigram, plain": lambda: build_unigram(fallback=True),
    "wordpiece": build_wordpiece,
}


def split_otherwise(made: Tokenizer, pattern: str) -> Tokenizer:
    """What was learnt between words, applied to pieces that are none."""
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), bytewise(regex=False)]
    )
    return made


@cache
def make(kind: str) -> Tokenizer:
    return KINDS[kind]()


def write_text(chance: random.Random) -> str:
    ascii_only = chance.random() < 0.5
    pieces = [piece for piece in PIECES if piece.isascii()] if ascii_only else PIECES
    gaps = [gap for gap in GAPS if gap.isascii()] if ascii_only else GAPS
    plain = chance.random() < 0.4
    text = "".join(
        chance.choice(pieces) + (" " if plain else chance.choice(gaps)) for _ in range(chance.randrange(0, 24))
    )
    return chance.choice(("", "", " ", "\n")) + (text.strip() if chance.random() < 0.5 else text)


TEXTS = [write_text(random.Random(seed)) for seed in range(500)]
TEXTS += ["", " ", "\n", "the node", "xx xx " * 9, "((((((((((((", "a b", "a  b", " ".join("a" * 40)]
TEXTS += ["磁盘\u3000已满", "\u3000".join(["磁盘", "已满"] * 8), "xaxaxaxaxaxa", "...,,,;;;", "\x1c".join("abcdef")]
TEXTS += ["a \ufdfa", "\ufdfa " * 9, "¼½ ¾"]  # NFKC makes 33 bytes of three
TEXTS += ["the node the node the node", "disk " * 20, "aaaa " * 9, " ".join(CORPUS)]


def save(made: Tokenizer, folder: Path) -> BaseModelSpec:
    made.save(str(folder / "tokenizer.json"))
    return BaseModelSpec(model=str(folder))


def check(counter: TokenCounter, truth: Tokenizer, texts: list[str]) -> None:
    counts = [len(truth.encode(text, add_special_tokens=False).ids) for text in texts]
    for low, high in ((1, 3), (2, 6), (4, 12), (10, 20), (10, 1000), (30, 60), (1, 1000)):
        told = counter.judge_lengths(texts, low, high)
        true = [-1 if count < low else int(count > high) for count in counts]
        wrong = [
            (text, count, got) for text, count, got, due in zip(texts, counts, told, true, strict=True) if got != due
        ]
        assert not wrong, f"{low}–{high}: {len(wrong)} wrong, {wrong[:3]!r}"
    assert [counter(text) for text in texts[:50]] == counts[:50]


@pytest.mark.parametrize("kind", KINDS)
def test_judges_as_encoding_does(kind: str, tmp_path: Path) -> None:
    made = make(kind)
    check(TokenCounter(save(made, tmp_path)), made, TEXTS)


def test_the_bundled_tokenizer_is_judged_without_encoding_most_texts() -> None:
    counter = TokenCounter(BaseModelSpec(model="pocket"))
    truth = counter._load()
    check(counter, truth, TEXTS)
    assert (counter._bytes_bound, counter._words_bound, counter._adds_up) == (True, True, True)


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        ("gpt2", (True, True, True)),
        ("gpt4", (True, True, True)),
        ("llama3, merges ignored", (True, True, True)),
        ("falcon", (True, True, True)),
        ("llama2", (True, True, False)),
        ("wordpiece", (False, True, False)),
        ("superwords", (True, False, False)),
        ("few signs", (False, True, False)),
    ],
)
def test_which_bounds_are_granted(kind: str, bounds: tuple[bool, bool, bool], tmp_path: Path) -> None:
    """The short ways are there for today's tokenizers, and for none that would make them wrong."""
    counter = TokenCounter(save(make(kind), tmp_path))
    counter._load()
    assert (counter._bytes_bound, counter._words_bound, counter._adds_up) == bounds


def test_goes_to_other_processes_and_truncates_nothing(tmp_path: Path) -> None:
    made = Tokenizer.from_str(make("gpt2").to_str())
    made.enable_truncation(4)
    made.enable_padding(length=64)
    made.decoder = decoders.ByteLevel()
    counter = pickle.loads(pickle.dumps(TokenCounter(save(made, tmp_path))))
    check(counter, make("gpt2"), TEXTS[:100])


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flytewheel.tokens._REMEMBERED", 5)
    check(TokenCounter(save(make("gpt2"), tmp_path)), make("gpt2"), TEXTS[:200])
