from __future__ import annotations

import hashlib
import hmac

from router.receipts import check_receipt, name_caller, sign_receipt


def test_a_receipt_is_an_hmac_under_a_key_of_its_own() -> None:
    derived = hmac.new(b"key", b"flytewheel receipt", hashlib.sha256).digest()
    expected = hmac.new(derived, b"i-1", hashlib.sha256).hexdigest()[:40]
    assert sign_receipt(b"key", "i-1") == expected
    assert check_receipt(b"key", "i-1", expected)
    for wrong in ("", expected[:-1], expected.upper(), "é" * 40):
        assert not check_receipt(b"key", "i-1", wrong)
    assert not check_receipt(b"key", "i-2", expected)
    assert not check_receipt(b"other", "i-1", expected)


def test_a_caller_keeps_the_name() -> None:
    keyed = name_caller(b"key", authorization="Bearer sk", address="127.0.0.1")
    assert keyed == name_caller(b"key", authorization="Bearer sk", address="127.0.0.2")
    assert keyed[1] == "api-key"
    assert name_caller(b"key", authorization=None, address="127.0.0.1")[1] == "address"
    assert "127" not in name_caller(b"key", authorization=None, address="127.0.0.1")[0]
