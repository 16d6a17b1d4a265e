"""Sockets on the addresses that a configuration means."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from gmq.listen import Listen

BACKLOG = 4096
FREE_PORT_TRIES = 20


class BindError(Exception):
    """An address cannot be listened on; the text says why, and what would help."""


def bind(listen: Listen) -> list[socket.socket]:
    """Sockets bound to every address that the configuration means; a port of 0 becomes the same for all.

    Raises:
        BindError: one of them is in use, or none can be had.
    """
    wanted = addresses(listen)
    for _ in range(FREE_PORT_TRIES if listen.port == 0 else 1):
        try:
            return bind_all(wanted, listen.port, listen.section)
        except BindError as error:
            failure = error  # a port that is free on one address may be taken on the next
    raise failure


def bind_all(wanted: Sequence[tuple[socket.AddressFamily, str]], port: int, section: str) -> list[socket.socket]:
    """Sockets bound to the addresses that this machine has, all to one port."""
    sockets: list[socket.socket] = []
    for family, address in wanted:
        try:
            one = bound(family, address, port)
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                continue
            for other in sockets:
                other.close()
            raise BindError(refused(error, address, port, section)) from error
        sockets.append(one)
        port = one.getsockname()[1]
    if not sockets:
        names = " and ".join(address for _, address in wanted)
        raise BindError(f"this machine does not have the address {names}; {section}.interface must be one of its own, or a name for one")
    return sockets


def addresses(listen: Listen) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses that an interface means: "" all of them, a name what it resolves to."""
    wanted = (socket.AF_INET, socket.AF_INET6) if listen.family == socket.AF_UNSPEC else (listen.family,)
    if listen.interface in {"", "localhost"}:
        known = {"": {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}, "localhost": {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}}  # noqa: S104  # asked for
        return [(socket.AddressFamily(family), known[listen.interface][family]) for family in wanted]
    try:
        found = socket.getaddrinfo(listen.interface, None, family=listen.family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise BindError(f"{listen.section}.interface {listen.interface!r} cannot be resolved: {error.strerror}") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """A socket bound to one address; IPv4 and IPv6 do not share one."""
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen(BACKLOG)  # here, so that a port in use shows now
    except OSError:
        one.close()
        raise
    return one


def refused(error: OSError, address: str, port: int, section: str) -> str:
    """Why an address could not be had, and what would help."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {address} is in use by another process; stop that one, or choose another with {section}.port"
    if error.errno == errno.EACCES:
        return f"port {port} of {address} needs more rights than this process has; choose one above 1023 with {section}.port"
    return f"cannot listen on port {port} of {address}: {error.strerror}"


def shown(one: socket.socket) -> str:
    """A socket's address for people and for programs."""
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if one.family == socket.AF_INET6 else f"{host}:{port}"
