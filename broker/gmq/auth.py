"""Who somebody is: users, their passwords and tokens."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from asyncio import Future
from binascii import Error, unhexlify
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, sha256, sha512
from time import monotonic

import structlog
from msgspec import Struct

from gmq.access import EVERYTHING, Access, Rule
from gmq.address import owner_of
from gmq.message import GmqError
from gmq.passwords import hash_password, is_hash, verify

log = structlog.get_logger()

_DIGEST_OF_NOTHING = sha512().digest()
_DIGEST_DIGITS = 2 * len(_DIGEST_OF_NOTHING)
REMEMBERED_FOR = 60.0
"""Seconds for which a password that was found right need not be hashed again."""
MOST_REMEMBERED = 10_000
AT_ONCE = 2
"""Passwords that are hashed at the same time."""
MOST_WAITING = 1000
MOST_OF_SOURCE = 100
"""Passwords that may wait to be hashed: in all, and of those that came from one source."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
"""Seconds that the answer to a failed attempt is held back: doubled with each failure from one source within FORGIVEN_AFTER."""
FORGIVEN_AFTER = 60.0
MOST_ADDRESSES = 10_000


def reduce_token(value: str) -> str:
    """The value inside a token of the original client; any other value as it is.

    Such a token is the hexadecimal form, in any case of letters, of the value's bytes and the SHA-512 of the empty string.
    """
    if len(value) < _DIGEST_DIGITS:
        return value
    try:
        token = unhexlify(value)
        if token.endswith(_DIGEST_OF_NOTHING):
            return token[: -len(_DIGEST_OF_NOTHING)].decode()
    except (Error, ValueError):  # not hexadecimal, not ASCII, or not UTF-8: a plain value
        return value
    return value


class User(Struct, frozen=True):
    """Somebody, and how to tell: passwords are plain or hashes of argon2, tokens plain. Without either, only a certificate tells."""

    name: str
    passwords: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = EVERYTHING

    def __repr__(self) -> str:
        return f"User({self.name!r})"  # never a secret


class Known(Struct):
    """A user, with what its connections share."""

    user: User
    access: Access


