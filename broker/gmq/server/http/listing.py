"""The list of queues: searched, sorted, and page by page."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from gmq.message import GmqError, QueueCounts
from gmq.server.http.replies import QueueList
from gmq.server.http.requests import DEFAULT_LIMIT, MAX_LIMIT, ListQuery
from gmq.validate import check_range, quote


def page_of(queues: Sequence[QueueCounts], query: ListQuery) -> QueueList:
    """The page that a query asks for of all queues, which are sorted by name.

    Raises:
        GmqError: `bad_request`; `not_found`, the queue after which the page begins is gone and was not sorted by its name.
    """
    limit = DEFAULT_LIMIT if query.limit is None else query.limit
    check_range("limit", limit, 1, MAX_LIMIT)
    found = queues
    if query.search:
        wanted = query.search.casefold()
        found = [queue for queue in queues if wanted in queue.queue.casefold()]
    sort = query.sort or "name"
    if sort != "name":
        found = sorted(found, key=lambda queue: -getattr(queue, sort))  # stable: by name where the counts are the same
    start = 0 if query.after is None else _place_after(found, query.after, sort)
    page = list(found[start : start + limit])
    return QueueList(page, page[-1].queue if start + limit < len(found) else None, len(found))


def _place_after(queues: Sequence[QueueCounts], name: str, sort: str) -> int:
    if sort == "name":
        return bisect_right(queues, name, key=lambda queue: queue.queue)
    for place, queue in enumerate(queues):
        if queue.queue == name:
            return place + 1
    raise GmqError("not_found", f"after is {quote(name)}, and this queue is not in the list any more; begin without after", field="after")
