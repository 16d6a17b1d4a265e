"""Who may come in over HTTP, and from which pages."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Sequence
from ipaddress import ip_address

from aiohttp import hdrs, web
from multidict import istr

from gmq.message import GmqError
from gmq.server.http.problem import problem_response
from gmq.server.hub import Hub

OPEN_PATHS = frozenset(("/healthz", "/readyz"))
"""What anybody may ask: whether the broker lives and can serve."""
SEC_FETCH_SITE = istr("Sec-Fetch-Site")
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc", ".cluster.local")
"""Ends of names that nobody outside can own."""
MAX_HOSTS = 1000
"""Names that are remembered as good: far more than a broker has."""
CHALLENGE = 'Basic realm="gmq", charset="UTF-8"'


class Guard:
    """Checks each request before it is served: the name it came under, the page it came from, and the user.

    A page of another site must not use the broker through the browser of somebody who can reach it. Its requests show where they come
    from (`Sec-Fetch-Site` and `Origin`, as the Fetch standard has them); and where there is no authentication, a name of its own that it
    lets point here (DNS rebinding) is not accepted as this broker's. `hosts` are names that are, "*" any.
    """

    def __init__(self, hub: Hub, hosts: Sequence[str]) -> None:
        self._hub = hub
        self._hosts = frozenset(host.lower() for host in hosts)
        self._good_hosts: set[str] = set()  # that were found good
        self._credentials: str | None = None  # the last header that was found good

    def refused(self, request: web.Request) -> web.Response | None:
        """The reply that says why a request is not served; None where it is.

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
        if authenticator.required:
            given = headers.get(hdrs.AUTHORIZATION, "")
            if given != self._credentials and not request.get_extra_info("peercert"):
                if not self._accepts(given):
                    response = problem_response("unauthorized", "wrong or missing credentials; send the user and the password as Basic")
                    response.headers["WWW-Authenticate"] = CHALLENGE
                    return response
                self._credentials = given
        if not self._hub.opened:
            raise GmqError("unavailable", "the broker is starting and cannot serve yet; /readyz tells when it can")
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

    def _accepts(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, colon, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (Error, ValueError):
            return False
        return bool(colon) and self._hub.authenticator.accepts(user, password)


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
