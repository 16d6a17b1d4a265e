"""Which database: its hosts, who the broker is to it, and TLS; the original's data source name is read here too."""

import re
from pathlib import Path
from typing import Literal

from msgspec import Struct, structs

DEFAULT_PORT = 3306
DEFAULT_CONNECT_TIMEOUT = 3.0
DEFAULT_STATEMENT_TIMEOUT = 10.0
DEFAULT_POOL_SIZE = 16
LONGEST_SECRET = 4096

Verify = Literal["full", "ca", "none"]

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NETWORK = re.compile(r"(?P<protocol>[A-Za-z0-9]*)(?:\((?P<address>.*)\))?", re.DOTALL)
_ENTRY = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]{1,253})|\[(?P<address>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\])(?::(?P<port>[0-9]{1,5}))?")

IGNORED = frozenset({
    "allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords", "allowOldPasswords", "charset",
    "checkConnLiveness", "clientFoundRows", "collation", "columnsWithAlias", "compress", "connectionAttributes", "interpolateParams", "loc",
    "maxAllowedPacket", "multiStatements", "parseTime", "rejectReadOnly", "serverPubKey", "timeTruncate", "writeTimeout",
})  # fmt: skip
"""Parameters of Go's driver that say how that driver works, and nothing that this broker could do otherwise."""


class Host(Struct, frozen=True):
    """Where a server listens: a name or an address with a port, or the path of a socket."""

    name: str
    port: int = DEFAULT_PORT

    @property
    def is_socket(self) -> bool:
        return self.name.startswith("/")

    def __str__(self) -> str:
        if self.is_socket:
            return self.name
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Tls(Struct, frozen=True):
    """How to speak TLS to the servers. `verify` is "full", "ca" (any host name) or "none"; the others are files."""

    verify: Verify = "full"
    ca: str = ""
    certificate: str = ""
    key: str = ""


class Database(Struct, frozen=True, kw_only=True):
    """One database on servers of which the first that can serve is used. Timeouts are in seconds.

    `user_file` and `password_file` are read for each new connection, and then count instead of `user` and `password`.
    """

    hosts: tuple[Host, ...]
    name: str
    user: str = ""
    password: str = ""
    user_file: str = ""
    password_file: str = ""
    tls: Tls | None = None
    pool_size: int = DEFAULT_POOL_SIZE
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT
    statement_timeout: float = DEFAULT_STATEMENT_TIMEOUT

    def credentials(self) -> tuple[str, str]:
        """User and password as they are now.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file has too much, or not UTF-8.
        """
        user = read_secret(self.user_file) if self.user_file else self.user
        return user, read_secret(self.password_file) if self.password_file else self.password

    def __repr__(self) -> str:
        return f"Database({', '.join(map(str, self.hosts))}, name={self.name!r})"  # never the password


def read_secret(file: str) -> str:
    """The text in a file, without the newline at its end."""
    with Path(file).open("rb") as stream:
        data = stream.read(LONGEST_SECRET + 1)
    if len(data) > LONGEST_SECRET:
        raise ValueError(f"it has more than {LONGEST_SECRET} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None  # the error's own text would tell a part of it


def parse_host(text: str, port: int = DEFAULT_PORT) -> Host:
    """A host as it is written: "name", "name:port", "[IPv6 address]:port", or the path of a socket.

    Raises:
        ValueError: with a text that goes on after the setting's name.
    """
    if text.startswith("/"):
        return Host(text, 0)
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise ValueError("has a host that is not a name or address, with or without a port, such as db-1, db-1:3306 or [::1]:3306")
    if found["port"]:
        port = int(found["port"])
    if not 1 <= port <= 65535:
        raise ValueError(f"has the port {port}; it must be 1 to 65535")
    return Host(found["name"] or found["address"], port)


def parse_dsn(dsn: str) -> Database:
    """The database of a data source name as Go's MySQL driver has it: `user:password@tcp(host:port,host:port)/name?parameter=value`.

    It is split at its last `/`, and what is before that at its last `@`, so that a password may contain both.

    Raises:
        ValueError: with a text that goes on after the setting's name, and shows nothing of the name: there may be a password in it.
    """
    before, slash, after = dsn.rpartition("/")
    if not slash:
        raise ValueError("has no slash; it must be user:password@tcp(host:port)/database")
    name, _, query = after.partition("?")
    credentials, _, network = before.rpartition("@")
    user, _, password = credentials.partition(":")
    if not name:
        raise ValueError("names no database after its last slash; it must be user:password@tcp(host:port)/database")
    from urllib.parse import unquote  # noqa: PLC0415  # a start without such a name has no use for it

    database = Database(hosts=_hosts(network), name=unquote(name), user=user, password=password)
    return structs.replace(database, **_parameters(query))


def _hosts(network: str) -> tuple[Host, ...]:
    found = _NETWORK.fullmatch(network)
    if found is None:
        raise ValueError("has an address that is not protocol(host:port); it must be user:password@tcp(host:port)/database")
    protocol, address = found["protocol"] or "tcp", found["address"]
    if protocol == "unix":
        return (parse_host(address or "/tmp/mysql.sock"),)  # noqa: S108  # the default of Go's driver
    if protocol not in {"tcp", "tcp4", "tcp6"}:
        raise ValueError("has a protocol that is neither tcp nor unix; it must be user:password@tcp(host:port)/database")
    return tuple(parse_host(entry.strip()) for entry in (address or "127.0.0.1").split(","))


def _parameters(query: str) -> dict[str, object]:
    from urllib.parse import unquote_plus  # noqa: PLC0415  # as above

    members: dict[str, object] = {}
    for item in filter(None, query.split("&")):
        key, _, value = item.partition("=")
        value = unquote_plus(value)
        if key == "tls":
            members["tls"] = _tls(value)
        elif key == "timeout":
            members["connect_timeout"] = _seconds(key, value)
        elif key == "readTimeout":
            members["statement_timeout"] = _seconds(key, value)
        elif key not in IGNORED:
            raise ValueError(f"has the parameter {key[:40]!r}, which is not known here; tls, timeout and readTimeout are")
    return members


def _tls(value: str) -> Tls | None:
    if value in {"false", "0", "FALSE", "False"}:
        return None
    if value in {"true", "1", "TRUE", "True"}:
        return Tls()
    if value == "skip-verify":
        return Tls(verify="none")
    raise ValueError("has a value of tls that is not known here; it may be true, skip-verify or false, and the section mysql can say more")


def _seconds(key: str, value: str) -> float:
    parts = _DURATION.findall(value)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != value or not 0 < seconds <= 3600:
        raise ValueError(f"has a {key} that is not a length of time up to an hour, such as 5s or 500ms")
    return seconds
