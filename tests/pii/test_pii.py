"""Personal data: a small labelled corpus, hard negatives, properties. All invented; secrets are put together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.pii import passes_luhn, passes_mod97, redact, redact_conversation

KEY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
POSITIVE = [
    ("mail jane.doe+ops@mail.example.co.uk today", "EMAIL", "jane.doe+ops@mail.example.co.uk"),
    ("(bob_smith@example.org)", "EMAIL", "bob_smith@example.org"),
    ("Contact: <Ann@Example.COM>.", "EMAIL", "Ann@Example.COM"),
    ("My number is +44 20 7946 0123.", "PHONE", "+44 20 7946 0123"),
    ("tel. +49 30 23125 123", "PHONE", "+49 30 23125 123"),
    ("call +1 415 555 2671 now", "PHONE", "+1 415 555 2671"),
    ("(415) 555-2671 is the desk", "PHONE", "(415) 555-2671"),
    ("phone: 030 23125 123", "PHONE", "030 23125 123"),
    ("Card 4111 1111 1111 1111 was declined", "CARD", "4111 1111 1111 1111"),
    ("pay with 5555-5555-5555-4444", "CARD", "5555-5555-5555-4444"),
    ("378282246310005 is an Amex", "CARD", "378282246310005"),
    ("IBAN DE89 3704 0044 0532 0130 00 IS WRONG", "IBAN", "DE89 3704 0044 0532 0130 00"),
    ("GB82WEST12345698765432", "IBAN", "GB82WEST12345698765432"),
    ("SSN 536-22-1234", "SSN", "536-22-1234"),
    ("client 203.0.113.77 hammers us", "IP", "203.0.113.77"),
    ("from 10.1.2.3:8080", "IP", "10.1.2.3"),
    ("via 2001:db8:85a3::8a2e:370:7334 only", "IP", "2001:db8:85a3::8a2e:370:7334"),
    ("fe80::1ff:fe23:4567:890a", "IP", "fe80::1ff:fe23:4567:890a"),
    ("nic 00:1b:44:11:3a:b7 is down", "MAC", "00:1b:44:11:3a:b7"),
    ("nic 00-1B-44-11-3A-B7 is down", "MAC", "00-1B-44-11-3A-B7"),
    ("postgres://admin:hunter2x@db.example.com/app", "CREDENTIALS", "hunter2x"),
    ("key " + "AKIA" + "IOSFODNN7EXAMPLE", "API_KEY", "IOSFODNN7EXAMPLE"),
    ("aws_secret_access_key = " + KEY[:36] + "/abc", "SECRET", KEY[:36]),
    ("gh" + "p_" + KEY, "API_KEY", KEY),
    ("github" + "_pat_" + KEY, "API_KEY", KEY),
    ("xox" + "b-2345678901-" + KEY, "API_KEY", KEY),
    ("s" + "k-" + KEY, "API_KEY", KEY),
    ("Authorization: Bearer " + KEY, "API_KEY", KEY),
    ("password: Tr0ub4dor&3x", "SECRET", "Tr0ub4dor"),
    ("ey" + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0." + KEY, "JWT", KEY),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----", "PRIVATE_KEY", "MIIE"),
]
NEGATIVE = [
    "order 4111111111111112 shipped",  # fails Luhn
    "order number 20261109000123 and ticket INC-0012345",
    "version 1.2.3.4 of the chart, release v10.4.0.1",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 broke it",
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "trace 550e8400-e29b-41d4-a716-446655440000 is slow",
    "since 2026-11-09 10:20:30 UTC, again at 2026-11-10T08:00:00Z",
    "listens on 127.0.0.1:5432 and 0.0.0.0:80, mask 255.255.255.0",
    "ssh root@db-01 and git clone git@github.com:org/repo.git",
    "std::vector<int> a::b, and the time 10:20:30",
    "DE00 3704 0044 0532 0130 00",  # fails mod 97
    "password: required; set token = os.environ['TOKEN']",
    "Thus, Jamal's phone can hold 10800-2500=8300 pictures",
    "epoch 1763719200000000000 and pid 123-45-678",
    "The sum is 1,234,567.89 + 12 * 400 = 1239367",
    "000-12-3456 and 666-12-3456 are no numbers of anybody",
    "kubectl scale deploy/api --replicas=12 -n team-7",
    "the api key is missing, pass a bearer token please",
    "http://localhost:8080/path?x=1 and https://example.com:443/a@b",
]


def test_precision_and_recall_on_the_labelled_corpus() -> None:
    found = [label in (out := redact(text)) and secret not in out for text, label, secret in POSITIVE]
    false = [text for text in NEGATIVE if redact(text) != text]
    recall = sum(found) / len(POSITIVE)
    precision = sum(found) / (sum(found) + len(false))
    missed = [text for (text, _, _), hit in zip(POSITIVE, found, strict=True) if not hit]
    assert recall >= 0.95, missed
    assert precision >= 0.95, false


def test_placeholders_are_numbered_within_a_conversation() -> None:
    texts = ["ask a@example.com or b@example.com", "I asked B@example.com and A@example.com", "nothing"]
    clean, counts = redact_conversation(texts)
    assert clean == ["ask <EMAIL_1> or <EMAIL_2>", "I asked <EMAIL_2> and <EMAIL_1>", "nothing"]
    assert counts == {"EMAIL": 2}
    assert redact("old <EMAIL_1>, new c@example.com") == "old <EMAIL_1>, new <EMAIL_2>"


def test_what_surrounds_stays() -> None:
    text = "curl https://bob:s3cretpw@api.example.com/v1 -H 'X: 1' # since 2026-11-09"
    assert redact(text) == "curl https://<CREDENTIALS_1>@api.example.com/v1 -H 'X: 1' # since 2026-11-09"


def test_luhn_by_hand() -> None:
    """79927398713: from the right, 3 + (1·2) + 7 + (8·2→7) + 9 + (3·2) + 7 + (2·2) + 9 + (9·2→9) + 7 = 70."""
    assert passes_luhn("79927398713")
    assert not passes_luhn("79927398710")


def test_mod97_by_the_standards_example() -> None:
    assert passes_mod97("GB82WEST12345698765432")
    assert not passes_mod97("GB83WEST12345698765432")


_PIECES = st.one_of(
    st.sampled_from(
        [text for text, _, _ in POSITIVE] + NEGATIVE + ["<EMAIL_3>", "<CARD_1>", "tel ", "bearer ", "token="]
    ),
    st.text(alphabet="ab1 .:-@/+<>_(=", max_size=12),
    st.text(max_size=8),
)


@given(st.lists(_PIECES, max_size=6).map("".join))
@settings(max_examples=300, deadline=None)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(st.lists(_PIECES, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_conversation_holds_as_many_texts_as_before(texts: list[str]) -> None:
    assert len(redact_conversation(texts)[0]) == len(texts)


@pytest.mark.parametrize("text", ["", " ", "no data here"])
def test_text_without_data_is_the_same(text: str) -> None:
    assert redact(text) == text
