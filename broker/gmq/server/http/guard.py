"""Who may come in over HTTP, and from which pages."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Awaitable, Sequence
from hmac import compare_digest
from ipaddress import ip_address

from aiohttp import hdrs, web
from multidict import istr

from gmq.access import Access
from gmq.gate import Gate
from gmq.message import GmqError
from gmq.server.http.doorway import GATE
from gmq.server.http.problem import challenge, problem_response
from gmq.server.http.sessions import Sessions
from gmq.server.hub import Hub
from gmq.tls import identity

OPEN_PATHS = frozenset(("/healthz", "/readyz"))
"""What anybody may ask: whether the broker lives and can serve."""
SEC_FETCH_SITE = istr("Sec-Fetch-Site")
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc", ".cluster.local")
"""Ends of names that nobody outside can own."""
MAX_HOSTS = 1000
"""Names that are remembered as good: far more than a broker has."""
LOGIN = "/login"
STATIC = "/static/"
PAGES = frozenset(("/", "/docs"))
"""Pages for people, who are sent to the login page."""
COOKIE = "gmq_session"


class Guard:
    """Checks each request before it is served: the name it came under, the page it came from, and the user.

    A page of another site must not use the broker through the browser of somebody who can reach it. Its requests show where they come
    from (`Sec-Fetch-Site` and `Origin`, as the Fetch standard has them); and where there is no authentication, a name of its own that it
    lets point here (DNS rebinding) is not accepted as this broker's. `hosts` are names that are, "*" any.
    """

    def __init__(self, hub: Hub, hosts: Sequence[str], sessions: Sessions) -> None:
        self._hub = hub
        self._sessions = sessions
        self._hosts = frozenset(host.lower() for host in hosts)
        self._good_hosts: set[str] = set()  # that were found good
        self._given = b""  # the last Authorization header that was found good,
        self._access: Access | None = None  # and whose it is

    def refused(self, request: web.Request) -> web.Response | Awaitable[web.Response | None] | None:
        """The reply that says why a request is not served, perhaps after a while; None where it is served.

        Raises:
            GmqError: `unavailable`, nothing can be served yet.
        """
        if request.rel_url.raw_path in OPEN_PATHS:
            return None
        headers = request.headers
        authenticator = self._hub.authenticator
        host = headers.get(hdrs.HOST, "")
        if not authenticator.required and host not in self._good_hosts:
            if not self._is_ours(host):
                return problem_response("forbidden", f"{host!r} is not known as a name of this broker; add it to http.hosts if it is one")
            if len(self._good_hosts) < MAX_HOSTS:
                self._good_hosts.add(host)
        if request.method not in SAFE_METHODS and not from_here(headers.get(SEC_FETCH_SITE), headers.get(hdrs.ORIGIN), host):
            return problem_response("forbidden", "a page of another site may not change anything here")
        if not self._hub.opened:
            raise GmqError("unavailable", "the broker is starting and cannot serve yet; /readyz tells when it can")
        if not authenticator.required or is_for_all(request.rel_url.raw_path):
            return None
        return self._identify(request, headers.get(hdrs.AUTHORIZATION, ""))

    # Who it is

    def _identify(self, request: web.Request, given: str) -> web.Response | Awaitable[web.Response | None] | None:
        """Find out whose a request is, at once where that is possible."""
        access = self._access
        if access is None or access.revoked or not compare_digest(secret_bytes(given), self._given):
            if not given:
                access = self._logged_in(request) or self._hub.authenticator.named(identity(request.get_extra_info("peercert")))
            else:
                known = credentials_of(given)
                if isinstance(known, tuple):
                    access = self._hub.authenticator.at_once(*known)
                    if access is None:
                        return self._checked(request, given, *known)
                else:
                    access = None if known is None else self._hub.authenticator.bearer(known)
            if access is None:
                return self._checked(request, given) if given else unauthorized(request)
        self._admit(request, given, access)
        return None

    def _logged_in(self, request: web.Request) -> Access | None:
        secret = request.cookies.get(COOKIE)
        return None if secret is None else self._sessions.user_of(secret)

    def _admit(self, request: web.Request, given: str, access: Access) -> None:
        if given:
            self._given, self._access = secret_bytes(given), access
        request[GATE] = Gate(self._hub.broker, access)

    async def _checked(self, request: web.Request, given: str, user: str = "", password: str = "") -> web.Response | None:
        """The same, where it takes a while: a password is hashed, or wrong, or the token is."""
        access = await self._hub.authenticator.check(user, password, request.remote or "")
        if access is None:
            return unauthorized(request)
        self._admit(request, given, access)
        return None

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        if "." not in name or name.endswith(PRIVATE_SUFFIXES) or "*" in self._hosts or name in self._hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def is_for_all(path: str) -> bool:
    """Whether a path is the login page, or one of the files that it is made of."""
    return path == LOGIN or path.startswith(STATIC)


def secret_bytes(text: str) -> bytes:
    """A header's value, to be compared in a time that does not tell how much of it was right."""
    return text.encode("utf-8", "surrogateescape")


def credentials_of(authorization: str) -> tuple[str, str] | str | None:
    """What an Authorization header has: user and password (RFC 7617), a bearer's token (RFC 6750), or nothing that is known here."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = b64decode(value.strip(), validate=True).decode().partition(":")
    except (Error, ValueError):
        return None
    return (user, password) if colon else None


def unauthorized(request: web.Request) -> web.Response:
    """The reply to a request that does not say, or not truly, whose it is."""
    if request.rel_url.raw_path in PAGES and request.method in SAFE_METHODS and hdrs.AUTHORIZATION not in request.headers:
        return web.Response(status=303, headers={"Location": LOGIN.removeprefix("/")})
    response = problem_response("unauthorized", "wrong or missing credentials; send user and password as Basic, or a token as Bearer")
    challenge(request, response)
    return response


def host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def from_here(site: str | None, origin: str | None, host: str) -> bool:
    """Whether a request comes from a page of this broker or from no page at all, by its Sec-Fetch-Site and Origin headers."""
    if site is not None and site not in {"same-origin", "none"}:
        return False
    return origin is None or origin.partition("://")[2].lower() == host.lower()
