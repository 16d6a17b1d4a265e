"""The broker's certificate, taken up again when its files change."""

from __future__ import annotations

import asyncio
import ssl

import structlog

from gmq.server.watch import Watch
from gmq.tls import ServerTls, TlsError

log = structlog.get_logger()


class Certificates:
    """`context` is for the listeners: each new connection gets the latest certificate, those that are open keep theirs."""

    def __init__(self, tls: ServerTls) -> None:
        """Read the files.

        Raises:
            TlsError: they cannot be used.
        """
        self._tls = tls
        self.watch = Watch(lambda: tls.files, self._changed)
        self._latest = self.context = tls.context()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL asks this at the beginning of each handshake, whether or not the client named a server."""
        connection.context = self._latest

    async def _changed(self) -> None:
        try:
            self._latest = await asyncio.to_thread(self._tls.context)
        except TlsError as error:  # it may be half written, or a key may come before its certificate
            log.warning("the changed certificate cannot be used; the last one stays", reason=str(error))
        else:
            log.info("a changed certificate is in use", certificate=self._tls.certificate)
