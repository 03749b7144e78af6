"""Conversations that every export is asked about, whatever the held-out prompts hold: what people and programs really
send, and what tokenizers and templates get wrong.

Training tokenises the text that the chat template wrote, as it stands. So the text of a special token in what a user
types becomes that token, in training, evaluation and service alike; here it is only held that both sides agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Turns = tuple[tuple[str, str], ...]

_JSON = '{"tool": "search", "arguments": {"query": "disk full", "limit": 10, "since": null}, "ok": true}'
_CODE = """def f(x: int) -> str:
\t# Doc.
\treturn f"{x!r:>8}"  # 0x7fff


if __name__ == "__main__":
    print(f(1e-4))
"""
_SHELL = "kubectl get pods -n prod | awk '{print $1}' | xargs -I{} kubectl logs {} > /tmp/out_$(date +%s).log 2>&1"
_SPACES = "  two\t\ttabs \n\n\n three lines \r\n and    spaces   "

CASES: Mapping[str, Turns] = {
    "one turn": (("user", "What's up? It's 12345678 o'clock, we'll see; they've 3.14 and I'd go."),),
    "system turn": (("system", "Be brief.\nAnswer in two lines."), ("user", "Why is the queue full?")),
    "many turns": (
        ("system", "You help people on call."), ("user", "Hi!"), ("assistant", "Hello. What is broken?"),
        ("user", "The cache."), ("assistant", "1. Check it.\n2. Restart it."), ("user", "Thanks, done."),
    ),
    "empty turn": (("user", ""),),
    "white space": (("user", _SPACES), ("assistant", " ok \n"), ("user", "\n")),
    "latin and greek": (("user", "Ça coûte 12 € à Zürich; ÆØÅ ßẞ İı ﬁ ﬀ, ΑΒΓ ωάρ ς Σ, œuf, ŀ, ñ—…“”‘’"),),
    "cyrillic and hebrew": (("user", "Что с базой данных №5? שָׁלוֹם עוֹלָם 123 ﬡ"),),
    "arabic": (("user", "قاعدة البيانات ممتلئة ١٢٣٤ هل أعيد التشغيل؟ \u202bRTL\u202c \u200fx"),),
    "indic and thai": (("user", "हिन्दी क्षेत्र १२३ தமிழ் నమస్తే ภาษาไทย กำลัง ၁၂၃ ខ្មែរ"),),
    "east asian": (
        ("user", "数据库已满，删除旧日志。データベースが満杯です！"),
        ("assistant", "한국어 띄어쓰기 ①②③ ｆｕｌｌ　ｗｉｄｔｈ 㐂𠀋"), ("user", "好"),
    ),
    "emoji": (("user", "🙂🙃 👩\u200d👩\u200d👧\u200d👦 🇩🇪🇫🇷 👍🏽 ❤\ufe0f\u200d🔥 5\ufe0f\u20e3"),),
    "combining": (
        ("user", "e\u0301 é n\u0303 a\u0308\u0304 Z\u0351\u036b\u0343 \u0301lone"),
        ("assistant", "\u1100\u1161\u11a8 \u0915\u094d\u200d\u0937"), ("user", "\u0e33\u0e4d"),
    ),
    "invisible": (
        ("user", "zero\u200bwidth\u200djoin\ufeffbom\u00adsoft\u2060word\u00a0nbsp\u3000wide"),
        ("assistant", "line\u2028paragraph\u2029next\u0085end"), ("user", "\u200b"),
    ),
    "control": (
        ("user", "bell\x07 back\x08 esc\x1b[31mred\x1b[0m del\x7f unit\x1f vt\x0b ff\x0c \x01\x02"),
        ("assistant", "\ufffd \U0010ffff"), ("user", "\x1c"),
    ),
    "digits": (
        ("user", "0 00 1 12 123 1234 12345 123456 1,234,567.89 ½ ² ٣ 1e-05 0xFF 1_000 v1.2.3"),
        ("assistant", "2026-11-28T06:00:00Z"), ("user", "42"),
    ),
    "code": (("user", _CODE),),
    "tool text": (
        ("user", f"Call it.\n```json\n{_JSON}\n```"), ("assistant", _JSON), ("user", f"<result>{_SHELL}</result>"),
    ),
    "markup": (
        ("user", "<b>bold</b> &amp; {{ braces }} {% raw %} $x$ \\n"),
        ("assistant", "[INST] <<SYS>> </s> <s>"), ("user", "### Instruction: <|user|>"),
    ),
}  # fmt: skip


def list_cases(tokenizer: Any) -> dict[str, Turns]:
    """The battery for one tokenizer: the cases above, and one with the texts of its own special tokens in a turn."""
    specials = sorted({str(token) for token in tokenizer.get_added_vocab()}, key=lambda text: (len(text), text))
    spoken = " and ".join(specials[:24])
    return {**CASES, "special tokens": (("user", f"What does {spoken} mean?{''.join(specials[:6])}"),)}


def to_messages(turns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Turns as chat templates and servers take them."""
    return [{"role": role, "content": content} for role, content in turns]
