"""The console: a page for people, from files of this package."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from aiohttp import web
from aiohttp.hdrs import ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, VARY

from gmq.server.http import events
from gmq.server.http.sessions import Sessions
from gmq.server.hub import Hub

FOLDER = Path(__file__).parent / "static"
CONTENT_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""What is served; other files of the folder are notes and licences."""
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    CACHE_CONTROL: "no-cache",  # kept, and asked for by its ETag: another version of the broker has other files
    VARY: ACCEPT_ENCODING,
}


class StaticFile:
    """One file, in memory, as it is and compressed."""

    def __init__(self, path: Path) -> None:
        self._body = path.read_bytes()
        self._packed = gzip.compress(self._body, mtime=0)
        self._type = CONTENT_TYPES[path.suffix]
        self._tag = hashlib.sha256(self._body).hexdigest()[:20]

    async def serve(self, request: web.Request) -> web.Response:
        """The file, or that it is the one the browser has."""
        packed = "gzip" in request.headers.get(ACCEPT_ENCODING, "")
        tag = f"{self._tag}-gzip" if packed else self._tag  # two representations, two tags
        headers = {**HEADERS, ETAG: f'"{tag}"'}
        known = request.if_none_match or ()
        if any(one.value in {tag, "*"} for one in known):
            return web.Response(status=304, headers=headers)
        if packed:
            headers[CONTENT_ENCODING] = "gzip"
        body = self._packed if packed else self._body
        return web.Response(body=body, headers=headers, content_type=self._type, charset="utf-8")


def add_routes(app: web.Application, hub: Hub, sessions: Sessions) -> None:
    """`/`, the files it uses, and the events that keep it up to date."""
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in CONTENT_TYPES:
            app.router.add_get(f"/static/{path.relative_to(FOLDER).as_posix()}", StaticFile(path).serve)
    app.router.add_get("/", StaticFile(FOLDER / "index.html").serve)
    events.add_routes(app, hub, sessions)
