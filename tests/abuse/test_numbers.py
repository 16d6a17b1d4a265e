"""Numbers of every kind in every field that takes one, over both transports: what is in its range is done, anything else is refused."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from broker_process import Broker
from http_client import request
from wire import Wire

QUEUE_MESSAGES = 100_000
WEEK = 604_800
NO_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "nan", "inf", "1e400", "-1e400", "0x10", "1_000", "+1", "01", ".5", "1.", "--1", "1e", "1,5", "",
    " ", "\u0663",
    '"1"', "[]", "[1]", "{}", "false", '{"$gt":0}', "1;2", "1 2",
)  # fmt: skip
"""What no field takes: no JSON, beyond what a number of 64 bits can be, or something else than a number."""
NUMBERS = (
    "-0", "-0.0", "0", "0e400", "-1", "-1e-9", "1e-400", "1", "1.0", "1e0", "1.5", "9.0000001", str(2**31), str(2**53 + 1),
    str(2**63 - 1), str(2**63),
    str(2**64), str(-(2**63) - 1), "1" + "0" * 400, "-1" + "0" * 400, "1" + "0" * 4400, "1e300", "0." + "0" * 400 + "1", "1." + "0" * 400,
)  # fmt: skip


class Field(NamedTuple):
    """A number that a request may have, and what it may be; `above` excludes `low`."""

    name: str
    low: float
    high: float
    requests: tuple[str, ...]
    whole: bool = False
    above: bool = False

    def edges(self) -> list[str]:
        """The numbers at its limits, and those one beyond."""
        step = 1 if self.whole else 0.001
        return [repr(number) for number in (self.low - step, self.low, self.low + step, self.high - step, self.high, self.high + step)]

    def takes(self, text: str, *, written_whole: bool) -> bool:
        """Whether it is in the range; `written_whole` is how a whole number has to be written: without a fraction."""
        value = json.loads(text) if len(text) < 4000 else float("inf") * (-1 if text.startswith("-") else 1)
        if self.whole and not (isinstance(value, int) if written_whole else value == value // 1):
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high


MESSAGES, BATCH, LINES = "POST /v1/queues/q/messages", '{"messages":[{"text":"x"}],', '{"text":"x",'
DELAY = Field("delay", 0, WEEK, (
    '{"operation":"P","queue":"q","payload":"",', '{"operation":"N","receipts":["x"],', f"{MESSAGES}?", f"{MESSAGES} Gmq-Delay",
    f"{MESSAGES} {BATCH}",
    f"{MESSAGES} {LINES}", 'POST /v1/put-back {"receipts":["x"],',
))  # fmt: skip
TTL = Field("ttl", 0, WEEK, (
    '{"operation":"P","queue":"q","payload":"",', f"{MESSAGES}?", f"{MESSAGES} Gmq-Ttl", f"{MESSAGES} {BATCH}", f"{MESSAGES} {LINES}",
), above=True)  # fmt: skip
PRIORITY = Field("priority", 0, 9, (
    '{"operation":"P","queue":"q","payloads":[""],', f"{MESSAGES}?", f"{MESSAGES} Gmq-Priority", f"{MESSAGES} {BATCH}",
    f"{MESSAGES} {LINES}",
), whole=True)  # fmt: skip
COUNT = Field("count", 1, 1000, (
    '{"operation":"S","queue":"q",', '{"operation":"S","queues":["q"],', '{"operation":"K","queue":"q",', "POST /v1/queues/q/take?",
    "GET /v1/queues/q/messages?", 'POST /v1/take {"queues":["q"],',
), whole=True)  # fmt: skip
WAIT = Field("wait", 0, 60, ('{"operation":"S","queue":"q",', "POST /v1/queues/q/take?", 'POST /v1/take {"queues":["q"],'))
LEASE = Field("lease", 0.001, WEEK, (
    '{"operation":"S","queue":"q",', '{"operation":"E","receipts":["x"],', "POST /v1/queues/q/take?", 'POST /v1/take {"queues":["q"],',
    'POST /v1/extend {"receipts":["x"],',
))  # fmt: skip
MOVED = Field("count", 1, 1_000_000, ('{"operation":"M","queue":"q","to":"r",', 'POST /v1/queues/q/move {"to":"r",'), whole=True)
LIMIT = Field("limit", 1, 1000, ("GET /v1/queues?",), whole=True)
POLICY = ('{"operation":"Y","queue":"p","policy":{', "PUT /v1/queues/p/policy {", 'PUT /v1/queues/p {"policy":{')
POLICIES = (
    Field("max_messages", 1, QUEUE_MESSAGES, POLICY, whole=True),
    Field("max_deliveries", 1, 1_000_000, POLICY, whole=True),
    Field("ttl", 0, WEEK, POLICY, above=True),
    Field("lease", 0.001, WEEK, POLICY),
    Field("expires", 1, 31_536_000, POLICY),
)
CASES = [(field, start) for field in (DELAY, TTL, PRIORITY, COUNT, WAIT, LEASE, MOVED, LIMIT, *POLICIES) for start in field.requests]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    started = Broker(tmp_path_factory.mktemp("numbers"), {"storage": {"type": "memory"}, "limits": {"queue_messages": QUEUE_MESSAGES}})
    started.start()
    yield started
    started.kill()


def asked(broker: Broker, wire: Wire, field: Field, start: str, text: str) -> tuple[bool, str]:
    """Send the number: whether it was refused, and what was said then."""
    method, _, rest = start.partition(" ")
    if start.startswith("{"):
        end = "}" * start.count("{")
        wire.socket.sendall(f'{start}"{field.name}":{text}{end}\n'.encode())
        reply = wire.read()
        assert reply["confirmation"] == "Y" or reply["code"] == "bad_request", f"{start} with {field.name} {text:.50} was answered {reply}"
        return reply["confirmation"] == "N", reply["error"] or ""
    path, _, body = rest.partition(" ")
    headers: dict[str, Any] = {}
    if path.endswith("?"):
        path += f"{field.name}={quote(text)}"
    elif body.startswith("{"):
        headers["Content-Type"] = "application/x-ndjson" if body == LINES else "application/json"
        body += f'"{field.name}":{text}' + "}" * (body.count("{") - body.count("}"))
    else:
        headers[body] = text.encode()
        body = ""
    answer = request(broker.http, method, path, body.encode(), headers)
    assert answer.status < 300 or (answer.status, answer.json["code"]) == (400, "bad_request"), f"{start} with {text:.50}: {answer}"
    return answer.status >= 300, answer.json["detail"] if answer.status >= 300 else ""


@pytest.mark.parametrize(("field", "start"), CASES, ids=[f"{field.name}: {start}" for field, start in CASES])
def test_a_number_is_in_its_range_or_refused(broker: Broker, field: Field, start: str) -> None:
    with Wire(broker.host, broker.port) as wire:
        wire.done("P", "p", payload="")

        def state() -> Any:
            return [{**wire.done("I", name), "oldest_age": None} for name in ("p", "q")]

        def check(text: str, good: Callable[[str], bool]) -> None:
            wire.done("P", "q", payload="eA==")  # so that no take waits
            before = state()
            refused, error = asked(broker, wire, field, start, text)
            assert refused is not good(text), f"{text:.50} for {field.name} was {'refused: ' + error if refused else 'not refused'}"
            if refused:
                assert error.isprintable(), f"a terminal would act on this error: {error!r}"
                assert 0 < len(error) < 300, f"an error that is not short: {error}"
                assert state() == before, f"{text:.50} for {field.name} was refused, and changed something"
            else:
                wire.done("C", "q")  # or a lease that ends, or a delay, changes something later

        written_whole = start.startswith("{")
        for text in (*NUMBERS, *field.edges()):
            check(text, lambda text: field.takes(text, written_whole=written_whole))
        for text in NO_NUMBERS:
            check(text, lambda _: False)
        wire.done("C", "q")


SIZES = (
    b"NaN",
    b"-1",
    b"-0",
    b"+1",
    b"1e3",
    b"1.0",
    b"0x1",
    b"1_0",
    b"1,1",
    b"",
    b" ",
    b"\xd9\xa3",
    b"%d" % 2**63,
    b"%d" % 2**64,
    b"1" + b"0" * 400,
)
HEAD = b"POST /v1/queues/sizes/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Basic c2VjcmV0\r\n"


@pytest.mark.parametrize("size", SIZES, ids=repr)
def test_a_size_of_a_body_or_a_chunk_that_is_none_is_refused_and_fills_no_log(start_broker: Callable[..., Broker], size: bytes) -> None:
    broker = start_broker({"storage": {"type": "memory"}})
    length = HEAD + b"Content-Length: %b\r\n\r\nx" % size
    chunk = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%b\r\nx\r\n0\r\n\r\n" % (
        size if size != b"1e3" else b"f" * 17
    )  # 1e3 is a number in hexadecimal digits
    both = HEAD + b"Content-Length: 1\r\nContent-Length: %b\r\n\r\nx" % size
    with Wire(broker.host, broker.port) as wire:
        for data in (length, chunk, both):
            code = status(broker, data)
            assert code in {400, 413}, f"{data!r} was answered {code}"
        assert wire.done("Q")["queues"] == []
    log = broker.log.read_text()
    assert "c2VjcmV0" not in log, "the log repeats what was sent"
    assert "error" not in log, log


@pytest.mark.parametrize(
    "page", [number for number in (*NO_NUMBERS, *NUMBERS) if number != "0" and not (number.isdigit() and len(number) < 7)]
)
def test_a_page_of_the_console_is_a_number_in_its_range(broker: Broker, page: str) -> None:
    assert status(broker, f"GET /events?page={quote(page)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == 400


def status(broker: Broker, data: bytes) -> int:
    """The status of the reply to these bytes."""
    host, _, port = broker.http.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(data)
        line = connection.makefile("rb").readline()
    assert line.startswith(b"HTTP/1."), f"{data!r} was answered {line!r}"
    return int(line.split()[1])
