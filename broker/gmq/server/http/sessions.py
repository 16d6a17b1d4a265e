"""Who is logged in to the console."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import sha256
from time import monotonic

from gmq.access import Access

LASTS = 12 * 3600.0
"""Seconds after which one has to log in again."""
MOST = 10_000


class Sessions:
    """Sessions by the digest of their secret, which only the browser's cookie has; the oldest goes where there are too many."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, tuple[Access, float]] = OrderedDict()

    def begin(self, access: Access) -> str:
        """A new session of a user; its secret."""
        secret = secrets.token_urlsafe(32)
        while len(self._open) >= MOST:
            self._open.popitem(last=False)
        self._open[_digest(secret)] = access, monotonic() + LASTS
        return secret

    def user_of(self, secret: str) -> Access | None:
        """Whose session it is; None where there is none, or its user is not one any more."""
        mark = _digest(secret)
        found = self._open.get(mark)
        if found is None:
            return None
        access, until = found
        if access.revoked or until < monotonic():
            del self._open[mark]
            return None
        return access

    def end(self, secret: str) -> None:
        """Nobody is logged in with this any more."""
        self._open.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
