"""Which operation an HTTP request is counted as."""

from __future__ import annotations

import pytest

from gmq.server.http.counting import operation_of


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/v1/queues", "Q"),
        ("HEAD", "/v1/queues?limit=5", "Q"),
        ("PUT", "/v1/queues/orders", "Y"),
        ("GET", "/v1/queues/orders", "I"),
        ("DELETE", "/v1/queues/a%2Fmessages", "D"),
        ("PUT", "/v1/queues/orders/policy", "Y"),
        ("POST", "/v1/queues/take/messages?delay=5", "P"),
        ("GET", "/v1/queues/orders/messages", "K"),
        ("DELETE", "/v1/queues/orders/messages", "C"),
        ("POST", "/v1/queues/orders/take", "S"),
        ("POST", "/v1/take", "S"),
        ("POST", "/v1/acknowledge", "A"),
        ("POST", "/v1/put-back", "N"),
        ("POST", "/v1/extend", "E"),
        ("POST", "/v1/queues/orders/move", "M"),
        ("PATCH", "/v1/queues/orders", ""),
        ("GET", "/v1/nonsense", ""),
        ("GET", "/v1/queues/orders/messages/7", ""),
    ],
)
def test_a_request_is_counted_as_its_operation(method: str, path: str, operation: str) -> None:
    assert operation_of(method, path) == operation
