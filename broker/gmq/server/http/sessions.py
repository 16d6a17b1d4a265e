"""Who is logged in to the console."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from time import monotonic

from gmq.access import Access

LASTS = 12 * 3600.0
"""Seconds after which one has to log in again."""
MOST = 10_000


class Session:
    """One of them, until `until`; those of `followers` are called when it ends before."""

    __slots__ = ("access", "followers", "until")

    def __init__(self, access: Access) -> None:
        self.access = access
        self.until = monotonic() + LASTS
        self.followers: set[Callable[[], None]] = set()

    def end(self) -> None:
        """Tell those who follow."""
        for ended in list(self.followers):
            ended()


class Sessions:
    """Sessions by the digest of their secret, which only the browser's cookie has; the oldest goes where there are too many."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, access: Access) -> str:
        """A new session of a user; its secret."""
        secret = secrets.token_urlsafe(32)
        while len(self._open) >= MOST:
            self._open.popitem(last=False)[1].end()
        self._open[_digest(secret)] = Session(access)
        return secret

    def user_of(self, secret: str) -> Access | None:
        """Whose session it is; None where there is none, or its user is not one any more."""
        mark = _digest(secret)
        found = self._open.get(mark)
        if found is None:
            return None
        if found.access.revoked or found.until < monotonic():
            del self._open[mark]
            return None
        return found.access

    @contextmanager
    def followed(self, secret: str | None, ended: Callable[[], None]) -> Iterator[None]:
        """Call `ended` when this session, where it is one, ends meanwhile, by itself too. What becomes of its user the `Access` tells."""
        session = None if secret is None else self._open.get(_digest(secret))
        if session is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(session.until - monotonic(), ended)
        session.followers.add(ended)
        try:
            yield
        finally:
            session.followers.discard(ended)
            timer.cancel()

    def end(self, secret: str) -> None:
        """Nobody is logged in with this any more."""
        session = self._open.pop(_digest(secret), None)
        if session is not None:
            session.end()


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
