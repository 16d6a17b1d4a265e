"""Where the broker listens: an interface, a port, and an address family."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from socket import AddressFamily

from msgspec import Struct

from gmq.validate import quote

MAX_PORT = 65535
ORIGINAL_PORT = 4884
"""What an empty port means: the original's default."""

FAMILIES = {"": AddressFamily.AF_UNSPEC, "tcp": AddressFamily.AF_UNSPEC, "tcp4": AddressFamily.AF_INET, "tcp6": AddressFamily.AF_INET6}
_FAMILY_NAMES = {4: "IPv4", 6: "IPv6"}
_LOOPBACK = IPv4Network("127.0.0.0/8")
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\.?\Z)({_LABEL}\.)*(?![0-9]+\.?\Z){_LABEL}\.?")


class Listen(Struct, frozen=True):
    """Where to listen.

    `interface` is an IP address, a host name, "localhost" for the loopback addresses, or "" for all addresses; `port` 0 means one that the
    system chooses; `family` is AF_INET, AF_INET6, or AF_UNSPEC for both. `section` is the part of the configuration that says so.
    """

    interface: str
    port: int
    family: AddressFamily
    section: str = "network"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        address = _address(self.interface)
        if isinstance(address, IPv4Address):
            return address in _LOOPBACK
        return address == IPv6Address("::1") if address else self.interface.lower() == "localhost"


def parse_port(value: int | str, empty: int | None = None) -> int:
    """The port of a setting: a number from 0 to 65535, or its digits, or "" where that means the port `empty`.

    Raises:
        ValueError: with a text that goes on after the setting's name.
    """
    if value == "" and empty is not None:
        return empty
    if isinstance(value, str) and not (_PORT.fullmatch(value) and int(value) <= MAX_PORT):
        or_empty = "" if empty is None else f', or "" for {empty}'
        raise ValueError(f"is {quote(value)}; it must be 0 to {MAX_PORT}, as a number or in digits{or_empty}")
    return int(value)


def check_interface(interface: str, protocol: str) -> None:
    """Refuse what is neither an IP address nor a host name, and an address that is not of the protocol's family.

    Raises:
        ValueError: with a text that goes on after the setting's name.
    """
    address = _address(interface)
    if address is None:
        if interface and not _HOST_NAME.fullmatch(interface):
            raise ValueError(f'is {quote(interface)}; it must be an IP address, a host name, or "" for all addresses')
    elif protocol in {"tcp4", "tcp6"} and not protocol.endswith(str(address.version)):
        name = _FAMILY_NAMES[address.version]
        raise ValueError(f"is {quote(interface)}, an {name} address, which network.protocol {quote(protocol)} excludes")


def _address(interface: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(interface)
    except ValueError:
        return None  # a name, or nothing good
