"""What is a key to sign with, and what is refused instead; the keys are `cryptography`'s, in the forms of openssl."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from flytewheel.errors import SigningError
from registry.keys import make_signing_key, name_keys, read_public_keys, read_signing_key

P256 = ec.generate_private_key(ec.SECP256R1())


def private(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, password: str = "") -> bytes:
    return key.private_bytes(
        Encoding.PEM, form, BestAvailableEncryption(password.encode()) if password else NoEncryption()
    )


def public(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_one_key_has_one_name_whatever_it_is_written_in(form: PrivateFormat) -> None:
    read = read_signing_key(private(P256, form), "key")
    (believed,) = read_public_keys(public(P256).replace(b"\n", b"\r\n"), "key")
    assert read.public == believed
    assert len(believed.key_id) == 64
    assert read == read_signing_key(private(P256, form, "secret"), "key", "secret")
    # openssl writes the curve before an older key
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert read == read_signing_key(curve + private(P256, form), "key")
    assert b"PRIVATE" not in repr(read).encode()


def test_several_public_keys_lie_in_one_file() -> None:
    keys = [make_signing_key().public for _ in range(3)]
    assert read_public_keys(b"# ours\n" + b"\n".join(key.pem for key in keys), "keys") == keys
    assert name_keys(keys).count(",") == 2
    assert name_keys([]) == "none"


RSA = rsa.generate_private_key(65537, 2048)
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("data", "password", "says"),
    [
        (b"", None, "is empty, expected a private key on P-256"),
        (b" \n", None, "is empty"),
        (b"secret", None, "holds no PEM"),
        (private(P256)[:80], None, "holds no PEM"),
        (public(P256), None, "is a public key, expected the private key"),
        (CERTIFICATE, None, "is a certificate"),
        (private(P256) + private(P256), None, "holds 2 private keys"),
        (private(P256, password="secret"), None, "set FLYTEWHEEL_SIGNING_KEY_PASSWORD"),
        (private(P256, PrivateFormat.TraditionalOpenSSL, "secret"), None, "set FLYTEWHEEL_SIGNING_KEY_PASSWORD"),
        (private(P256, password="secret"), "wrong", "check FLYTEWHEEL_SIGNING_KEY_PASSWORD"),
        (private(RSA), None, "RSAPrivateKey, 2048 bits), expected ECDSA on P-256"),
        (private(ec.generate_private_key(ec.SECP384R1())), None, "(secp384r1"),
        (private(ec.generate_private_key(ec.SECP256K1())), None, "(secp256k1"),
        (private(ed25519.Ed25519PrivateKey.generate()), None, "Ed25519PrivateKey"),
        (private(P256).replace(b"\nM", b"\nN", 1), None, "is no private key"),
    ],
    ids=range(15),  # not the keys themselves: they are drawn anew in each process
)
def test_what_is_no_key_to_sign_with_is_said(data: bytes, password: str | None, says: str) -> None:
    with pytest.raises(SigningError) as caught:
        read_signing_key(data, "KEY", password)
    assert says in str(caught.value)
    assert str(caught.value).startswith("KEY: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\x00\xff", "holds no PEM"),
        (private(P256), "is a private key, expected a public key"),
        (CERTIFICATE, "is a certificate"),
        (public(RSA), "expected ECDSA on P-256"),
        (public(P256) + public(RSA), "expected ECDSA on P-256"),
        (public(P256).replace(b"\nM", b"\nN", 1), "is no public key"),
    ],
    ids=range(7),
)
def test_what_is_no_key_to_believe_is_said(data: bytes, says: str) -> None:
    with pytest.raises(SigningError, match=r"^KEYS: ") as caught:
        read_public_keys(data, "KEYS")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
