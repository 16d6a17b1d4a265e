"""The original gmqclient: its flags, its request, its output."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

from gmq.address import Address, parse_address
from gmq.cli.client_output import Exit, Failure, say, write

FLAGS = {
    "s": "server address, host or host:port (default localhost:4567)",
    "q": "queue name",
    "a": "action: P publish, S subscribe, L length",
    "m": "payload in base64, for P",
    "p": "protocol: tcp (default), tcp4 or tcp6",
    "l": "log file; without it talk goes to standard error",
    "o": "output file; without it the reply goes to standard output",
    "user": "user name",
    "password": "password",
}
FAMILIES = {"tcp": socket.AF_UNSPEC, "tcp4": socket.AF_INET, "tcp6": socket.AF_INET6}
TIMEOUT = 30.0
"""Seconds to wait for a connection, and for each part of the reply."""


def run(arguments: list[str]) -> int:
    """Send one request as the original does and print the reply's bytes as they are. Raises Failure."""
    flags = parse_flags(arguments)
    talk = _talk(flags["l"])
    try:
        request = make_request(flags)
        reply = _exchange(_address(flags["s"]), _family(flags["p"]), request)
        _output(flags["o"], reply)
    except Failure as failure:
        talk(str(failure))
        return failure.code
    confirmed, error = _verdict(reply)
    if not confirmed:
        talk(error)
    return Exit.DONE if confirmed else Exit.FAILED


def parse_flags(arguments: list[str]) -> dict[str, str]:
    """Read flags as Go does: `-flag value`, `-flag=value`, and the same with two dashes. Raises Failure."""
    flags = dict.fromkeys(FLAGS, "") | {"s": "localhost:4567", "p": "tcp"}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        flag = rest.pop(0)
        name, equals, value = flag.removeprefix("-").removeprefix("-").partition("=")
        if name in ("h", "help"):
            raise Failure("gmqclient --help tells everything", Exit.USAGE)
        if name not in FLAGS:
            known = ", ".join(f"-{known}" for known in FLAGS)
            raise Failure(f"there is no flag -{name}; before a subcommand there are only the original's: {known}", Exit.USAGE)
        if not equals and not rest:
            raise Failure(f"-{name} needs a value: {FLAGS[name]}", Exit.USAGE)
        flags[name] = value if equals else rest.pop(0)
    if rest:
        raise Failure(f"{rest[0]!r} is too much; a subcommand comes first, its options after it", Exit.USAGE)
    return flags


def make_request(flags: dict[str, str]) -> bytes:
    """The request's bytes, members in the original's order. Raises Failure for flags that do not make one."""
    if flags["a"] not in ("P", "S", "L"):
        raise Failure(f"-a is {flags['a']!r}; it must be P (publish), S (subscribe) or L (length)", Exit.USAGE)
    if not flags["q"]:
        raise Failure("-q is missing; it must name a queue", Exit.USAGE)
    if bool(flags["user"]) != bool(flags["password"]):
        raise Failure("give both -user and -password, or neither", Exit.USAGE)
    request: dict[str, object] = {"operation": flags["a"], "queue": flags["q"], "payload": flags["m"], "confirmation": "", "error": None}
    if flags["user"]:
        request["auth"] = {"user": token(flags["user"]), "password": token(flags["password"])}
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogateescape")


def token(value: str) -> str:
    """What the original makes of a user name or a password: Go's `sha512.New().Sum(value)`, in hexadecimal. It hides nothing."""
    return (value.encode(errors="surrogateescape") + hashlib.sha512().digest()).hex()


def _talk(log: str) -> Callable[[str], None]:
    if not log:
        return say

    def append(text: str) -> None:
        try:
            with Path(log).open("a", encoding="utf-8") as file:
                print(f"[GMQ Client] {time.strftime('%Y/%m/%d %H:%M:%S')} {text}", file=file)
        except OSError as error:
            say(f"{text} (and -l {log}: {error.strerror})")

    return append


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise Failure(f"-s: {error}", Exit.USAGE) from None


def _family(protocol: str) -> socket.AddressFamily:
    if protocol not in FAMILIES:
        raise Failure(f"-p is {protocol!r}; it may be tcp, tcp4 or tcp6", Exit.USAGE)
    return FAMILIES[protocol]


def _exchange(address: Address, family: socket.AddressFamily, request: bytes) -> bytes:
    """Send the request on a connection of its own and read to the end of file."""
    try:
        with _connect(address, family) as connection:
            connection.sendall(request)
            parts = []
            while part := connection.recv(1 << 16):
                parts.append(part)
    except OSError as error:
        raise Failure(f"cannot ask {address}: {error.strerror or error}") from error
    if not parts:
        raise Failure(f"{address} closed the connection without a reply")
    return b"".join(parts)


def _connect(address: Address, family: socket.AddressFamily) -> socket.socket:
    failure: OSError = OSError("the name has no address")
    for found, kind, protocol, _, where in socket.getaddrinfo(*address, family, socket.SOCK_STREAM):
        connection = socket.socket(found, kind, protocol)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(where)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _output(path: str, reply: bytes) -> None:
    if not path:
        write(reply)
        return
    try:
        Path(path).write_bytes(reply)
    except OSError as error:
        raise Failure(f"cannot write to -o {path}: {error.strerror}") from error


def _verdict(reply: bytes) -> tuple[bool, str]:
    """Whether the reply says that it was done, and else why not."""
    try:
        answer = json.loads(reply)
        return answer["confirmation"] == "Y", str(answer["error"])
    except (ValueError, TypeError, KeyError):
        return False, "that is no reply of a GMQ broker"
