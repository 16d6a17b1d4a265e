"""Passwords as salted hashes: argon2id, which RFC 9106 recommends."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who has no hashes need not load it
    from argon2 import PasswordHasher

PREFIX = "$argon2"
MEMORY = 19 << 10
"""KiB that one hash takes: two at a time leave room in a small container."""


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # noqa: PLC0415  # as above

    return PasswordHasher(time_cost=3, memory_cost=MEMORY, parallelism=1)


def hash_password(password: str) -> str:
    """A password as what may stand in a configuration; another one each time."""
    return _hasher().hash(password)


@cache
def is_hash(text: str) -> bool:
    """Whether a text is such a hash, of any strength."""
    if not (text.startswith(PREFIX) and text.isascii()):
        return False
    from argon2.exceptions import InvalidHashError  # noqa: PLC0415  # as above

    try:
        _hasher().check_needs_rehash(text)
    except InvalidHashError:
        return False
    return True


def verify(known: str, password: str) -> bool:
    """Whether a password is the one that was hashed. It takes tens of milliseconds, and other threads run meanwhile."""
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415  # as above

    try:
        return _hasher().verify(known, password)
    except (VerificationError, InvalidHashError):
        return False
