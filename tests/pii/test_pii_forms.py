"""Forms by hand: how numbers are written in other scripts, markups and countries; check sums by published examples."""

from __future__ import annotations

import pytest

from flytewheel.pii import redact, redact_conversation
from flytewheel.pii.validators import (
    is_card,
    is_iban,
    passes_base58check,
    passes_bech32,
    passes_eip55,
    passes_verhoeff,
)

FOUND = [
    ("user=jane%40example.com&x=1", "user=<EMAIL_1>&x=1"),
    ('"contact": "ann\\u0040example.com"', '"contact": "<EMAIL_1>"'),
    ("jane [at] example [dot] com", "<EMAIL_1>"),
    ("\\njane.doe@example.com\\n", "\\n<EMAIL_1>\\n"),
    ("0151/23456789 ist meine Handynummer", "<PHONE_1> ist meine Handynummer"),
    ("tel: ٠١٢٣٤٥٦٧٨٩", "tel: <PHONE_1>"),
    ("card 4111 1111\n1111 1111 please", "card <CARD_1> please"),
    ("card ４１１１１１１１１１１１１１１１", "card <CARD_1>"),
    ("4111–1111–1111–1111", "<CARD_1>"),
    ("4111\u00a01111\u00a01111\u00a01111", "<CARD_1>"),
    ("iban de89370400440532013000", "iban <IBAN_1>"),
    ("IBAN: DE89-3704-0044-0532-0130-00", "IBAN: <IBAN_1>"),
    ("meine Steuer-ID ist 86095742719", "meine Steuer-ID ist <NATIONAL_ID_1>"),
    ("NHS number 943 476 5919", "NHS number <NATIONAL_ID_1>"),
    ("hsl: 131052-308T", "hsl: <NATIONAL_ID_1>"),
    ("HWaddr DC-BA-CF-AC-AE-FF", "HWaddr <MAC_1>"),
    ("PAN ABCPE1234F", "PAN <NATIONAL_ID_1>"),
    ("CPF 529.982.247-25", "CPF <NATIONAL_ID_1>"),
    ("Server=db;Password=P@ssw0rd!;", "Server=db;Password=<SECRET_1>;"),
    ("redis://:p4ssw0rd@redis:6379/0", "redis://<CREDENTIALS_1>@redis:6379/0"),
    ("curl -u admin:S3cret! http://x", "curl -u admin:<SECRET_1> http://x"),
    ("Authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l", "Authorization: Basic <API_KEY_1>"),
    ("range 203.0.113.5-203.0.113.9", "range <IP_1>-<IP_2>"),
    ("[2001:db8::1]:443", "[<IP_1>]:443"),
    ("0x52908400098527886E0F7030069857D2E4169EE7", "<CRYPTO_1>"),
    ("**Phone:** `+44 7911 123456`", "**Phone:** `<PHONE_1>`"),
    ("ask +1 (415) 555-2671 x12", "ask <PHONE_1>"),
]
STAYS = [
    "Boston, MA 02110-1301 USA",
    "4x + 272009375*y - 15882812500*z",
    "2.4898982848827802734 and 13.346107628161008",
    "token = Generic.Error; authkey=authkey, 'refresh_token': 'refreshToken'",
    "ObjectIdentifier('2.5.4.36')",
    "a fingerprint c5:6e:dc:50:7f:3f:34:b8:29:a1",
    "data = b'0123456789'",
    "arn:aws:ec2:eu-west-1:563459480734:instance/i-051a9e822139f5fb3",
    "epoch 1770880345, 1608119303286 or 1702413844663",
    "the wildcard mask 0.0.0.255 and the metadata service 169.254.169.254",
    "scp a.tar jane@db.example.com:/srv/a and ssh root@db.example.com",
    "docker run --user 1000:1000 -p 8080:80 web",
    "kind: Secret, type: kubernetes.io/tls, secretKeyRef: db-password",
    "https://${USER}:${PASSWORD}@host and https://user:password@host",
    "M3.51.98 c-2.12 3.51.98.32 2.03.5",
    "DE00 3704 0044 0532 0130 00",
    "0x52908400098527886e0F7030069857D2E4169EE7",
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_found_whole_and_nothing_else(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", STAYS)
def test_what_operators_need_stays(text: str) -> None:
    assert redact(text) == text


def test_one_number_for_every_spelling() -> None:
    texts = [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111 or +49 30 2312 5123",
        "tel +493023125123",
        "ann@x.de, Ann@X.de",
    ]
    assert redact_conversation(texts)[0] == [
        "<CARD_1>",
        "<CARD_1> or <PHONE_1>",
        "tel <PHONE_1>",
        "<EMAIL_1>, <EMAIL_1>",
    ]


def test_verhoeff_by_the_published_example() -> None:
    """236 takes the check digit 3 (Verhoeff 1969)."""
    assert passes_verhoeff("2363")
    assert not passes_verhoeff("2364")


def test_wallets_by_published_examples() -> None:
    assert passes_base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")  # the first block's
    assert not passes_base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")
    assert passes_bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")  # BIP 173
    assert passes_bech32("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0")  # BIP 350
    assert not passes_bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5")
    assert passes_eip55("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")  # EIP-55
    assert not passes_eip55("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")


def test_accounts_and_cards_have_their_countrys_and_brands_length() -> None:
    assert is_iban("GB82WEST12345698765432")
    assert not is_iban("GB82WEST1234569876543")
    assert is_card("378282246310005")
    assert not is_card("3782822463100050")


def test_a_word_cut_at_the_edge_of_the_window_is_no_cue() -> None:
    text = "Our hotel " + "is on the my our " * 4 + "5551234"
    assert redact(text) == text
