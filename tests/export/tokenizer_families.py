"""Tokenizers of every family's kind, trained here on this package's own source and on words of many scripts."""

from __future__ import annotations

import functools
import io
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

import flytewheel
from flytewheel.export.vocabulary.layout import LLAMA3_SPLIT, QWEN2_SPLIT, TEKKEN_SPLIT

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2_CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + ' ' + eos_token }}"
    "{% else %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% endif %}{% endfor %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' }}"
    "{{ m['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_SCRIPTS = (
    "Привет мир, как твои дела сегодня? МОСКВА и Санкт-Петербург",
    "你好世界 今日は世界 カタカナとひらがな 漢字を読む",
    "안녕하세요 세계 여러분 반갑습니다",
    "नमस्ते दुनिया आप कैसे हैं हिन्दी में लिखें",
    "مرحبا بالعالم كيف حالك اليوم",
    "Γειά σου Κόσμε, τι κάνεις; ΑΘΗΝΑ",
    "École à Besançon: l'été déjà passé, ÉCOLE, Ünïcödé größer STRAßE",
    "🙂 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ → ≈ € ☃",
    "I'm sure they're here; we've won, it's DONE, don't, you'll, he'd I'LL WE'RE",
)
_LETTERS = tuple(
    chr(code)
    for start, stop in (
        (0x21, 0x7F), (0xA1, 0x250), (0x370, 0x530), (0x5D0, 0x5EB), (0x620, 0x64B), (0x904, 0x940), (0xE01, 0xE31),
        (0x1E00, 0x1F00), (0x2010, 0x2050), (0x20A0, 0x20C0), (0x2190, 0x2400), (0x3041, 0x3100), (0x4E00, 0x4F00),
        (0xAC00, 0xAD00), (0xFF01, 0xFF5F), (0x1F300, 0x1F650), (0x1D400, 0x1D500), (0x10330, 0x1034B),
    )
    for code in range(start, stop)
    if unicodedata.category(chr(code)) not in ("Cn", "Cs")
)  # fmt: skip
_SPACES = (" ", " ", " ", "  ", "    ", "\n", "\n\n", "\t", "\r\n", " \n", "\u00a0", "\u3000", "   \n  ")


def draw_strings(count: int, seed: int, *, composed: bool = True) -> Iterator[str]:
    """Unicode, code, digits and white space in turns; in NFC unless `composed` is off."""
    chance = random.Random(seed)
    code = "\n".join(_read_sources())
    words = code.split()

    def draw_unicode() -> str:
        return "".join(
            chance.choice(_SPACES) if chance.random() < 0.2 else chance.choice(_LETTERS)
            for _ in range(chance.randint(1, 40))
        )

    def draw_code() -> str:
        start = chance.randrange(len(code) - 200)
        return code[start : start + chance.randint(1, 160)]

    def draw_digits() -> str:
        return "".join(chance.choice("0123456789" * 3 + ".,:-/ eExX%$+_'") for _ in range(chance.randint(1, 30)))

    def draw_spaces() -> str:
        return "".join(
            chance.choice(_SPACES) + (chance.choice(words) if chance.random() < 0.5 else "")
            for _ in range(chance.randint(1, 12))
        )

    def draw_prose() -> str:
        picked = [chance.choice((*words[:3000], *" ".join(_SCRIPTS).split())) for _ in range(chance.randint(1, 12))]
        text = chance.choice((" ", " ", "")).join(picked)
        return chance.choice((text, text.upper(), text.title(), f" {text}"))

    for index in range(count):
        text = (draw_unicode, draw_code, draw_digits, draw_spaces, draw_prose)[index % 5]()
        yield unicodedata.normalize("NFC", text) if composed else unicodedata.normalize("NFD", text)


@functools.cache
def _read_sources() -> tuple[str, ...]:
    paths = sorted(Path(flytewheel.__file__).parent.glob("*.py"))[:30]
    return tuple(path.read_text(encoding="utf-8") for path in paths)


def list_lines() -> list[str]:
    """What tokenizers are trained on."""
    return [line for source in _read_sources() for line in source.split("\n") if line.strip()] + [*_SCRIPTS] * 30


@functools.cache
def _train_bytes(split: str, size: int) -> str:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = split_bytes(split)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    raw.train_from_iterator(list_lines(), trainer)
    raw.decoder = decoders.ByteLevel()
    return str(raw.to_str())


