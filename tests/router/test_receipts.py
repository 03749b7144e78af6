from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from router.receipts import LIFETIME_S, LONGEST_RECEIPT, Receipt, ReceiptBook, ReceiptError

NOW_S = 1_764_320_000.0
GIVEN = Receipt("i-1", "ada", "oncall", "v1.202647.1", "treatment", 0.25, "e-1", int(NOW_S * 1000))
BOOK = ReceiptBook(b"key")

texts = st.text(max_size=40)


@given(
    st.builds(
        Receipt,
        interaction_id=texts,
        user=texts,
        source=texts,
        version=texts,
        arm=texts,
        propensity=st.none() | st.floats(0, 1),
        experiment_id=st.none() | texts,
        given_ms=st.integers(0, 2**42),
    )
)
def test_a_receipt_reads_back_as_it_was_signed(receipt: Receipt) -> None:
    text = BOOK.sign(receipt)
    assert BOOK.read(receipt.interaction_id, text, receipt.given_ms / 1000) == receipt


def test_it_opens_one_answer_for_thirty_days() -> None:
    text = BOOK.sign(GIVEN)
    assert BOOK.read("i-1", text, NOW_S + LIFETIME_S - 1).user == "ada"
    for name, at, reason in (
        ("i-2", NOW_S, "not that of interaction 'i-2'"),
        ("i-1", NOW_S + LIFETIME_S, "has expired"),
    ):
        with pytest.raises(ReceiptError, match=reason):
            BOOK.read(name, text, at)
    with pytest.raises(ReceiptError, match="not that of"):
        ReceiptBook(b"other").read("i-1", text, NOW_S)


def test_every_changed_bit_is_seen() -> None:
    signed = BOOK.sign(GIVEN)
    raw = base64.urlsafe_b64decode(signed + "=" * (-len(signed) % 4))
    for place in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(ReceiptError):
            BOOK.read("i-1", base64.urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode(), NOW_S)


@pytest.mark.parametrize("text", ["", "a", "é" * 40, "====", "A" * (LONGEST_RECEIPT + 1), "AAAA" * 20, "a\0b", "+++"])
def test_what_is_no_receipt_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ReceiptError) as refused:
        BOOK.read("i-1", text, NOW_S)
    assert "\n" not in str(refused.value)


def test_a_receipt_has_one_text() -> None:
    for tail in ("=", "==", "\n", " "):
        with pytest.raises(ReceiptError):
            BOOK.read("i-1", BOOK.sign(GIVEN) + tail, NOW_S)
    lengths = set()
    for user in ("a", "ab", "abc"):  # the last character's bits that no byte needs
        text = BOOK.sign(replace(GIVEN, user=user))
        lengths.add(len(text) % 4)
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
            other = text[:-1] + last
            if other != text and base64.urlsafe_b64decode(other + "=" * (-len(other) % 4)) == raw:
                with pytest.raises(ReceiptError, match="as it was sent"):
                    BOOK.read("i-1", other, NOW_S)
    assert lengths == {0, 2, 3}


def test_nobody_reads_the_user_in_it() -> None:
    text = BOOK.sign(replace(GIVEN, user="ada@example.org"))
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert b"oncall" in raw
    assert b"ada" not in raw
    # the same user's next receipt cannot be told from a stranger's
    other = base64.urlsafe_b64decode(BOOK.sign(replace(GIVEN, interaction_id="i-2")) + "==")
    assert raw[-40:-16] != other[-40:-16]


def test_the_longest_names_fit() -> None:
    longest = Receipt("i" * 200, "😀" * 200, "n" * 100, "v" * 100, "treatment", 1 / 3, "e" * 64, 2**42)
    assert len(BOOK.sign(longest)) <= LONGEST_RECEIPT
