"""Signs what the router hands out: receipts of answers, links of reviewers, and names for callers that gave none.

A receipt is an HMAC over the interaction's id: whoever holds it was given that answer, and may rate it. The keys are
derived from the assignment key with a label each, so that no signature of one kind can pass for another.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

Unit = Literal["user", "api-key", "address"]


def _sign(key: bytes, label: str, text: str) -> str:
    derived = hmac.new(key, f"flytewheel {label}".encode(), hashlib.sha256).digest()
    return hmac.new(derived, text.encode(), hashlib.sha256).hexdigest()[:40]


def sign_receipt(key: bytes, interaction_id: str) -> str:
    """The receipt of an interaction: 160 bits in hex."""
    return _sign(key, "receipt", interaction_id)


def check_receipt(key: bytes, interaction_id: str, receipt: str) -> bool:
    """Whether `receipt` is the interaction's, compared in constant time."""
    return hmac.compare_digest(sign_receipt(key, interaction_id).encode(), receipt.encode())


def sign_reviewer(key: bytes, review_id: str, reviewer: str) -> str:
    """The token of a reviewer's link to one review."""
    return _sign(key, "reviewer", f"{review_id}\x1f{reviewer}")


def check_reviewer_token(key: bytes, review_id: str, reviewer: str, token: str) -> bool:
    """Whether `token` is this reviewer's for this review, compared in constant time."""
    return hmac.compare_digest(sign_reviewer(key, review_id, reviewer).encode(), token.encode())


def name_caller(key: bytes, *, authorization: str | None, address: str) -> tuple[str, Unit]:
    """A stable name for a caller without a user id, from the API key or else the address, and which of the two.

    Neither can be read back from it. Everyone behind one key or address is one unit: they share an arm.
    """
    if authorization:
        return f"anon-{_sign(key, 'caller', authorization)[:24]}", "api-key"
    return f"anon-{_sign(key, 'address', address)[:24]}", "address"