def split_bytes(split: str) -> Any:
    """A byte-level pre-tokenizer with a split pattern; `gpt-2` and `digits` are the built-in ones."""
    if split == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split == "digits":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), split_bytes("gpt-2")])
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def build_byte_level(
    split: str, *, ignore_merges: bool = False, nfc: bool = False, size: int = 2000, begin: str | None = None
) -> Any:
    """Byte-level BPE with ChatML's tokens; `ignore_merges` also adds a word that no merge makes."""
    raw = Tokenizer.from_str(_train_bytes(split, size))
    if ignore_merges:
        vocab = raw.get_vocab(with_added_tokens=False)
        vocab["Ġquintessential"] = len(vocab)
        merges = [tuple(merge) for merge in json.loads(raw.to_str())["model"]["merges"]]
        raw.model = models.BPE(vocab=vocab, merges=merges, ignore_merges=True)
    if nfc:
        raw.normalizer = normalizers.NFC()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=raw, clean_up_tokenization_spaces=False)
    specials = [token for token in (begin, "<|endoftext|>", "<|im_start|>", "<|im_end|>") if token]
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    if begin:
        tokenizer.bos_token = begin
    tokenizer.chat_template = ("{{ bos_token }}" if begin else "") + CHATML
    return tokenizer


def train_pieces(folder: Path, symbols: tuple[str, ...] = (), size: int = 2000) -> Path:
    """A SentencePiece BPE with byte fallback as Llama 2's, in `folder/tokenizer.model`."""

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(_train_pieces(symbols, size))
    return folder


@functools.cache
def _train_pieces(symbols: tuple[str, ...], size: int) -> bytes:
    import sentencepiece

    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list_lines()), model_writer=stream, vocab_size=size, model_type="bpe",
        byte_fallback=True, character_coverage=0.999, normalization_rule_name="identity", split_digits=True,
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, user_defined_symbols=list(symbols),
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    return stream.getvalue()


def build_llama2(folder: Path, **options: Any) -> Any:
    """Llama 2's and Mistral's kind, as transformers makes it of `tokenizer.model` today."""
    tokenizer = LlamaTokenizer.from_pretrained(train_pieces(folder), **options)
    tokenizer.chat_template = LLAMA2_CHAT
    return tokenizer


def build_llama2_prepending(folder: Path) -> Any:
    """The same as Llama 2's own tokenizer.json has it: the space is put in front while text is normalised."""
    tokenizer = build_llama2(folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.backend_tokenizer.pre_tokenizer = None
    return tokenizer


def build_mistral(folder: Path) -> Any:
    """Mistral's v3: control tokens for turns and tools."""
    tokenizer = build_llama2(folder)
    marks = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return tokenizer


def build_gemma(folder: Path) -> Any:
    """Gemma's: no space in front, runs of spaces and line ends as tokens of their own."""
    tokenizer: Any = GemmaTokenizer.from_pretrained(
        train_pieces(folder, symbols=("<start_of_turn>", "<end_of_turn>", "\n\n", "\n\n\n", "<table>")),
        bos_token="<s>", eos_token="</s>", pad_token="<unk>",
    )  # fmt: skip
    marks = ("<start_of_turn>", "<end_of_turn>")
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in ("\n\n", "\n\n\n", "<table>")])
    tokenizer.chat_template = GEMMA_CHAT
    return tokenizer


def build_merged_pieces(folder: Path) -> Any:
    """Pieces with byte fallback that `tokenizers` itself trained: pairs that make a token are not always a merge."""
    raw = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    raw.normalizer = normalizers.Replace(" ", "▁")
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{code:02X}>" for code in range(256))]
    raw.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    raw.train_from_iterator(
        list_lines(), trainers.BpeTrainer(vocab_size=2000, special_tokens=specials, show_progress=False)
    )
    state = json.loads(raw.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    state["pre_tokenizer"] = None
    raw = Tokenizer.from_str(json.dumps(state))
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=False
    )
    return tokenizer


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "llama-3": (lambda _: build_byte_level(LLAMA3_SPLIT, ignore_merges=True, begin="<|begin_of_text|>"), "llama-bpe"),
    "llama-3-merging": (lambda _: build_byte_level(LLAMA3_SPLIT), "dbrx"),
    "qwen-2": (lambda _: build_byte_level(QWEN2_SPLIT, nfc=True), "qwen2"),
    "gpt-2": (lambda _: build_byte_level("gpt-2"), "gpt-2"),
    "smollm": (lambda _: build_byte_level("digits"), "smollm"),
    "tekken": (lambda _: build_byte_level(TEKKEN_SPLIT, ignore_merges=True), "tekken"),
    "llama-2": (build_llama2, "default"),
    "llama-2-prepending": (build_llama2_prepending, "default"),
    "llama-2-always": (lambda folder: build_llama2(folder, legacy=True), "default"),
    "mistral": (build_mistral, "default"),
    "gemma": (build_gemma, "default"),
    "merged-pieces": (build_merged_pieces, "default"),
}  # fmt: skip
