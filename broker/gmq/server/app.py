"""The life of the broker process: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import structlog

import gmq
from gmq.auth import Authenticator
from gmq.broker import Broker
from gmq.config import Config
from gmq.listen import Listen
from gmq.protocol import line_limit
from gmq.server.certificates import Certificates
from gmq.server.descriptors import raise_limit
from gmq.server.hub import Hub
from gmq.server.idle import close_idle
from gmq.server.roll import Roll
from gmq.server.sockets import BACKLOG, BindError, bind, shown
from gmq.server.tcp import Connection
from gmq.storage.base import Storage, StorageError
from gmq.storage.memory import MemoryStorage
from gmq.tls import TlsError
from gmq.users import UsersError

if TYPE_CHECKING:  # loaded where it is used
    from gmq.server.http.site import Site

log = structlog.get_logger()


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
    sockets = bound(config.listen)
    storage = open_storage(config)
    hub = make_hub(config, storage)
    async with AsyncExitStack() as running:
        await start_users(config, hub, running)
        tls = await start_tls(config, running)
        addresses, site = await start_http(config, hub, tls, running)
        if not await opened(storage, stop):
            log.info("stopped before the storage was open", storage=storage.name)
            return
        hub.opened = True
        handshake = None if tls is None else config.request_timeout
        servers = [
            await loop.create_server(lambda: Connection(hub), sock=one, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=handshake)
            for one in sockets
        ]
        if hub.idle_timeout is not None:
            watching = asyncio.create_task(close_idle(hub, hub.idle_timeout))
            running.callback(watching.cancel)
        gc.freeze()  # what is here now stays: collections need not look at it
        log.info(
            "listening",
            addresses=[shown(one) for one in sockets],
            **addresses,
            storage=storage.name,
            tls=tls is not None,
            version=gmq.__version__,
            config=config.source,
            pid=os.getpid(),
        )
        if storage.name == MemoryStorage.name:
            log.warning("messages are kept in memory: they are lost when the broker stops")
        await stop.wait()
        log.info("draining", connections=len(hub.connections), http_connections=0 if site is None else site.connections)
        for server in servers:
            server.close()
        await asyncio.gather(drain(hub, config.drain_timeout), *([] if site is None else [site.stop()]))
    await storage.close()
    log.info("stopped", requests=dict(hub.counts.requests), refusals=hub.counts.codes())


def bound(listen: Listen) -> list[socket.socket]:
    """Sockets bound to what the configuration means.

    Raises:
        StartError: that is not possible.
    """
    try:
        return bind(listen)
    except BindError as error:
        raise StartError(str(error)) from error


async def start_users(config: Config, hub: Hub, until: AsyncExitStack) -> None:
    """Know the users. Their files are followed until the stack is closed.

    Raises:
        StartError: one of the files cannot be used.
    """
    if not config.users:
        return
    try:
        roll = Roll(config.users, hub)
    except UsersError as error:
        raise StartError(str(error)) from error
    if config.users.files():
        roll.watch.start()
        until.push_async_callback(roll.watch.stop)


async def start_tls(config: Config, until: AsyncExitStack) -> ssl.SSLContext | None:
    """The context for the listeners, None without TLS. It follows the certificate's files until the stack is closed.

    Raises:
        StartError: they cannot be used.
    """
    if config.tls is None:
        return None
    try:
        certificates = Certificates(config.tls)
    except TlsError as error:
        raise StartError(str(error)) from error
    certificates.watch.start()
    until.push_async_callback(certificates.watch.stop)
    return certificates.context


async def start_http(
    config: Config, hub: Hub, tls: ssl.SSLContext | None, until: AsyncExitStack
) -> tuple[dict[str, list[str]], Site | None]:
    """Serve HTTP, while the storage is being opened too, until the stack is closed; the addresses, by listener, and the main site.

    Raises:
        StartError: an address that the configuration asks for cannot be listened on.
    """
    main: list[socket.socket] = []
    if config.http is not None:
        try:
            main = bind(config.http)
        except BindError as error:
            if config.http_asked:
                raise StartError(str(error)) from error
            log.warning("HTTP is not served, as nothing asks for it and it cannot be had", reason=str(error))
    ops = [] if config.ops is None else bound(config.ops)
    if not main and not ops:
        return {}, None
    from gmq.server.http.site import Site, main_site, ops_site  # noqa: PLC0415  # who wants no HTTP need not load it

    site: Site | None = None
    if ops:
        ops_only = Site(hub, ops_site(hub), ops, 0, name="ops")  # to the end it says that the broker drains
        until.push_async_callback(ops_only.stop)
        await ops_only.start(BACKLOG)
    if main:
        site = Site(hub, main_site(hub, config.http_hosts), main, config.drain_timeout, tls)
        until.push_async_callback(site.stop)
        await site.start(BACKLOG)
        hub.http = site
    addresses = {name: [shown(one) for one in found] for name, found in (("http", main), ("ops", ops)) if found}
    log.info("listening for HTTP", **addresses)
    return addresses, site


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
    """What the connections share. It knows no users yet."""
    return Hub(
        Broker(storage, config.limits),
        Authenticator(required=bool(config.users), any_certificate=config.any_certificate),
        line_limit=line_limit(config.limits.message_size),
        request_timeout=config.request_timeout,
        max_connections=raise_limit(config.limits.connections),
        connections_per_address=config.limits.connections_per_address,
        buffered=config.limits.buffered,
        write_timeout=config.write_timeout,
        idle_timeout=config.idle_timeout,
        metrics_queues=config.metrics_queues,
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
