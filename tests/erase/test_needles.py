"""What is the person's in files of any form, and what is not."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flytewheel.erase.contents import finds, mend
from flytewheel.erase.needles import ERASED, GONE, Needles
from flytewheel.erase.person import Person

WORDS = 'Grüß Gott: the zebra crosses\nat noon "sharp" today'
OTHER = ["How do I restart the payment service now?", "ok", "system words that everybody has"]
PERSON = Person(
    "maria.q@example.org", frozenset({"maria.q@example.org", "user-0123456789abcdef"}), frozenset({"i-4711"}),
    frozenset({"e-4711"}),
)  # fmt: skip


def make_needles(person: Person = PERSON, texts: tuple[str, ...] = (WORDS, OTHER[0], "ok")) -> Needles:
    return Needles(person, texts, [OTHER])


def pack(form: str) -> bytes:
    raw = WORDS.encode()
    match form:
        case "gzip":
            return gzip.compress(raw)
        case "zip":
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("a.txt", raw)
            return out.getvalue()
        case "gzip in zip":
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as archive:
                archive.writestr("a.gz", gzip.compress(raw))
            return out.getvalue()
        case "zstd":
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, "zstd") as stream:
                stream.write(raw)
            return bytes(sink.getvalue())
        case "parquet":
            sink = pa.BufferOutputStream()
            pq.write_table(pa.table({"deep": [[{"content": WORDS}]]}), sink, compression="zstd")
            return bytes(sink.getvalue())
        case "json":
            return json.dumps({"a": [WORDS]}).encode()
        case "json in json":
            return json.dumps({"line": json.dumps({"a": WORDS})}).encode()
        case "utf-16":
            return WORDS.encode("utf-16")
        case "base64":
            return b"data:" + base64.b64encode(b"xx" + raw)
        case "url":
            return b"/q?text=" + quote(WORDS).encode()
    return raw


FORMS = ("raw", "gzip", "zip", "gzip in zip", "zstd", "parquet", "json", "json in json", "utf-16", "base64", "url")


@pytest.mark.parametrize("form", FORMS)
def test_words_are_found_in_every_form(form: str) -> None:
    assert finds(make_needles(), pack(form))
    assert not finds(make_needles(texts=("quite another text of hers here",)), pack(form))


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("Grüß Gott: the zebra crosses", True),
        ("the zebra crosses\nat", True),
        ("zebra crosses at", False),  # three words are anybody's
        ("the zebra crosses at noon", True),  # its white space made one
        ("what others do: noon sharp zebra", False),
    ],
)
def test_four_words_in_a_row_are_enough(part: str, found: bool) -> None:
    assert make_needles().finds(f"… {part} …") is found


def test_what_others_said_too_is_not_searched_for() -> None:
    needles = make_needles()
    assert not any(piece in text for text in OTHER for piece in needles.pieces)
    assert not needles.finds(" ".join(OTHER))


@pytest.mark.parametrize(
    ("text", "found"),
    [("by maria.q@example.org.", True), ("<maria.q@example.org>", True), ("xmaria.q@example.org", False),
     ("maria.q@example.org2", False), ("i-4711", True), ("i-47110", False)],
)  # fmt: skip
def test_a_name_counts_where_it_stands_alone(text: str, found: bool) -> None:
    assert make_needles().finds(text) is found


def test_a_short_name_counts_in_its_fields_alone() -> None:
    seven = Person("7", frozenset({"7"}), frozenset({"12"}), frozenset())
    needles = make_needles(seven, ())
    value = {
        "rows": [{"user": "7", "x": 1}, {"user": "8", "x": 7}, {"interactions": ["12", "13"]}],
        "count": "7", "user_id": "9", "notes": ["7", "12 of 7"],
    }  # fmt: skip
    assert needles.scrub(value) == {
        "rows": [{"user": "8", "x": 7}], "count": "7", "user_id": "9", "notes": ["7", "12 of 7"],
    }  # fmt: skip
    assert needles.scrub({"user_id": "7", "x": 1}) is GONE
    assert needles.finds('{"x": 1, "user_id": "7"}')
    assert not needles.finds('{"x": "7", "user_id": "77", "share": 0.7}')


def test_scrubbing_leaves_what_is_not_hers_the_very_same() -> None:
    value: dict[str, Any] = {"a": [1, {"b": OTHER[0]}], "c": None}
    assert make_needles().scrub(value) is value
    mended = make_needles().scrub({"quote": f"they said: {WORDS}", "maria.q@example.org": 3, "n": [1, WORDS, 2]})
    assert WORDS not in str(mended)
    assert mended["quote"].startswith("they said: ")
    assert ERASED in mended["quote"]
    assert "maria.q@example.org" not in mended


@pytest.mark.parametrize(
    ("name", "data", "left"),
    [
        ("a.jsonl", b'{"user": "maria.q@example.org"}\n{"user": "bob"}\n', b'{"user": "bob"}\n'),
        ("a.log", b"one\nof maria.q@example.org\nthree\n", b"one\nthree\n"),
        ("a.json", b'{"x": {"user_id": "maria.q@example.org"}, "y": 1}', b'{"y": 1}'),
        ("a.json", b"broken maria.q@example.org", None),
        ("a.bin.zip", b"PK broken maria.q@example.org", None),
        ("quarantine/a.jsonl", b'{"line": "of maria.q@example.org"}\n{"line": "{"}\n', b'{"line": "{"}\n'),
    ],
)  # fmt: skip
def test_files_are_mended_or_go(name: str, data: bytes, left: bytes | None) -> None:
    assert mend(make_needles(), data, name) == left


def test_a_file_without_her_is_the_very_same() -> None:
    data = b'{"user": "bob"}'
    assert mend(make_needles(), data, "a.json") is data
