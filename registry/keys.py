"""The keys that versions are signed with: ECDSA on P-256, as PEM, the kind that `model-signing` reads.

A key is named by the SHA-256 of its public half's PEM, which is also the hint that model-signing writes beside a
signature, so that a signature says whose it is before anything is verified. What is not such a key is refused with what
it is: an empty file, a certificate, RSA, another curve, a private key among the trusted ones, a lost password.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flytewheel.errors import SigningError

CURVE = "secp256r1"
_SHORT = 16  # of 64 hex digits; what people read
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?-----END \1-----", re.DOTALL)
_SHOW = "`flytewheel keys signing show` prints this machine's"
_MAKE = "make one with `flytewheel keys signing new`"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whom a signature is believed: the public half as PEM, in the one form that its name is made of."""

    pem: bytes
    key_id: str

    @property
    def short(self) -> str:
        """The first digits of its name."""
        return self.key_id[:_SHORT]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Who signs: the private half as PEM without a password, for this process only, and its public half."""

    pem: bytes = field(repr=False)
    public: PublicKey


def make_signing_key() -> SigningKey:
    """A new key from the system's own randomness."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _signing_key(ec.generate_private_key(ec.SECP256R1()))


def read_signing_key(data: bytes, what: str, password: str | None = None) -> SigningKey:
    """Reads a private key.

    Args:
        data: PEM, PKCS#8 or the older EC form.
        what: Names it for a person, as in `FLYTEWHEEL_SIGNING_KEY` or a path.
        password: Of an encrypted one; an open one needs none.

    Raises:
        SigningError: it is no private key on P-256, or the password is missing or wrong.
    """
    from cryptography.hazmat.primitives import serialization

    label, block = _only_block(data, what)
    if not label.endswith("PRIVATE KEY"):
        raise SigningError(f"{what}: is a {label.lower()}, expected the private key to sign with; {_MAKE}")
    encrypted = label.startswith("ENCRYPTED") or b"ENCRYPTED" in block.partition(b"\n")[2][:100]
    if encrypted and not password:
        raise SigningError(f"{what}: is encrypted and no password was given; set FLYTEWHEEL_SIGNING_KEY_PASSWORD")
    try:
        key = serialization.load_pem_private_key(block, password.encode() if encrypted and password else None)
    except Exception as error:  # the parser raises what it meets: ValueError, TypeError, UnsupportedAlgorithm
        if encrypted:
            raise SigningError(f"{what}: cannot be decrypted; check FLYTEWHEEL_SIGNING_KEY_PASSWORD") from None
        raise SigningError(f"{what}: is no private key ({_cause(error)}); {_MAKE}") from None
    _check_curve(key, what)
    return _signing_key(key)


def read_public_keys(data: bytes, what: str) -> list[PublicKey]:
    """Reads one public key or several, one PEM block after the other.

    Raises:
        SigningError: there is none, or one is not a public key on P-256; `what` names the source for a person.
    """
    from cryptography.hazmat.primitives import serialization

    blocks = [(match[1].decode(), match[0]) for match in _BLOCK.finditer(data)]
    if not blocks:
        found = "is empty" if not data.strip() else "holds no PEM"
        raise SigningError(f"{what}: {found}, expected a public key; {_SHOW}")
    keys = []
    for label, block in blocks:
        if label != "PUBLIC KEY":
            raise SigningError(f"{what}: is a {label.lower()}, expected a public key; {_SHOW}")
        try:
            key = serialization.load_pem_public_key(block)
        except Exception as error:  # as above
            raise SigningError(f"{what}: is no public key ({_cause(error)}); copy it again") from None
        _check_curve(key, what)
        keys.append(_public_key(key))
    return keys


def name_keys(keys: Iterable[PublicKey]) -> str:
    """Keys by their short names, for a line that a person reads."""
    return ", ".join(key.short for key in keys) or "none"


def _only_block(data: bytes, what: str) -> tuple[str, bytes]:
    found = [match for match in _BLOCK.finditer(data) if match[1] != b"EC PARAMETERS"]  # openssl writes these before
    if not found:
        state = "is empty" if not data.strip() else "holds no PEM"
        raise SigningError(f"{what}: {state}, expected a private key on P-256; {_MAKE}")
    private = [match for match in found if match[1].endswith(b"PRIVATE KEY")]
    if len(private) > 1:
        raise SigningError(f"{what}: holds {len(private)} private keys, expected one; leave the one to sign with")
    chosen = (private or found)[0]
    return chosen[1].decode(), chosen[0]


def _check_curve(key: Any, what: str) -> None:
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve != CURVE:
        size = f", {key.key_size} bits" if hasattr(key, "key_size") else ""
        kind = curve or f"{type(key).__name__.removeprefix('_')}{size}"
        raise SigningError(f"{what}: is a key of another kind ({kind}), expected ECDSA on P-256; {_MAKE}")


def _signing_key(key: Any) -> SigningKey:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(pem, _public_key(key.public_key()))


def _public_key(key: Any) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(pem, hashlib.sha256(pem).hexdigest())


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
