"""Decides which addresses a configured server may have, at the moment of connecting.

A name can answer with another address each time it is asked (DNS rebinding), so what counts is the address that a
socket is opened to, not the one that a check looked up before. Public addresses are allowed. Private, loopback,
link-local, shared (100.64.0.0/10), reserved and multicast ones are not, unless a network that somebody wrote down holds
them; and an address that hands out a machine's credentials only where it was written down alone, as one address.

Addresses that carry another one are judged by it: IPv4-mapped ones and NAT64 (RFC 6052), which is how an IPv6-only
network reaches public IPv4. 6to4, Teredo and a network's own NAT64 prefixes can reach what nobody sees here: refused.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flytewheel.errors import SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ("127.0.0.0/8", "::1/128")
# AWS and most others (link-local), AWS over IPv6, ECS tasks, Alibaba, Azure's host (in a public network), Oracle.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "169.254.170.2",
        "169.254.170.23",
        "fd00:ec2::23",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TUNNELS = tuple(
    ipaddress.ip_network(text) for text in ("2002::/16", "2001::/32", "64:ff9b:1::/48", "::/96", "192.88.99.0/24")
)


class BlockedAddressError(OSError):
    """A server's address is none that it may have; as a connection that the system refused, for whoever connects."""

    def __init__(self, said: str) -> None:
        super().__init__(errno.EACCES, said)

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class AddressRule:
    """`allow` are networks beside the public ones; with `public` off, nothing else is allowed."""

    allow: tuple[Network, ...] = ()
    public: bool = True

    def check(self, text: str) -> None:
        """Refuses an address.

        Raises:
            BlockedAddressError: it is not allowed, with what would allow it.
        """
        address = _unwrap(ipaddress.ip_address(text.partition("%")[0]))
        holding = [network for network in self.allow if address in network]
        if address in _METADATA:
            if not any(network.num_addresses == 1 for network in holding):
                raise BlockedAddressError(f"{text} hands out a machine's credentials, and no model is served there")
        elif not holding and not (self.public and _is_public(address)):
            raise BlockedAddressError(
                f"{text} is not an address that this server may have: allow its network in FLYTEWHEEL_BACKEND_ALLOW, or"
                " in `allow` of the signed configuration"
            )

    def make_socket(self, info: Any) -> socket.socket:
        """Opens the socket of one `getaddrinfo` result, for aiohttp's connector.

        Raises:
            BlockedAddressError: its address is not allowed.
        """
        family, kind, protocol, _, address = info
        self.check(str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    def resolve(self, host: str, port: int) -> str:
        """The first address of a name that is allowed, for a client that then connects to just that one.

        Raises:
            OSError: the name has no address, or none that is allowed.
        """
        refused: BlockedAddressError | None = None
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                self.check(str(address[0]))
            except BlockedAddressError as error:
                refused = error
            else:
                return str(address[0])
        raise refused or OSError(f"{host} has no address")


OWN = AddressRule(tuple(ipaddress.ip_network(text) for text in LOOPBACK), public=False)  # processes of this machine


def read_networks(given: Iterable[str], what: str) -> tuple[Network, ...]:
    """Reads networks (`10.1.0.0/16`), addresses, and the word `loopback`.

    Raises:
        SettingsError: one is none of these; `what` names where it was written.
    """
    networks: list[Network] = []
    for text in given:
        try:
            networks += [ipaddress.ip_network(item) for item in (LOOPBACK if text == "loopback" else (text,))]
        except ValueError:
            raise SettingsError(
                f"{what}: expected networks such as 10.1.0.0/16, addresses, or loopback; got {text[:60]!r}"
            ) from None
    return tuple(networks)


def allow_written(host: str) -> tuple[Network, ...]:
    """What an operator allows by writing an address itself into a setting: that one address, or loopback by its name.

    A name says nothing of the kind, since who answers for it decides what it means.
    """
    if host == "localhost":
        return OWN.allow
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ()
    return () if _unwrap(address) in _METADATA else (ipaddress.ip_network(address),)


def _unwrap(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified)
        and not getattr(address, "is_site_local", False)
        and not any(address.version == tunnel.version and address in tunnel for tunnel in _TUNNELS)
    )