class Authenticator:
    """Tells who somebody is. Where it is not `required`, everybody is let in.

    With `any_certificate` who shows a certificate that was accepted may do everything; else its name has to be a user's. `failures` counts
    the attempts that failed.
    """

    def __init__(self, users: Sequence[User] = (), *, required: bool = False, any_certificate: bool = False) -> None:
        self.required = required or bool(users)
        self._any_certificate = any_certificate
        self.failures = 0
        self._known: dict[str, Known] = {}
        self._tokens: dict[bytes, Access] = {}
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[Access, float]] = OrderedDict()
        self._blame: OrderedDict[str, tuple[int, float]] = OrderedDict()  # failures by their source, and when the last was
        self._hashing: dict[bytes, Future[Access | None]] = {}  # by their marks, since the users were loaded
        self._hashed_for: Counter[str] = Counter()  # how many of them for each source
        self._hasher: ThreadPoolExecutor | None = None
        self._nobody = (secrets.token_hex(16),)  # is compared with where there is no such user, so that the time does not tell
        self._decoy = ""  # is hashed then
        self.reload(users)

    def reload(self, users: Sequence[User]) -> None:
        """These are the users from now on. Who is gone or has another secret is refused at once, other rules hold at once."""
        known = {user.name: user for user in users}
        for name, old in self._known.items():
            new = known.get(name)
            if new is None or (new.passwords, new.tokens) != (old.user.passwords, old.user.tokens):
                old.access.revoke()
        kept = {name: old.access for name, old in self._known.items() if not old.access.revoked}
        self._known = {name: Known(user, kept.get(name) or Access(name, user.rules)) for name, user in known.items()}
        for one in self._known.values():
            one.access.replace(one.user.rules)
        self._tokens = {_digest(token): one.access for one in self._known.values() for token in one.user.tokens}
        self._remembered.clear()
        self._hashing = {}
        if not self._decoy and any(is_hash(password) for user in users for password in user.passwords):
            self._decoy = hash_password(secrets.token_hex(16))

    # Who is it

    def named(self, name: str | None) -> Access | None:
        """The user that a certificate names."""
        if name is None:
            return None
        known = self._known.get(name)
        if known is None:
            return Access(name) if self._any_certificate else None
        return known.access

    def bearer(self, token: str) -> Access | None:
        """The user of a token."""
        return self._tokens.get(_digest(token))

    def at_once(self, user: str, password: str) -> Access | None:
        """The user, where that can be told without hashing; None where it cannot, or is wrong: `check` knows then.

        The time it takes does not tell how much of a plain password was right.
        """
        user, password = reduce_token(user), reduce_token(password)
        known = self._known.get(user)
        given = _to_bytes(password)
        for one in self._nobody if known is None else known.user.passwords:
            if not is_hash(one) and hmac.compare_digest(given, _to_bytes(one)) and known is not None:
                return known.access
        found = self._remembered.get(self._mark(user, password))
        if found is None or found[1] < monotonic() or found[0].revoked:
            return None
        return found[0]

    async def check(self, user: str, password: str, address: str) -> Access | None:
        """The user; None where the user or the password is wrong, after a while that grows with the failures from the address.

        Raises:
            GmqError: `limit`, too many passwords wait to be hashed.
        """
        source = owner_of(address)
        access = self.at_once(user, password) or await self._by_hash(reduce_token(user), reduce_token(password), source)
        if access is None:
            await asyncio.sleep(self._failed(reduce_token(user), address, source))
        return access

    async def _by_hash(self, user: str, password: str, source: str) -> Access | None:
        """Clients that come with the same password at the same time, as they do when a broker was restarted, share one look at it."""
        known = self._known.get(user)
        hashes = [one for one in known.user.passwords if is_hash(one)] if known is not None else []
        if not hashes and not self._decoy:
            return None
        mark, hashing = self._mark(user, password), self._hashing
        found = hashing.get(mark)
        if found is None:
            self._check_room(source)
            found = hashing[mark] = asyncio.ensure_future(self._compare(known, hashes or [self._decoy], password, mark))
            self._hashed_for[source] += 1
            found.add_done_callback(lambda _: self._compared(hashing, mark, source))
        return await asyncio.shield(found)

    def _check_room(self, source: str) -> None:
        waiting, of_source = self._hashed_for.total(), self._hashed_for[source]
        if waiting >= MOST_WAITING or of_source >= MOST_OF_SOURCE:
            raise GmqError(
                "limit",
                f"{waiting} passwords wait to be looked at, {of_source} of them from this address; it may be {MOST_WAITING}, and "
                f"{MOST_OF_SOURCE} from one address; try again later",
                limit="authentications",
            )

    async def _compare(self, known: Known | None, hashes: Sequence[str], password: str, mark: bytes) -> Access | None:
        for one in hashes:
            if await self._verify(one, password) and known is not None and not known.access.revoked:
                self._remember(mark, known.access)
                return known.access
        return None

    def _compared(self, hashing: dict[bytes, Future[Access | None]], mark: bytes, source: str) -> None:
        del hashing[mark]
        self._hashed_for[source] -= 1
        if not self._hashed_for[source]:
            del self._hashed_for[source]

    def _verify(self, known: str, password: str) -> Future[bool]:
        if self._hasher is None:
            self._hasher = ThreadPoolExecutor(AT_ONCE, "gmq-passwords")
        return asyncio.get_running_loop().run_in_executor(self._hasher, verify, known, password)

    def _mark(self, user: str, password: str) -> bytes:
        """What tells a user and a password apart from others, and means nothing outside this process."""
        return blake2b(_to_bytes(user) + b"\0" + _to_bytes(password), key=self._key, digest_size=32).digest()

    def _remember(self, mark: bytes, access: Access) -> None:
        while len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        self._remembered[mark] = access, monotonic() + REMEMBERED_FOR

    def _failed(self, user: str, address: str, source: str) -> float:
        """Note a failure; the seconds for which its answer is held back."""
        self.failures += 1
        count, last = self._blame.pop(source, (0, 0.0))
        now = monotonic()
        count = count + 1 if now - last < FORGIVEN_AFTER else 1
        self._blame[source] = count, now
        while len(self._blame) > MOST_ADDRESSES:
            self._blame.popitem(last=False)
        if count & (count - 1) == 0:  # the first, second, fourth ...: an attack does not fill the log
            known = user if user in self._known else None  # another one may be a password in the wrong field
            log.warning("authentication failed", user=known, address=address, failures=count)
        return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(count - 1, 10)))


def _digest(token: str) -> bytes:
    return sha256(_to_bytes(token)).digest()


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a lone surrogate is wrong, not an error
