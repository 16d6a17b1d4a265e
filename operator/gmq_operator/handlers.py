"""The watch: kopf streams what happens in the cluster, and every event goes to one function. kopf does nothing else here.

kopf runs in a thread with an event loop of its own: when it ends, for whatever reason, it cancels every task of its loop, and it is
begun anew when the cluster serves another kind.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import kopf
import structlog

from gmq_operator.observed import Kind, Object
from gmq_operator.resources import MANAGED_BY, MANAGER
from gmq_operator.settings import STOPPING, Settings
from gmq_operator.trust import login

log = structlog.get_logger()

Sink = Callable[[Kind, str | None, Object], None]
"""Takes an event: the kind, its type (None: one of the list that a watch begins with) and the object."""
Asked = Callable[[Kind], None]
"""Is told that the kind is about to be listed, or to be watched from there on: what is deleted between the two is told by neither."""

SERVER_TIMEOUT: Final = 600
"""Seconds after which the API server ends a watch that goes on."""
CLIENT_TIMEOUT: Final = 660
INACTIVITY: Final = 90.0
"""Seconds without an event or a bookmark after which a watch is taken for dead: the API server sends a bookmark every minute."""
CONNECT_TIMEOUT: Final = 10.0
CHUNK: Final = 500
BACKOFFS: Final = (1.0, 1.0, 2.0, 3.0, 5.0)
"""Seconds between the tries of a request. When the last one fails, a watch goes on trying by itself."""
WORKER_IDLE: Final = 0.1
"""Seconds that kopf keeps a task for an object that nothing more happens to."""
PREFIX: Final = "gmq.io"


class Watch:
    """Watches kinds until it is stopped or fails. `sink` and `asked` are called in the loop that starts it."""

    def __init__(self, settings: Settings, kinds: Iterable[Kind], sink: Sink, asked: Asked) -> None:
        self._settings = settings
        self._kinds = frozenset(kinds)
        self._sink = sink
        self._asked = asked
        self._stop = threading.Event()
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        # A daemon: the process need not wait for it to end.
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def ended(self) -> BaseException | None:
        """Wait until it ends; the error that ended it, None when it was stopped."""
        await self._ended.wait()
        return self._error

    async def stop(self) -> None:
        """Tell it to end, and wait a while for that."""
        self._stop.set()
        try:
            await asyncio.wait_for(self._ended.wait(), STOPPING)
        except TimeoutError:
            log.warning("the watch does not end; it is left behind")

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(
                kopf.operator(
                    registry=registry(self._kinds, self._pass_on),
                    settings=kopf_settings(self._selected),
                    standalone=True,
                    clusterwide=not self._settings.namespaces,
                    namespaces=self._settings.namespaces,
                    stop_flag=self._stop,
                )
            )
        except BaseException as caught:  # noqa: BLE001  # it ends this thread alone, and is told to whoever started it
            error = caught
        self._error = error
        self._call(self._ended.set)

    def _selected(self, resource: Any) -> bool:
        """Whether a resource is one that children are selected of by label. kopf asks before each of its requests for a list or a watch."""
        for kind in self._kinds:
            if (kind.group, kind.version, kind.plural) == (resource.group, resource.version, resource.plural):
                self._call(self._asked, kind)
        return bool(resource.group != PREFIX)

    def _pass_on(self, kind: Kind, event: Any) -> None:
        self._call(self._sink, kind, event["type"], event["object"])

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: the process ends, and nobody wants to know any more
            self._stop.set()


class _NoDifferences(kopf.AnnotationsDiffBaseStorage):
    """Nobody asks what changed in an object. kopf would copy each one for that, and not come to the ground of one that is nested deeply."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """An annotation would have it, which nobody wrote but who wants to disturb."""


MakeWatch = Callable[[Settings, frozenset[Kind], Sink, Asked], Watch]


def registry(kinds: Iterable[Kind], pass_on: Callable[[Kind, Any], None]) -> kopf.OperatorRegistry:
    """A handler for each kind, named in full: a bare name makes kopf ask every API group of the cluster."""
    result = kopf.OperatorRegistry()
    kopf.on.login(registry=result)(login)
    for kind in kinds:
        kopf.on.event(group=kind.group, version=kind.version, plural=kind.plural, registry=result, id=f"{kind.kind}.{kind.group}")(
            _handler(kind, pass_on)
        )
    return result


def _handler(kind: Kind, pass_on: Callable[[Kind, Any], None]) -> Any:  # kopf's own type of handlers
    async def handle(event: Any, **_: Any) -> None:  # kopf passes some twenty arguments
        pass_on(kind, event)

    return handle


def kopf_settings(selected: Callable[[Any], bool]) -> kopf.OperatorSettings:
    """What kopf runs with: nothing that writes to the cluster, and watches that do not die unnoticed."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # else it lists and watches every namespace and CustomResourceDefinition
    settings.process.ultimate_exiting_timeout = None  # else it kills the process some time after the watch is begun anew
    settings.watching.server_timeout = SERVER_TIMEOUT
    settings.watching.client_timeout = CLIENT_TIMEOUT
    settings.watching.connect_timeout = CONNECT_TIMEOUT
    settings.watching.inactivity_timeout = INACTIVITY
    settings.watching.chunk_size = CHUNK
    settings.queueing.idle_timeout = WORKER_IDLE
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = BACKOFFS
    settings.networking.connect_timeout = CONNECT_TIMEOUT
    settings.watching.label_selectors[selected] = f"{MANAGED_BY}={MANAGER}"
    # Nothing of this is ever written, as no handler keeps a state; should one ever, then under this project's name.
    settings.persistence.finalizer = f"{PREFIX}/finalizer"
    settings.persistence.progress_storage = kopf.StatusProgressStorage(field=f"status.{MANAGER}")
    settings.persistence.diffbase_storage = _NoDifferences(prefix=PREFIX)
    return settings
