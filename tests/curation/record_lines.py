"""Lines that are nearly records: plain ones in which a few values, as JSON tokens, are anything."""

from __future__ import annotations

from hypothesis import strategies as st
from pydantic import BaseModel

from flytewheel.records import FeedbackEvent, Interaction

TEXTS = (
    '"a"', '""', '"\\u00e9\\ud83d\\ude00"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\x01"', '"\t"', '"\x7f"',
    '"é日本😀"', '"\\x"', '"\\/\\b"', '"x', "null", "5", "true", "[]", '["a"]',
    f'"{"x" * 200}"', f'"{"é" * 200}"', f'"{"é" * 201}"',
)  # fmt: skip
NUMBERS = (
    "0", "1", "5", "5.0", "1e0", "0.5", "-0", "-0.0", "-1", "6", "0.99", "5.0000000000000001", "5.000000000000001",
    "1e-400", "1e400", "-1e400", "1E2", "01", "1.", ".5", "+1", "NaN", "Infinity", "-Infinity", "true", "false", "null",
    '"4"', '"x"', "9223372036854775807", "9223372036854775808", "18446744073709551616", "-9223372036854775809",
    "9" * 30, "9" * 400, "9" * 5000, "1" * 400 + ".5", "0.1" + "0" * 400, "123456789012345678901234567890e-5",
    "4.9e-324", "1.7976931348623159e308",
)  # fmt: skip
_TIMES = (
    "2026-11-09T08:00:00Z", "2026-11-09t08:00:00z", "2026-11-09 08:00:00Z", "2026-11-09_08:00:00Z",
    "2026-11-09T08:00:00", "2026-11-09T08:00Z", "2026-11-09", "2026-W46-1T08:00:00Z", "20261109T080000Z",
    "2026-11-09T08:00:00.1Z", "2026-11-09T08:00:00.123456Z", "2026-11-09T08:00:00.1234567Z",
    "2026-11-09T08:00:00.9999999Z", "2026-11-09T08:00:00,5Z", "2026-11-09T08:00:00.1234560Z", "2026-11-09T08:00:60Z",
    "2026-11-09T24:00:00Z", "2026-11-09T08:00:00+00:00", "2026-11-09T08:00:00-00:00", "2026-11-09T08:00:00+0530",
    "2026-11-09T08:00:00.123456+05:30", "2026-11-09T08:00:00+23:59", "2026-11-09T08:00:00.1234567+05:30",
    "2026-11-09T08:00:00-24:00", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+10:00",
    "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999-10:00", "2026-02-29T08:00:00Z",
    "2026-11-09T08:00:00 Z", " 2026-11-09T08:00:00Z", "1764000000", "yesterday", "",
)  # fmt: skip
TIMES = (*(f'"{text}"' for text in _TIMES), "1764000000", "1764000000.5", "null", "true", "1e400")
METADATA = (
    "{}",
    "[]",
    "null",
    '{"a":{"b":[1,2.5]}}',
    '{"a":[]}',
    '{"a":' + "[" * 250 + "]" * 250 + "}",
    '{"a":1,"a":"b"}',
)
TURN = '{"role":"user","content":"c"}'
KEYS: dict[type[BaseModel], dict[str, tuple[str, ...]]] = {
    Interaction: {
        "interaction_id": TEXTS, "user_id": TEXTS, "timestamp": TIMES, "query": TEXTS, "response": TEXTS,
        "session_id": TEXTS, "context": TEXTS, "topic": TEXTS, "model_version": TEXTS, "experiment_id": TEXTS,
        "arm": TEXTS, "completed": (*TEXTS, '"true"', "1", "0", "2", "false"), "latency_ms": NUMBERS,
        "propensity": NUMBERS, "model_digest": TEXTS, "metadata": METADATA,
        "history": (
            "[]", "null", "{}", f"[{TURN}]", f"[{TURN},{TURN}]", '[{"role":"tool"}]', '["user"]',
            '[{"role":"robot","content":"x"}]', '[{"role":"system","content":"","x":1}]',
            '[{"role":"assistant","content":"\\ud800"}]',
        ),
    },
    FeedbackEvent: {
        "event_id": TEXTS, "interaction_id": TEXTS, "user_id": TEXTS, "timestamp": TIMES, "rating": NUMBERS,
        "feedback_type": ('"thumbs_up"', '"rating"', '"THUMBS_UP"', '"x"', "null", "1"), "corrected_response": TEXTS,
        "correction_type": ('"style"', '"tone"', '"x"', "null", "1"), "other_response": TEXTS,
        "preferred": ('"this"', '"tie"', '"x"', "null", "true"), "comment": TEXTS, "metadata": METADATA,
    },
}  # fmt: skip
PLAIN = {
    Interaction: {"interaction_id": '"i"', "user_id": '"u"', "timestamp": TIMES[0], "query": '"q"', "response": '"r"'},
    FeedbackEvent: {
        "event_id": '"e"', "interaction_id": '"i"', "user_id": '"u"', "feedback_type": '"copied"',
        "timestamp": TIMES[0],
    },
}  # fmt: skip


def join_line(fields: list[tuple[str, str]], space: str = "") -> bytes:
    body = f",{space}".join(f'"{key}":{space}{value}' for key, value in fields)
    return f"{space}{{{body}}}{space}".encode("utf-8", "surrogatepass")


@st.composite
def draw_lines(draw: st.DrawFn, model: type[BaseModel]) -> bytes:
    """A plain line with up to four values that are anything, some keys twice, some unknown, in any order."""
    fields = [*PLAIN[model].items()]
    for key in draw(st.lists(st.sampled_from([*KEYS[model], "else"]), max_size=4)):
        value = draw(st.sampled_from(KEYS[model].get(key, NUMBERS)))
        if key == "metadata" and draw(st.booleans()):
            value = f'{{"n":{draw(st.sampled_from(NUMBERS + TEXTS))}}}'
        if draw(st.booleans()):
            fields = [field for field in fields if field[0] != key]
        fields.append((key, value))
    fields = draw(st.permutations(fields))
    line = join_line(fields, draw(st.sampled_from(("", " ", "\t", "\r"))))
    cut = draw(st.integers(0, 4 * len(line)))
    return line[:cut] if cut < len(line) else line
