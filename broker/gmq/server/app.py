"""The life of the broker process: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

import structlog

import gmq
from gmq.auth import Authenticator
from gmq.broker import Broker
from gmq.config import Config
from gmq.listen import Listen
from gmq.protocol import line_limit
from gmq.server.hub import Hub
from gmq.server.tcp import Connection
from gmq.storage.base import Storage, StorageError
from gmq.storage.memory import MemoryStorage

log = structlog.get_logger()

BACKLOG = 4096
FREE_PORT_TRIES = 20


class StartError(Exception):
    """The broker cannot start; the text says why, and what would help."""


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    Raises:
        StartError: an address cannot be listened on, or the storage cannot be opened.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sockets = bind(config.listen)
    storage = open_storage(config)
    if not await opened(storage, stop):
        log.info("stopped before the storage was open", storage=storage.name)
        return
    hub = make_hub(config, storage)
    servers = [await loop.create_server(lambda: Connection(hub), sock=one, backlog=BACKLOG) for one in sockets]
    gc.freeze()  # what is here now stays: collections need not look at it
    log.info(
        "listening",
        addresses=[shown(one) for one in sockets],
        storage=storage.name,
        version=gmq.__version__,
        config=config.source,
        pid=os.getpid(),
    )
    if storage.name == MemoryStorage.name:
        log.warning("messages are kept in memory: they are lost when the broker stops")
    await stop.wait()
    log.info("draining", connections=len(hub.connections))
    for server in servers:
        server.close()
    await drain(hub, config.drain_timeout)
    await storage.close()
    log.info("stopped", requests=dict(hub.counts.requests), refusals=dict(hub.counts.refusals))


def open_storage(config: Config) -> Storage:
    """The storage that the configuration selects. Only that one is imported."""
    if config.storage_type == "filesystem":
        from gmq.storage.filesystem import FilesystemStorage  # noqa: PLC0415  # the others have no use for it

        return FilesystemStorage(
            config.storage_path,
            config.limits,
            config.policy_for,
            segment_size=config.segment_size,
            checkpoint_size=config.checkpoint_size,
        )
    if config.database is not None:
        from gmq.storage.mysql import MysqlStorage  # noqa: PLC0415  # the others have no use for it

        return MysqlStorage(config.database, config.limits, config.policy_for)
    return MemoryStorage(config.limits, config.policy_for)


async def opened(storage: Storage, stop: asyncio.Event) -> bool:
    """Open the storage, however long that takes; false where the process is told to stop before it is done.

    Raises:
        StartError: it cannot be opened.
    """
    opening = asyncio.create_task(storage.open())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([opening, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not opening.done():
        opening.cancel()
        await asyncio.wait([opening])
        if opening.cancelled():
            return False
    try:
        opening.result()
    except StorageError as error:
        raise StartError(str(error)) from error
    return True


def make_hub(config: Config, storage: Storage) -> Hub:
    """What the connections share."""
    return Hub(
        Broker(storage, config.limits),
        Authenticator(config.credentials),
        line_limit=line_limit(config.limits.message_size),
        request_timeout=config.request_timeout,
        max_connections=config.limits.connections,
    )


async def drain(hub: Hub, timeout: float) -> None:  # noqa: ASYNC109  # the time that clients have, not a time limit on this coroutine
    """Let the clients have their replies, and close every connection within `timeout` seconds.

    Who waits is released, and what was received is finished.
    """
    hub.broker.drain()
    for connection in list(hub.connections):
        connection.finish()
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await hub.emptied()
    for connection in list(hub.connections):
        log.warning("connection closed before its client took all replies", peer=connection.peer)
        connection.abort()


def bind(listen: Listen) -> list[socket.socket]:
    """Sockets bound to every address that the configuration means; a port of 0 becomes the same for all.

    Raises:
        StartError: one of them is in use, or none can be had.
    """
    wanted = addresses(listen)
    for _ in range(FREE_PORT_TRIES if listen.port == 0 else 1):
        try:
            return bind_all(wanted, listen.port)
        except StartError as error:
            failure = error  # a port that is free on one address may be taken on the next
    raise failure


def bind_all(wanted: Sequence[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
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
            raise StartError(refused(error, address, port)) from error
        sockets.append(one)
        port = one.getsockname()[1]
    if not sockets:
        names = " and ".join(address for _, address in wanted)
        raise StartError(f"this machine does not have the address {names}; network.interface must be one of its own, or a name for one")
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
        raise StartError(f"network.interface {listen.interface!r} cannot be resolved: {error.strerror}") from error
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


def refused(error: OSError, address: str, port: int) -> str:
    """Why an address could not be had, and what would help."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {address} is in use by another process; stop that one, or choose another with network.port"
    if error.errno == errno.EACCES:
        return f"port {port} of {address} needs more rights than this process has; choose one above 1023 with network.port"
    return f"cannot listen on port {port} of {address}: {error.strerror}"


def shown(one: socket.socket) -> str:
    """A socket's address for people and for programs."""
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if one.family == socket.AF_INET6 else f"{host}:{port}"
