from __future__ import annotations

import pytest

from router.protocols.prompts import PromptError
from router.units import COOKIE, Unit, find_unit

KEY = b"key"
OWN_PAGE = {b"sec-fetch-site": b"same-origin"}


def find(
    given: object = None,
    headers: dict[bytes, bytes] | None = None,
    *,
    account: str | None = None,
    address: str = "10.0.0.1",
    secure: bool = False,
    key: bytes = KEY,
) -> Unit:
    return find_unit(key, given, headers or {}, account=account, address=address, secure=secure)


def test_the_id_in_the_body_comes_before_the_headers_before_the_cookie() -> None:
    made = find(headers=OWN_PAGE)
    assert made.cookie is not None
    brought = {b"cookie": made.cookie.partition(b";")[0], b"x-flytewheel-user": b"grace"}
    assert find("ada", brought) == Unit("ada", "user")
    assert find(None, brought) == Unit("grace", "user")
    assert find(None, {b"cookie": brought[b"cookie"]}, account="a") == Unit(made.user, "cookie")
    assert find(None, {b"x-flytewheel-user": b""}).kind == "address"


def test_without_an_id_key_or_address_stand_for_the_user_and_cannot_be_read_back() -> None:
    keyed = find(account="account-7")
    assert keyed == find(account="account-7", address="10.0.0.2")
    assert keyed.kind == "api-key"
    assert keyed.user != find(account="account-8").user != find(account="account-7", key=b"other").user
    assert find().kind == "address"
    assert find().user != find(address="10.0.0.2").user
    for unit in (keyed, find()):
        assert unit.user.startswith("anon-")
        assert "account" not in unit.user
        assert "10.0" not in unit.user


def test_a_cookie_goes_only_to_a_page_that_brings_it_back() -> None:
    for site in (b"cross-site", b"none", b"", b"same-origin, cross-site"):
        assert find(headers={b"sec-fetch-site": site}).kind == "address"
    one, two = find(headers=OWN_PAGE), find(headers={b"sec-fetch-site": b"same-site"})
    assert one.kind == two.kind == "cookie"
    assert one.user != two.user
    assert one.cookie is not None
    attributes = one.cookie.decode().split("; ")
    assert attributes[1:] == ["Path=/", "Max-Age=31536000", "HttpOnly", "SameSite=Lax"]
    secure = find(headers=OWN_PAGE, secure=True).cookie
    assert secure is not None
    assert secure.decode().split("; ")[-1] == "Secure"


def test_a_forged_cookie_is_answered_with_a_new_one() -> None:
    made = find(headers=OWN_PAGE)
    assert made.cookie is not None
    value = made.cookie.decode().partition(";")[0].partition("=")[2]
    token, _, signature = value.partition(".")
    for forged in (
        f"{token[:-1]}0.{signature}" if token[-1] != "0" else f"{token[:-1]}1.{signature}",
        f"{token}.{signature[:-1]}",
        f"{token}.{'0' * len(signature)}",
        f"{token}.",
        f".{signature}",
        token,
        "",
        '"',
        "é" * 50,
    ):
        brought = {b"cookie": f"{COOKIE}={forged}".encode()}
        found = find(headers=brought | OWN_PAGE)
        assert found.kind == "cookie"
        assert found.cookie is not None
        assert found.user != made.user
        assert find(headers=brought).kind == "address"
    assert find(headers={b"cookie": f"{COOKIE}={value}".encode()}, key=b"another router's").kind == "address"


@pytest.mark.parametrize("given", ["", "x" * 201, "a\0b", 3, True, [], {}])
def test_an_id_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(PromptError, match="user must be text of 1 to 200 characters"):
        find(given)


def test_odd_ids_are_taken_as_they_are_but_for_names_made_here() -> None:
    for given in ("Zoë", "\N{PILE OF POO}", " ", "x" * 200, "a\nb"):
        assert find(given) == Unit(given, "user")
    anonymous = find().user
    assert find(anonymous).user == f"given:{anonymous}"
    assert find(None, {b"x-flytewheel-user": anonymous.encode()}).user != anonymous
    assert len(find("anon-" + "x" * 195).user) == 200
