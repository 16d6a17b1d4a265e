"""The broker's certificate, taken up again when its files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

from gmq.tls import ServerTls, TlsError

log = structlog.get_logger()

INTERVAL = 1.0
"""Seconds between looks at the files. Looking at what a path leads to sees a symbolic link that was swapped, as Kubernetes does it."""

Stamp = tuple[tuple[int, int, int, int] | None, ...]


class Certificates:
    """`context` is for the listeners: each new connection gets the latest certificate, those that are open keep theirs."""

    def __init__(self, tls: ServerTls) -> None:
        """Read the files.

        Raises:
            TlsError: they cannot be used.
        """
        self._tls = tls
        self._stamp = stamp(tls)
        self._latest = self.context = tls.context()
        self.context.sni_callback = self._choose
        self._task: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Look at the files from now on."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL asks this at the beginning of each handshake, whether or not the client named a server."""
        connection.context = self._latest

    async def _watch(self) -> None:
        refused: Stamp | None = None
        while True:
            await asyncio.sleep(INTERVAL)
            now = stamp(self._tls)
            if now in (self._stamp, refused):
                continue
            try:
                self._latest = await asyncio.to_thread(self._tls.context)
            except TlsError as error:  # it may be half written, or a key may come before its certificate
                refused = now
                log.warning("the changed certificate cannot be used; the last one stays", reason=str(error))
                continue
            self._stamp, refused = now, None
            log.info("a changed certificate is in use", certificate=self._tls.certificate)


def stamp(tls: ServerTls) -> Stamp:
    """What tells one state of the files from another."""
    found: list[tuple[int, int, int, int] | None] = []
    for file in tls.files:
        try:
            status = Path(file).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)
