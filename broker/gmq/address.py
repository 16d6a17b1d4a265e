"""Where a broker listens."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 4567


class Address(NamedTuple):
    """A host, by name or by number, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `host`, `host:port`, `[::1]:port`, `[::1]` or `::1`; without a port it is 4567, without a host localhost.

    Raises ValueError for anything else.
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
    if any(character.isspace() or character in "/[]" for character in host):
        raise _bad(text)
    return Address(host or DEFAULT_HOST, _port(port, text) if has_port else DEFAULT_PORT)


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _bad(text)
    return int(port)


def _bad(text: str) -> ValueError:
    return ValueError(f"{text!r} is no address; it may be host, host:port, [::1]:port or ::1, with a port of 1 to 65535")
