"""The texts on which two tokenizers are compared: what tells ways of splitting apart, and its own words.

A fixed part (scripts, marks, digits, white space, contractions, code), its pieces joined at random (seeded), every
added token among letters, spaces and its like, and words of the vocabulary: those that merges alone do not make, and a
sample of the rest. Texts are ordered by length, so that the first difference is a short one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

_WORDS = (
    "a", "Hello", "hello world", "The quick brown fox", "HELLO", "camelCase", "PascalCase", "XMLHttpRequest",
    "iPhone", "snake_case_name", "kebab-case", "McDonald", "ÀÉÎ", "éÉ", "Größe", "STRASSE", "aあb", "ε両Ж", "ʰaAª",
    "naïve café", "Ünïcödé", "ǅ", "ﬁne",
)  # fmt: skip
_CONTRACTIONS = tuple(
    text.format(mark)
    for mark in ("'", "\u2019")
    for text in (
        "it{0}s", "IT{0}S", "don{0}t", "DON{0}T", "we{0}re", "WE{0}RE", "I{0}ve", "i{0}Ve", "I{0}m", "you{0}ll",
        "he{0}d", "{0}s", "{0}selection", "x{0}return", "{0}made", "{0}value", "{0}data", "_{0}text",
        "{0}twas", "rock {0}n{0} roll", "O{0}Reilly", "dogs{0} tails", "{0}{0}s", " {0}re", "x{0}Dx",
    )
)  # fmt: skip
_SCRIPTS = (
    "Привет, мир", "МОСКВА москва", "Γειά σου Κόσμε", "你好,世界", "今日は。カタカナ", "안녕하세요 세계", "สวัสดีชาวโลก",
    "नमस्ते दुनिया", "हिन्दी में", "বাংলা", "தமிழ்", "مرحبا بالعالم", "שָׁלוֹם", "ქართული", "Հայերեն", "አማርኛ",
    "ខ្មែរ", "မြန်မာ", "Tiếng Việt", "İstanbul ıI", "ꙮ", "𝕳𝖊𝖑𝖑𝖔", "ℵ₀", "Ⅷ ⅷ", "½ ¼ ²³", "①②", "٣٤٥", "१२३", "𐍈𐌰",
)  # fmt: skip
_MARKS = (
    "e\u0301te\u0301",
    "n\u0303",
    "a\u0308\u0304",
    "q\u0323\u0307",
    "\u0301",
    " \u0308x",
    "Z\u0351\u036b\u0343alg",
)
_EMOJI = (
    "🙂", "🙂🙂", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "1️⃣", "ok👌ok", " 🚀 (normal) 😶‍🌫️", "☃", "✅ done", "→ ← ⇒",
    "∑∫√∞≈", "€£¥₿",
)  # fmt: skip
_DIGITS = (
    "0", "12", "123", "1234", "12345", "123456", "1234567890", "1 2 3", "3.14159", "1,234,567.89",
    "2024-05-06T07:08:09Z", "0x1F", "1e-10", "v1.2.3", "a1b22c333d4444", "100%", "$5.00", "7th", "１２３４",
    "192.168.0.1:8080",
)  # fmt: skip
_SPACES = (
    " ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", " \n", "\n ", " \n \n",
    "\t\n", "  a", "a  ", " a", "a ", "a  b", "a   b", "a\tb", "a\t b", "a \tb", "a\nb", "a\n\nb", "a\n b", "a \nb",
    "a\r\nb", "\u00a0", "a\u00a0b", "a\u00a0\u00a0b", "\u2003x", "\u3000x", "\u200bx", "\u2028", "a\u2029b", "\x0b",
    "\x0c", "x\x0by", "\ufeff", " \t \n\r x", " " * 15 + "x", "x" + " " * 33, "\n" * 9 + "y", "\u200d", "\u2060",
)  # fmt: skip
_SIGNS = (
    "!", "!!!", "...", "…", "?!", "a.b", "a. b", "(x)", " (x)", "[x]", "{x}", "<x>", "`x`", "\"x\"", "#", "##",
    "/*x*/", "//", "http://a.b/c?d=e&f", "a@b.cd", "--", "—", "=>", "==", "!=", "&&", "||", "\\n", "\\", "/", " /",
    "./\n", "!\n", "!\n\n", "?\r\n", ".\n\nA", "_x_", "*x*", "~", "^", "$x", "@x", ";;", "、。", "«x»", "„x“", "¿x?",
    "¡x!", "§1", "·", "•", "؟", "।", "'", "''", "' '", "´", "|x|", "+-", "\u00adx", "№", "a/b/c", "./x\n/y",
)  # fmt: skip
_CODE = (
    "def f(x):\n    return x**2\n", "for (int i=0; i<10; ++i) {\n\tprintf(\"%d\\n\", i);\n}",
    "if x is not None:\n\n        y = [1, 2]\n", "<div class=\"a\">\n  <p>text</p>\n</div>\n",
    "SELECT * FROM t WHERE id='1';", "{\"key\": [1.5e3, null, true]}", "$ rm -rf ./build && make -j4\n",
    "# Title\n\n- item 1\n- item 2\n\n```py\nx=1\n```\n", "\tself.x = self.y\n\n\n\tdef g", "\x00\x01\x7f",
    "std::vector<int>{}; // ok", "λx.x", "I/O", "C++ and C#", "key=value; path=/a/b", "@property\n",
)  # fmt: skip
_PIECES_RANDOM = 400
_WORDS_OF_VOCABULARY = 1000


def list_texts(seed: int = 0, random_texts: int = _PIECES_RANDOM) -> list[str]:
    """The fixed texts and random ones of their pieces, short ones first."""
    fixed = [*_WORDS, *_CONTRACTIONS, *_SCRIPTS, *_MARKS, *_EMOJI, *_DIGITS, *_SPACES, *_SIGNS, *_CODE]
    chance = random.Random(seed)
    mixed = ["".join(chance.choice(fixed) for _ in range(chance.randint(2, 6))) for _ in range(random_texts)]
    return sorted({*fixed, *mixed, ""}, key=lambda text: (len(text), text))


def list_texts_with_tokens(tokens: Sequence[str], most: int = 64) -> list[str]:
    """Texts with added tokens in them: among letters, spaces and line ends, and beside each other."""
    if len(tokens) > most:  # the ends of the list, where they differ, and a sample between them
        step = (len(tokens) - most // 2) // (most // 2) + 1
        tokens = [*tokens[: most // 4], *tokens[most // 4 : -most // 4 : step], *tokens[-most // 4 :]]
    texts = []
    for index, token in enumerate(tokens):
        following = tokens[(index + 1) % len(tokens)]
        texts += [token, f"a{token}b", f" {token} ", f"x {token} y", f"{token}\n", f"\n\n{token}\tz", token * 2]
        texts += [f"{token}{following}", f"{token} {following}", f"{token}user\nHi, it's 12345!{following}\n"]
        texts += [token.lower(), token.upper(), token[:-1], token[1:], f"{token[:-1]}{token}"]
    return sorted(set(texts), key=lambda text: (len(text), text))


def list_words(raw: dict[str, Any], tokenizer: Any) -> list[str]:
    """Words of the vocabulary: those that merges alone do not make (up to some thousands), then a sample of the rest.

    A word that only `ignore_merges` gives tells names apart whose patterns are the same.
    """
    from tokenizers import Tokenizer

    bare = Tokenizer.from_str(
        json.dumps(
            raw
            | {"normalizer": None, "pre_tokenizer": None, "post_processor": None, "added_tokens": []}
            | {"model": raw["model"] | {"ignore_merges": False}}
        )
    )
    vocab = raw["model"]["vocab"]
    added = {token["content"] for token in raw["added_tokens"]}
    tokens = [token for token in vocab if token not in added and len(token) > 1]
    made = bare.encode_batch_fast(tokens, add_special_tokens=False)
    whole = {token for token, encoded in zip(tokens, made, strict=True) if encoded.ids == [vocab[token]]}
    unmade = [token for token in tokens if token not in whole][: 3 * _WORDS_OF_VOCABULARY]
    sample = random.Random(0).sample(sorted(whole), min(len(whole), _WORDS_OF_VOCABULARY))
    decoder = tokenizer.backend_tokenizer.decoder
    return [
        text
        for tokens in (unmade, sample)
        for word in sorted({decoder.decode([token]) if decoder is not None else token for token in tokens})
        for text in (word, f" {word}")
        if "\ufffd" not in text
    ]
