"""A TCP proxy between a broker and its database that cuts connections where a test wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class CuttingProxy:
    """Passes bytes on to a server. `cut_after` is asked about every piece that goes there; when it says so, the connection is cut.

    The piece still reaches the server, and its answer does not come back.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.cut_after: Callable[[bytes], bool] = lambda _: False
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        muted = threading.Event()
        threading.Thread(target=self._answer, args=(server, client, muted), daemon=True).start()
        with suppress(OSError):
            while data := client.recv(1 << 16):
                cut = self.cut_after(data)
                if cut:
                    self.cuts += 1
                    muted.set()
                server.sendall(data)
                if cut:
                    server.shutdown(socket.SHUT_WR)  # the server finishes what it got, and ends
                    break
        for one in (client, server) if not muted.is_set() else ():
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _answer(self, server: socket.socket, client: socket.socket, muted: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if not muted.is_set():
                    client.sendall(data)
        for one in (client, server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
