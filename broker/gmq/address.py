"""Where a broker listens, how to get in, and whom an address belongs to."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 4567
SCHEMES: Final = {"gmq": False, "gmqs": True}
"""Of URIs, and whether they mean TLS."""
NETWORK_BITS: Final = 64
"""Of an IPv6 address: whoever has one nearly always has all with these."""


class Address(NamedTuple):
    """A host, by name or by number, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Endpoint(NamedTuple):
    """A broker as a client is told of it: `user` and `password` are both there or both None."""

    address: Address
    user: str | None = None
    password: str | None = None
    tls: bool = False


def parse_endpoint(text: str) -> Endpoint:
    """Read an address, or a URI such as `gmq://user:password@host:port` (`gmqs` with TLS), with percent-escapes as in RFC 3986.

    Raises ValueError for anything else; what it says does not have the password.
    """
    scheme, colon, rest = text.partition("://")
    if not colon:
        return Endpoint(parse_address(text))
    tls = SCHEMES.get(scheme.lower())
    if tls is None:
        raise ValueError(f"{scheme + colon!r} is no address; a URI begins with gmq:// or, for TLS, gmqs://")
    access, _, place = rest.removesuffix("/").rpartition("@")
    user, _, password = map(unquote, access.partition(":"))
    if bool(user) != bool(password):
        raise ValueError(f"the URI of {place} has a user without a password, or the other way; give both, or neither")
    return Endpoint(parse_address(place), user or None, password or None, tls)


def parse_address(text: str) -> Address:
    """Read `host`, `host:port`, `[::1]:port`, `[::1]` or `::1`; without a port it is 4567, without a host localhost.

    Raises ValueError for anything else; what it says has nothing of what is before an `@`, which may be a password.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _bad(text)
        port = rest[1:]
        has_port = bool(rest)
    elif text.count(":") > 1:
        host, port, has_port = text, "", False
    else:
        host, colon, port = text.partition(":")
        has_port = bool(colon)
    if any(character.isspace() or character in "/[]?#@" for character in host):
        raise _bad(text)
    try:
        host.encode("idna")  # as the system is asked for it
    except UnicodeError:
        raise _bad(text) from None
    return Address(host or DEFAULT_HOST, _port(port, text) if has_port else DEFAULT_PORT)


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _bad(text)
    return int(port)


def _bad(text: str) -> ValueError:
    _, at, place = text.rpartition("@")
    shown = f"...{at}{place}" if at else text
    return ValueError(f"{shown!r} is no address; it may be host, host:port, [::1]:port or ::1, with a port of 1 to 65535")


def source_of(peer: Any) -> str:
    """Whom a peer's address belongs to, see `owner_of`; "" where it has none, as over a Unix socket."""
    return owner_of(str(peer[0])) if isinstance(peer, tuple) and peer else ""


def owner_of(host: str) -> str:
    """Whom an address belongs to: an IPv4 address by itself, an IPv6 address with all of its network."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> (128 - NETWORK_BITS) << (128 - NETWORK_BITS)))
