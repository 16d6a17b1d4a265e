"""What the console shows at a moment: the broker, and the queues that somebody looks at, with their rates."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

import gmq
from gmq.access import Access
from gmq.message import QueuePolicy, Totals, refuse
from gmq.server.hub import Hub

PAGE = 100
"""Queues on one page."""
RATE_SPAN = 2.0
"""Seconds, about, over which a rate is measured."""
RATE_PAUSE = 10.0
"""Seconds without a look after which a rate is measured anew."""
SORTS = ("name", "ready", "delayed", "leased", "bytes")
MAX_SEARCH = 255


class Query(Struct, frozen=True):
    """What one viewer looks at: one queue, or a page of those whose names contain `search` in any case, sorted by one of SORTS."""

    queue: str | None = None
    search: str = ""
    sort: str = "name"
    descending: bool = False
    page: int = 0


class Sight(Struct, frozen=True):
    """What one viewer looks at, as a user who may inspect some of the queues only; None may inspect all of them."""

    query: Query
    access: Access | None = None


class Rates(Struct, frozen=True):
    """Messages per second."""

    published: float = 0.0
    delivered: float = 0.0
    acknowledged: float = 0.0


class Row(Struct, frozen=True):
    """One queue in the list. `oldest_age` is in seconds; without rates it was not looked at before."""

    queue: str
    ready: int
    delayed: int
    leased: int
    bytes: int
    oldest_age: float | None = None
    rates: Rates | None = None


class Detail(Struct, frozen=True):
    """One queue looked at closely."""

    row: Row
    policy: QueuePolicy
    totals: Totals


class Page(Struct, frozen=True):
    """Some of the queues that a search found; `found` is how many it did."""

    found: int
    page: int
    pages: int
    rows: Sequence[Row]


class Sums(Struct):
    """All queues that the viewer may inspect together."""

    queues: int = 0
    ready: int = 0
    delayed: int = 0
    leased: int = 0
    bytes: int = 0


class State(Struct, frozen=True):
    """The broker itself. `problem` says why the storage cannot serve, `unready` why the broker cannot."""

    version: str
    storage: str
    problem: str | None
    unready: Sequence[str]
    draining: bool
    tcp_connections: int
    http_connections: int
    max_connections: int
    memory: int
    started: float


class View(Struct, omit_defaults=True):
    """One event of the stream. Queues are absent where the storage did not tell in time; `gone` says that there is no such queue."""

    at: float
    broker: State
    sums: Sums | None = None
    rates: Rates | None = None
    page: Page | None = None
    detail: Detail | None = None
    gone: bool = False


class Meter:
    """Makes rates of totals that are looked at now and then."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Totals]] = deque()

    @property
    def used(self) -> float:
        """The time of the last look."""
        return self._samples[-1][0]

    def rates(self, totals: Totals, now: float) -> Rates | None:
        """The rates up to now (in seconds of any clock); None at the first look."""
        samples = self._samples
        if samples and samples[-1][0] < now - RATE_PAUSE:
            samples.clear()
        while len(samples) > 1 and samples[1][0] <= now - RATE_SPAN:
            samples.popleft()
        samples.append((now, structs.replace(totals)))
        began, first = samples[0]
        if now <= began:
            return None
        if totals.published < first.published:  # another queue of that name
            samples.clear()
            return None
        passed = now - began
        return Rates(
            round((totals.published - first.published) / passed, 3),
            round(max(0, totals.delivered - first.delivered) / passed, 3),
            round((totals.acknowledged - first.acknowledged) / passed, 3),
        )


def parse_query(values: Iterable[tuple[str, str]]) -> Query:
    """What the query of an address asks for.

    Raises:
        GmqError: `bad_request`.
    """
    given = dict(values)
    sort = given.get("sort", "name")
    name = sort.removeprefix("-")
    if name not in SORTS:
        refuse(f"sort is {sort!r}; it may be {', '.join(SORTS)}, with - before it for the other direction")
    page = given.get("page", "0")
    if not (page.isascii() and page.isdigit() and len(page) <= 6):
        refuse(f"page is {page!r}; it may be 0 to 999999")
    search = given.get("search", "")
    if len(search) > MAX_SEARCH:
        refuse(f"search has {len(search)} characters; it may have up to {MAX_SEARCH}")
    return Query(given.get("queue"), search.casefold(), name, sort.startswith("-"), int(page))


def state_of(hub: Hub, started: float) -> State:
    """The broker now."""
    storage = hub.broker.storage
    return State(
        version=gmq.__version__,
        storage=storage.name,
        problem=storage.problem,
        unready=hub.unready(),
        draining=hub.broker.draining,
        tcp_connections=len(hub.connections),
        http_connections=0 if hub.http is None else hub.http.connections,
        max_connections=hub.admission.most,
        memory=storage.memory,
        started=started,
    )
