"""HTTP as a plain client speaks it: one request, and all that comes back."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        return json.loads(self.body)


def request(
    address: str, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None, timeout: float = 30.0
) -> Reply:
    """Send one request on a connection of its own. `path` goes out as it is."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()
