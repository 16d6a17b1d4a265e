"""The stream of server-sent events that keeps consoles up to date.

All viewers share one look at the broker in each tick, and while nobody views nothing is looked at. Each sees the queues that its user may
inspect. A viewer that does not keep up misses
events; one that takes nothing for long is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic, time

import msgspec
import structlog
from aiohttp import web

from gmq.access import Access
from gmq.message import GmqError
from gmq.server.http.doorway import GATE
from gmq.server.http.guard import COOKIE
from gmq.server.http.lookout import Lookout
from gmq.server.http.sessions import Sessions
from gmq.server.http.views import Query, Sight, View, parse_query
from gmq.server.hub import Hub

log = structlog.get_logger()

TICK = 0.5
"""Seconds between looks, so that what happens is seen within one."""
HEARTBEAT = 2.0
"""Seconds within which viewers are told of the broker in any case, so that they know that it is there."""
LARGEST_SHARE = 0.2
"""Of the time that looking may take: where one look takes long, the next is later."""
MAX_VIEWERS = 100
WRITE_TIMEOUT = 15.0
"""Seconds after which a viewer that takes nothing is dropped."""
RECONNECT = 1000
"""Milliseconds after which a browser that lost the stream asks for it again."""
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies that would hold events back
}

_encode = msgspec.json.Encoder().encode


class Viewer:
    """One open stream; `news` is set when there is an event to be sent, or the end."""

    def __init__(self, query: Query, access: Access | None) -> None:
        self.query = query
        self._access = access
        self.news = asyncio.Event()
        self.ended = False
        self._event: bytes | None = None

    @property
    def sight(self) -> Sight:
        """What it looks at, and as whom."""
        everything = self._access is None or self._access.may_everywhere("inspect")
        return Sight(self.query, None if everything else self._access)

    def show(self, event: bytes) -> None:
        """Send this next, instead of what was not sent yet."""
        if not self.ended:
            self._event = event
            self.news.set()

    def check(self) -> None:
        """End at once where the viewer's user may not see this any more."""
        if self._access is not None and not may_see(self._access, self.query):
            self.drop()

    def drop(self) -> None:
        """End at once, without what was not sent yet."""
        self._event = None
        self.end()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Check now, and whenever the user may do something else than before."""
        if self._access is None:
            yield
            return
        self._access.follow(self.check)
        try:
            self.check()
            yield
        finally:
            self._access.forget(self.check)

    def end(self) -> None:
        """Send what there is, and then the end."""
        self.ended = True
        self.news.set()

    def take(self) -> bytes | None:
        """What is to be sent now."""
        event, self._event = self._event, None
        self.news.clear()
        return event


class Feed:
    """Looks at the broker for all viewers, as long as there are any."""

    def __init__(self, hub: Hub, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lookout = Lookout(hub, time())
        self._viewers: set[Viewer] = set()
        self._newcomers: set[Viewer] = set()  # those who have seen nothing yet
        self._newcomer = asyncio.Event()
        self._next_look = self._next_beat = 0.0
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Stream events until the viewer goes, its session ends, or the broker stops."""
        query = parse_query(request.query.items())
        gate = request.get(GATE)
        access = None if gate is None else gate.access
        if access is not None and query.queue is not None:
            access.check("inspect", (query.queue,))
        elif access is not None:
            access.check_somewhere("inspect")
        if self._stopped:
            raise GmqError("unavailable", "the broker stops")
        if len(self._viewers) >= MAX_VIEWERS:
            raise GmqError("limit", f"{MAX_VIEWERS} consoles are open, and more may not be; close one", limit="consoles")
        viewer = Viewer(query, access)
        with viewer.followed(), self._sessions.followed(request.cookies.get(COOKIE), viewer.drop):
            return await self._stream(request, viewer)

    async def _stream(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        await response.write(b"retry: %d\n\n" % RECONNECT)
        self._join(viewer)
        try:
            await _send(response, viewer)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()  # what it did not take is not to wait for it
        finally:
            self._leave(viewer)
        return response

    async def stop(self, _: web.Application) -> None:
        """End every stream: the broker stops."""
        self._stopped = True
        for viewer in self._viewers:
            viewer.end()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _join(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)
        self._newcomers.add(viewer)
        self._newcomer.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        self._newcomers.discard(viewer)
        if not self._viewers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        """Look in each tick, and show it; who comes between two sees the look before."""
        lookout = self._lookout
        while True:
            began = monotonic()
            due = began >= self._next_look
            beat = due or began >= self._next_beat
            viewers = list(self._viewers if beat else self._newcomers)
            self._newcomers.clear()
            self._newcomer.clear()
            try:
                if due:
                    await lookout.look()
                await _show(lookout, viewers)
            except Exception:  # the next look may succeed, and viewers are to have it
                log.exception("looking at the broker for the console failed")
            if due:
                self._next_look = began + max(TICK, lookout.effort / LARGEST_SHARE)
            if beat:
                self._next_beat = began + HEARTBEAT
            await self._sleep(max(0.0, min(self._next_look, self._next_beat) - monotonic()))

    async def _sleep(self, seconds: float) -> None:
        """Wait for the next tick, or for somebody new, who does not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._newcomer.wait()


async def _show(lookout: Lookout, viewers: Sequence[Viewer]) -> None:
    sights = {viewer: viewer.sight for viewer in viewers}
    views = await lookout.views(set(sights.values()))
    events = {sight: event_of(view) for sight, view in views.items()}
    for viewer, sight in sights.items():
        viewer.show(events[sight])


def may_see(access: Access, query: Query) -> bool:
    """Whether there may be something for a user to see in what a viewer looks at."""
    return access.may_somewhere("inspect") if query.queue is None else access.may("inspect", query.queue)


async def _send(response: web.StreamResponse, viewer: Viewer) -> None:
    while True:
        await viewer.news.wait()
        event = viewer.take()
        if event is not None:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await response.write(event)
        if viewer.ended:
            return


def event_of(view: View) -> bytes:
    """One event, as the stream has it; JSON has no line breaks."""
    return b"data: %b\n\n" % _encode(view)


def add_routes(app: web.Application, hub: Hub, sessions: Sessions) -> None:
    """`/events`."""
    feed = Feed(hub, sessions)
    app.router.add_get("/events", feed.serve, allow_head=False)
    app.on_shutdown.append(feed.stop)
