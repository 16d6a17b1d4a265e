"""What is attacked with bytes of any kind. A target raises AssertionError, or anything else, where a promise is broken."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from damaged import Folder, make, served

from gmq import protocol
from gmq.address import parse_endpoint
from gmq.config import ConfigError, parse
from gmq.database import parse_dsn
from gmq.server.framing import FirstObject, Lines, Verdict
from gmq.storage.scan import UnknownVersionError
from meanings import meanings

LIMIT = 4096
"""Bytes of a line: small, so that passing it is common."""

Target = Callable[[bytes], None]


def requests(data: bytes) -> None:
    """Lines decoded together say what they say one by one, whatever they are; and each refusal can be written."""
    chunk = data + b"\n"
    items, _ = protocol.decode_lines(chunk, LIMIT)
    lines = [protocol.decode_line(line, LIMIT) for line in chunk.split(b"\n") if line and not line.isspace()]
    assert meanings(items) == meanings(lines), f"{chunk!r} is {items} together, and {lines} line by line"
    for item in lines:
        if isinstance(item, protocol.BadRequest):
            refusal = protocol.refusal(item, item.problem)
            assert refusal.count(b"\n") == 1, f"a refusal of more than one line: {refusal!r}"


def framing(data: bytes) -> None:
    """What a connection begins with, and its lines, are found alike however the bytes are cut."""
    size, stream = (data[0] % 7 + 1, data[1:]) if data else (1, b"")
    whole, cut = FirstObject(LIMIT), FirstObject(LIMIT)
    verdict = whole.feed(stream) if stream else None
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    found: Verdict | None = None
    left = list(pieces)
    while left and found is None:
        found = cut.feed(left.pop(0))
    assert found is verdict, f"{stream!r} is {verdict} whole, and {found} in pieces of {size}"
    if verdict is Verdict.OBJECT:
        assert cut.object == whole.object, f"{stream!r} begins with {whole.object!r} whole, and with {cut.object!r} in pieces of {size}"
        assert cut.rest + b"".join(left) == whole.rest, "what follows the first object is lost"
    at_once, one_by_one = Lines(LIMIT), Lines(LIMIT)
    lines, _ = at_once.feed(stream + b"\n") if stream else (b"", False)
    gathered = b"".join(one_by_one.feed(piece)[0] for piece in [*pieces, b"\n"]) if stream else b""
    if len(stream) <= LIMIT:
        assert gathered == lines, f"{stream!r} is {lines!r} whole, and {gathered!r} in pieces of {size}"


def configuration(data: bytes) -> None:
    """Any text is a configuration or is refused in words, of which each line names the file."""
    text = data.decode("utf-8", "surrogateescape")
    said = ""
    try:
        parse(text, {}, "gmq.json")
    except ConfigError as error:
        said = str(error)
    for line in said.split("\n") if said else ():
        assert line.startswith("gmq.json: "), f"a refusal that does not name the file: {line!r}"
        assert line.isprintable(), f"a refusal with characters that a terminal acts on: {line!r}"
    for read in (parse_dsn, parse_endpoint):
        with suppress(ValueError):
            read(text)


@cache
def _folder(kind: str) -> tuple[Folder, tempfile.TemporaryDirectory[str]]:
    """A small folder of a storage, and what removes it in the end."""
    place = tempfile.TemporaryDirectory(prefix="gmq-abuse-")
    return make(kind, Path(place.name) / kind), place


def _damaged(kind: str, data: bytes) -> None:
    """Write `data` over a file of a kind, piece by piece: two bytes of place, one of length, and the piece. Then read the folder."""
    folder, _ = _folder(kind)
    content = bytearray(folder.data)
    at = 0
    while at + 3 <= len(data):
        place = int.from_bytes(data[at : at + 2], "big") % folder.used
        piece = data[at + 3 : at + 3 + data[at + 2]]
        content[place : place + len(piece)] = piece
        at += 3 + max(1, data[at + 2])
    folder.file.write_bytes(content)
    try:
        found, _ = served(folder.path)
    except UnknownVersionError:
        return
    for owner, (payload, _) in found.items():
        assert payload == folder.payloads.get(owner), f"message {owner} has a payload that was never published to it: {payload[:60]!r}"


def journal(data: bytes) -> None:
    """A segment of the journal with anything in it: no start fails, and nothing is served that was not published."""
    _damaged("journal", data)


def queue_file(data: bytes) -> None:
    """The same with the file of a queue."""
    _damaged("queue", data)


TARGETS: dict[str, Target] = {
    "requests": requests,
    "framing": framing,
    "configuration": configuration,
    "journal": journal,
    "queue-file": queue_file,
}

SEEDS: dict[str, list[bytes]] = {
    "requests": [
        b'{"operation":"P","queue":"q","payload":"QUJD"}',
        b'{"operation":"P","queue":"q","payload":"QQ==","delay":1.5,"ttl":9,"priority":9,"headers":{"a":"b"},"key":"k","tag":1}',
        b'{"operation":"S","queue":"q"}\n{"operation":"S","queue":"q"}',
        b'{"operation":"S","queues":["a","b"],"lease":true,"wait":1,"count":9,"tag":"x"}',
        b'{"operation":"A","receipt":"1-2-x"}\n{"operation":"N","receipts":["a"],"delay":0}\n{"operation":"E","receipt":"a","lease":9}',
        b'{"operation":"Y","queue":"q","policy":{"max_messages":1,"dead_letter":"d","lease":1.0}}\n{"operation":"M","queue":"q","to":"r"}',
        b'{"operation":"H","auth":{"user":"a","password":"b"}}\n{"operation":"Q"}\n{"operation":"K","queue":"\\u0071","count":1}',
    ],
    "framing": [b'\x01{"a":"\\"}{"}{}', b"\x02\n{}\n{}\n", b'\x00 \t{"operation":"H"}\nrest', b"\x03GET / HTTP/1.1\r\n"],
    "configuration": [
        b'{"network":{"port":"4567","interface":""},"auth":{"anonymous":true},"http":{"port":8080,"hosts":["a"]}}',
        b'{"mysql":{"hosts":["db-1:3307"],"user":"a","tls":{}},"storage":{"type":"mysql"}}',
        b'{"policies":[{"name":"a","pattern":"*","lease":1,"dead_letter":"b"}],"limits":{"queues":1},"queue":{"queue_type":1}}',
        b"user:password@tcp([::1]:3306)/name?tls=true&timeout=5s",
    ],
    "journal": [b"\x00\x10\x04abcd", b"\x01\x00\x08\xa7GMQ\x00\x00\x00\x00"],
    "queue-file": [b"\x00\x10\x04abcd", b"\x01\x00\x08\xa7GMQ\x00\x00\x00\x00"],
}
"""Inputs to begin with."""
