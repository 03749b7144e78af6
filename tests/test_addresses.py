"""Which addresses a configured server may have: every special network, every form that carries another address."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.addresses import OWN, AddressRule, BlockedAddressError, allow_written, read_networks
from flytewheel.errors import SettingsError

PUBLIC = AddressRule()
METADATA = ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "169.254.170.2")


def is_allowed(rule: AddressRule, address: str) -> bool:
    try:
        rule.check(address)
    except BlockedAddressError:
        return False
    return True


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(PUBLIC, address)
    assert not is_allowed(OWN, address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.0.1", "100.64.0.1", "100.127.255.255", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9"),
        *("224.0.0.1", "224.0.1.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "ff0e::1"),
        *("2001:db8::1", "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::7f00:1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::808:808"),
        *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "2001:0:808:808::1"),
        *METADATA,
    ],
)
def test_everything_else_is_blocked(address: str) -> None:
    assert not is_allowed(PUBLIC, address)


@given(st.ip_addresses(v=4))
def test_what_carries_an_address_is_judged_by_it(address: ipaddress.IPv4Address) -> None:
    allowed = is_allowed(PUBLIC, str(address))
    assert is_allowed(PUBLIC, f"::ffff:{address}") == allowed
    assert (
        is_allowed(PUBLIC, str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))))
        == allowed
    )
    if not address.is_global:
        assert not allowed


@pytest.mark.parametrize("address", METADATA)
def test_metadata_is_allowed_by_nothing_but_its_own_address(address: str) -> None:
    around = AddressRule(read_networks(["0.0.0.0/0", "::/0", "169.254.0.0/16", "loopback"], "test"))
    assert not is_allowed(around, address)
    assert is_allowed(around, "10.0.0.1")
    assert is_allowed(AddressRule(read_networks([address], "test")), address)


def test_networks_are_read_or_refused_in_one_line() -> None:
    rule = AddressRule(read_networks(["10.1.0.0/16", "::1"], "test"))
    assert is_allowed(rule, "10.1.2.3")
    assert is_allowed(rule, "::ffff:10.1.2.3")
    assert not is_allowed(rule, "10.2.0.1")
    for bad in ("10.1.0.5/16", "localhost", "", "300.1.1.1", "10.1.0.0/16;"):
        with pytest.raises(SettingsError, match="FLYTEWHEEL_X: expected networks"):
            read_networks([bad], "FLYTEWHEEL_X")


def test_an_address_that_was_written_is_allowed_and_a_name_is_not() -> None:
    assert AddressRule(allow_written("10.0.0.7")).check("10.0.0.7") is None
    assert not is_allowed(AddressRule(allow_written("10.0.0.7")), "10.0.0.8")
    assert is_allowed(AddressRule(allow_written("localhost")), "127.0.0.1")
    assert is_allowed(AddressRule(allow_written("::1")), "::1")
    assert allow_written("ollama.internal") == ()
    assert [allow_written(address) for address in (*METADATA, "::ffff:169.254.169.254")] == [()] * 7


def test_a_socket_is_opened_for_an_allowed_address_only() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))
    OWN.make_socket(info).close()
    with pytest.raises(BlockedAddressError, match=r"127\.0\.0\.1 is not an address .*FLYTEWHEEL_BACKEND_ALLOW"):
        PUBLIC.make_socket(info)
    assert OWN.resolve("localhost", 80) in {"127.0.0.1", "::1"}
    with pytest.raises(BlockedAddressError):
        PUBLIC.resolve("localhost", 80)
