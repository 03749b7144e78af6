"""Signs what the router hands out: receipts of answers, and links of reviewers.

A receipt proves that its holder was given an answer, and may rate it. It says all that a reaction needs to be stored
and rewarded without asking the database: model, version, arm, propensity, experiment, when the answer was given, and
whose it is. It travels to browsers: what a person may read in it stands in the answer's other headers already, except
the user, who is sealed (AES-SIV, RFC 5297, bound to the interaction). An HMAC-SHA-256, cut to 128 bits, covers all of
it and the interaction's id.

The keys are derived from the assignment key with a label each, so that no signature of one kind can pass for another.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import struct

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

LIFETIME_S = 30 * 24 * 3600.0
LONGEST_RECEIPT = 2_000  # characters: a user id of 200 four-byte characters and all names at their longest need 1,700
_TAG = 16  # bytes
_FRAMED = struct.Struct(">I")
# The last characters of a text whose last bits say nothing: of 2 characters beyond whole fours, and of 3.
_LAST = (frozenset[int](), frozenset[int](), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_+/=", b"+/   ")
_PADS = (b"", b"===", b"==", b"=")


class ReceiptError(Exception):
    """A receipt is not this interaction's, was changed, or has expired; the message is one line for its sender."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a receipt says of an answer.

    `given_ms` is when it began, milliseconds since 1970; `source` the model's name. `arm` is the assigned one, and
    `propensity` the logged probability of it, None without an experiment.
    """

    interaction_id: str
    user: str
    source: str
    version: str
    arm: str
    propensity: float | None
    experiment_id: str | None
    given_ms: int


class _Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    expires: int  # seconds since 1970
    given_ms: int
    source: str
    version: str
    arm: str
    propensity: float | None
    experiment_id: str | None
    sealed_user: bytes


class ReceiptBook:
    """Signs and reads receipts with one key.

    Args:
        key: the assignment key.
        lifetime_s: how long after the answer its receipt opens the door.
    """

    def __init__(self, key: bytes, *, lifetime_s: float = LIFETIME_S) -> None:
        self._mac = HMAC(_derive(key, "receipt"), SHA256())  # copied for each: 1.4 µs, where `hmac` takes 1.9 to 3.8
        self._seal = AESSIV(_derive(key, "receipt user"))
        self._lifetime_ms = int(lifetime_s * 1000)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Payload).decode

    def sign(self, receipt: Receipt) -> str:
        """The receipt as text, in base64url: about 160 characters; 4 µs."""
        return self.write(receipt).decode()

    def write(self, receipt: Receipt) -> bytes:
        """As `sign`, as it stands in a header."""
        name = receipt.interaction_id.encode("utf-8", "surrogatepass")
        user = receipt.user.encode("utf-8", "surrogatepass")
        payload = self._encode(
            _Payload(
                (receipt.given_ms + self._lifetime_ms) // 1000,
                receipt.given_ms,
                receipt.source,
                receipt.version,
                receipt.arm,
                receipt.propensity,
                receipt.experiment_id,
                self._seal.encrypt(user, [name]),
            )
        )
        return _write_text(payload + self._tag(name, payload))

    def read(self, interaction_id: str, text: str, now_s: float) -> Receipt:
        """What a receipt says, compared in constant time; 5 µs.

        Args:
            interaction_id: the answer that it is shown for.
            text: the receipt.
            now_s: seconds since 1970.

        Raises:
            ReceiptError: it is not this interaction's, or has expired.
        """
        name = interaction_id.encode("utf-8", "surrogatepass")
        signed = _decode_text(text)
        payload, tag = signed[:-_TAG], signed[-_TAG:]
        if not hmac.compare_digest(self._tag(name, payload), tag):
            raise ReceiptError(f"the receipt is not that of interaction {interaction_id[:200]!r}")
        try:
            said = self._decode(payload)
            user = self._seal.decrypt(said.sealed_user, [name]).decode("utf-8", "surrogatepass")
        except (msgspec.DecodeError, msgspec.ValidationError, InvalidTag, UnicodeDecodeError):
            raise ReceiptError("the receipt is of another release of the router") from None
        if said.expires <= now_s:
            raise ReceiptError(f"the receipt of interaction {interaction_id[:200]!r} has expired")
        return Receipt(
            interaction_id,
            user,
            said.source,
            said.version,
            said.arm,
            said.propensity,
            said.experiment_id,
            said.given_ms,
        )

    def _tag(self, name: bytes, payload: bytes) -> bytes:
        # The length in front keeps a name and a payload from passing for another name and payload.
        mac = self._mac.copy()
        mac.update(_FRAMED.pack(len(name)) + name + payload)
        return mac.finalize()[:_TAG]


def _decode_text(text: str) -> bytes:
    try:
        if len(text) > LONGEST_RECEIPT:
            raise ValueError
        sent = text.encode("ascii")
        over = len(sent) % 4
        signed = binascii.a2b_base64(sent.translate(_FROM_URL) + _PADS[over], strict_mode=True)
        if over and sent[-1] not in _LAST[over]:  # one text for one receipt
            raise ValueError
    except ValueError:  # binascii.Error is one
        raise ReceiptError("expected the answer's x-flytewheel-receipt as it was sent") from None
    return signed


def _write_text(signed: bytes) -> bytes:
    return binascii.b2a_base64(signed, newline=False).rstrip(b"=").translate(_TO_URL)


def _derive(key: bytes, label: str) -> bytes:
    return hmac.new(key, f"flytewheel {label}".encode(), hashlib.sha256).digest()


def _sign(key: bytes, label: str, text: str) -> str:
    return hmac.new(_derive(key, label), text.encode(), hashlib.sha256).hexdigest()[:40]


def sign_reviewer(key: bytes, review_id: str, reviewer: str) -> str:
    """The token of a reviewer's link to one review."""
    return _sign(key, "reviewer", f"{review_id}\x1f{reviewer}")


def check_reviewer_token(key: bytes, review_id: str, reviewer: str, token: str) -> bool:
    """Whether `token` is this reviewer's for this review, compared in constant time."""
    return hmac.compare_digest(sign_reviewer(key, review_id, reviewer).encode(), token.encode())
