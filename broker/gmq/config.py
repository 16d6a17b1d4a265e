"""The configuration: a file and the environment, read, checked, and resolved into the values that the server uses."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from msgspec import Struct, structs

from gmq import cgroup
from gmq.database import Database, Host, Tls, parse_dsn, parse_host
from gmq.document import DocumentError, Reading, decode, is_unicode
from gmq.listen import FAMILIES, ORIGINAL_PORT, Listen, check_interface, parse_port
from gmq.message import GmqError, Limits, QueuePolicy
from gmq.protocol import line_limit
from gmq.settings import MOST_MESSAGES, ORIGINAL_STORAGE, Auth, Log, Mysql, Network, Policy, Settings, StorageType
from gmq.tls import ServerTls, TlsError
from gmq.users import UserSource, UserSources, listed, read_secret, source
from gmq.validate import LONGEST_PATH, check_name, quote

DEFAULT_FILE = Path("/etc/gmq/gmq.json")
USER_VARIABLE = "GMQ_AUTH_USER"
PASSWORD_VARIABLE = "GMQ_AUTH_PASSWORD"  # noqa: S105  # the variable's name
ANONYMOUS_VARIABLE = "GMQ_AUTH_ANONYMOUS"
PORT_VARIABLE = "PORT"
MYSQL_USER_VARIABLE = "GMQ_MYSQL_USER"
MYSQL_PASSWORD_VARIABLE = "GMQ_MYSQL_PASSWORD"  # noqa: S105  # the variable's name

AVAILABLE: Sequence[StorageType] = ("memory", "filesystem", "mysql")
"""The storages of this version."""

MEMORY_SHARE = 0.7
"""The part of the container's memory that messages may take where `limits.memory` does not say."""
BUFFERED_SHARE = 0.1
"""The part of it that requests and replies may take that wait in connections where `limits.buffered` does not say."""
REQUESTS_BUFFERED = 4
"""So many requests of the largest size have to fit."""

ORIGINAL_LIMITS = {
    "queues": "max_queue_number",
    "message_size": "max_message_length",
    "queue_messages": "max_queue_capacity",
}
"""Members of `limits`, and their names in the original's `queue`."""

_FLAGS = ("true", "false")
_REMEMBERED_NAMES = 10_000
_NOTHING = QueuePolicy()


class ConfigError(Exception):
    """The configuration cannot be used. Every line of the text names the file, the setting, what was found and what is allowed."""


class Policies:
    """The configured policies by pattern, in their order. Answers are remembered for a bounded number of queues."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._rules = [(re.compile(fnmatch.translate(policy.pattern)).match, _queue_policy(policy)) for policy in policies]
        self.of = lru_cache(maxsize=_REMEMBERED_NAMES)(self._find)

    def _find(self, queue: str) -> QueuePolicy:
        policy = next((policy for matches, policy in self._rules if matches(queue)), _NOTHING)
        if policy.dead_letter == queue:
            # The queue of dead letters would be its own: its messages would go round in it, or be dropped.
            return structs.replace(policy, dead_letter=None, max_deliveries=None)
        return policy


class Config(Struct, frozen=True, kw_only=True):
    """What the server uses.

    `source` is the file's name; `users` tells where users come from, and was looked into; timeouts are in seconds, sizes in bytes. `http`,
    `ops` and `tls` are None where they are off; `http_asked` tells whether the configuration speaks of HTTP at all.
    """

    source: str
    listen: Listen
    http: Listen | None
    http_asked: bool
    http_hosts: tuple[str, ...]
    ops: Listen | None
    tls: ServerTls | None
    users: UserSources
    any_certificate: bool
    storage_type: StorageType
    storage_path: Path
    segment_size: int
    checkpoint_size: int
    database: Database | None
    limits: Limits
    policies: Policies
    log: Log
    request_timeout: float
    write_timeout: float
    idle_timeout: float | None
    drain_timeout: float
    metrics_queues: int

    def policy_for(self, queue_name: str) -> QueuePolicy:
        """The policy of the first pattern that matches the queue's name; without one, the policy that asks for nothing.

        A policy's own dead-letter queue gets the policy without `dead_letter` and `max_deliveries`.
        """
        return self.policies.of(queue_name)

    def __repr__(self) -> str:
        return f"Config(source={self.source!r})"  # never the password


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a file; of the default file for None, or of no file at all where that does not exist.

    Raises:
        ConfigError: the file cannot be read, or says what it should not.
    """
    file = DEFAULT_FILE if path is None else path
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        if path is None:
            return parse("{}", environ, "the defaults")
        raise ConfigError(f"{file}: there is no such file") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from error
    return parse(text, environ, str(file))


def parse(text: str, environ: Mapping[str, str], source: str) -> Config:
    """The configuration that the JSON text and the environment make; `source` names the text in errors.

    Raises:
        ConfigError: with a line for every problem.
    """
    try:
        document = decode(text)
    except DocumentError as error:
        raise ConfigError(f"{source}: {error}") from error
    reading = Reading()
    settings = reading.struct(Settings, document) or Settings()
    listen = _listen(settings.network, reading)
    http = _http(settings, environ, reading)
    ops = _listen_at("ops", settings.ops.interface, settings.ops.port, reading) if settings.ops.enabled else None
    tls = _tls(settings, reading)
    _check_ports([listen, *(other for other in (http, ops) if other is not None)], reading)
    users = _users(settings, environ, reading)
    limits = _limits(settings, reading)
    storage_type = _storage_type(settings, reading)
    storage_path = _storage_path(settings, reading)
    database = _database(settings, storage_type, environ, reading)
    checked = bool(users) or bool(settings.tls.client_ca)
    anonymous = _anonymous(settings.auth, environ, reading)
    if not checked and not anonymous:
        _check_loopback(listen, reading)
        if http is not None and http.interface != listen.interface:
            _check_loopback(http, reading)
    _check_policies(settings.policies, limits, reading)
    if reading.problems:
        raise ConfigError("\n".join(f"{source}: {problem}" for problem in reading.problems))
    return Config(
        source=source,
        listen=listen,
        http=http,
        http_asked="http" in reading.given or bool(environ.get(PORT_VARIABLE)),
        http_hosts=settings.http.hosts,
        ops=ops,
        tls=tls,
        users=users,
        any_certificate=not users.listed and not users.folder,
        storage_type=storage_type,
        storage_path=storage_path,
        segment_size=settings.storage.segment_size,
        checkpoint_size=settings.storage.checkpoint_size,
        database=database,
        limits=limits,
        policies=Policies(settings.policies),
        log=settings.log,
        request_timeout=settings.network.request_timeout,
        write_timeout=settings.network.write_timeout,
        idle_timeout=settings.network.idle_timeout,
        drain_timeout=settings.network.drain_timeout,
        metrics_queues=settings.metrics.queues,
    )


def _listen(network: Network, reading: Reading) -> Listen:
    port = 0
    try:
        port = parse_port(network.port, ORIGINAL_PORT)
    except ValueError as error:
        reading.problem("network.port", str(error))
    try:
        check_interface(network.interface, network.protocol)
    except ValueError as error:
        reading.problem("network.interface", str(error))
    return Listen(network.interface, port, FAMILIES[network.protocol])


def _http(settings: Settings, environ: Mapping[str, str], reading: Reading) -> Listen | None:
    """Where to serve HTTP. What the system or the platform says in PORT outranks the file, as it does elsewhere."""
    http = settings.http
    if not http.enabled:
        return None
    interface = http.interface
    if interface is None:
        interface = settings.network.interface if "http" in reading.given else "localhost"
    listen = _listen_at("http", interface, http.port, reading)
    if text := environ.get(PORT_VARIABLE):
        try:
            listen = structs.replace(listen, port=parse_port(text))
        except ValueError as error:
            reading.problem(PORT_VARIABLE, str(error))
    return listen


def _listen_at(section: str, interface: str, port: int | str, reading: Reading) -> Listen:
    number = 0
    try:
        number = parse_port(port)
    except ValueError as error:
        reading.problem(f"{section}.port", str(error))
    try:
        check_interface(interface, "tcp")
    except ValueError as error:
        reading.problem(f"{section}.interface", str(error))
    return Listen(interface, number, FAMILIES["tcp"], section)


def _tls(settings: Settings, reading: Reading) -> ServerTls | None:
    """The certificate's files, looked into as a start would."""
    tls = settings.tls
    if not tls.certificate:
        for name in ("key", "client_ca"):
            if getattr(tls, name):
                reading.problem(f"tls.{name}", "is set, but no tls.certificate")
        return None
    found = ServerTls(tls.certificate, tls.key, tls.client_ca)
    try:
        found.context()
    except TlsError as error:
        setting, _, text = str(error).partition(" ")
        reading.problem(setting, text)
    return found


def _check_ports(listens: Sequence[Listen], reading: Reading) -> None:
    """Two listeners cannot have one port."""
    first: dict[int, str] = {}
    for listen in listens:
        place = f"{listen.section}.port"
        other = first.setdefault(listen.port, place) if listen.port else place
        if other != place:
            reading.problem(place, f"is {listen.port}, and so is {other}; each listener needs a port of its own")


def _limits(settings: Settings, reading: Reading) -> Limits:
    limits = structs.asdict(settings.limits)
    for name, original in ORIGINAL_LIMITS.items():
        path, original_path = f"limits.{name}", f"queue.{original}"
        if {path, original_path} <= reading.given:
            reading.problem(original_path, f"and {path} set the same limit; keep one of them")
        elif original_path in reading.given:
            limits[name] = getattr(settings.queue, original) or limits[name]
    if limits["memory"] is None:
        limits["memory"] = int(cgroup.memory() * MEMORY_SHARE)
    needed = REQUESTS_BUFFERED * line_limit(limits["message_size"])
    if limits["buffered"] is None:
        limits["buffered"] = max(needed, int(cgroup.memory() * BUFFERED_SHARE))
    elif limits["buffered"] < needed and reading.sound("limits", "queue"):
        reading.problem(
            "limits.buffered",
            f"is {limits['buffered']}; it must be at least {needed}, {REQUESTS_BUFFERED} requests with messages of the largest size",
        )
    return Limits(**limits)


def _storage_type(settings: Settings, reading: Reading) -> StorageType:
    if {"storage.type", "queue.queue_type"} <= reading.given:
        reading.problem("queue.queue_type", "and storage.type both select the storage; keep one of them")
    original = settings.queue.queue_type
    storage_type = settings.storage.type if original is None else ORIGINAL_STORAGE[original]
    if storage_type not in AVAILABLE:
        path, value = ("storage.type", quote(storage_type)) if original is None else ("queue.queue_type", f"{original} ({storage_type})")
        available = ", ".join(f"{quote(name)}" for name in AVAILABLE)
        reading.problem(path, f"is {value}; the storages of this version are: {available}")
    return storage_type


def _storage_path(settings: Settings, reading: Reading) -> Path:
    original = settings.filesystem.path
    if original and "storage.path" in reading.given:
        reading.problem("filesystem.path", "and storage.path set the same folder; keep one of them")
    place, path = ("filesystem.path", original) if original else ("storage.path", settings.storage.path)
    if "\0" in path:
        reading.problem(place, f"is {quote(path, LONGEST_PATH)}; a path has no NUL in it")
    return Path(path)


def _users(settings: Settings, environ: Mapping[str, str], reading: Reading) -> UserSources:
    """Where users come from, looked into as a start would."""
    login = _login(settings.auth, environ, reading)
    named = listed(settings.users, reading) if reading.sound("users") else ()
    users = UserSources(login, named, settings.auth.users_directory)
    users.find(reading)
    return users


def _login(auth: Auth, environ: Mapping[str, str], reading: Reading) -> UserSource | None:
    """User and password, each from the one place that sets it; an empty value counts as not set."""
    users = {"auth.user": auth.user, "auth.user_file": auth.user_file, USER_VARIABLE: environ.get(USER_VARIABLE)}
    user_place, user = _one("user", reading, users)
    places = {"auth.password": auth.password, "auth.password_file": auth.password_file, PASSWORD_VARIABLE: environ.get(PASSWORD_VARIABLE)}
    password_place, password = _one("password", reading, places)
    if not reading.sound("auth", USER_VARIABLE, PASSWORD_VARIABLE):
        return None
    if user and not password:
        reading.problem(user_place, f"is set, but no password: set auth.password_file, auth.password or {PASSWORD_VARIABLE} too")
    if password and not user:
        reading.problem(password_place, f"is set, but no user: set auth.user, auth.user_file or {USER_VARIABLE} too")
    if not user or not password:
        return None
    named = source(user_place, user, auth.user_file, reading)
    secret = source(password_place, password, auth.password_file, reading)
    return UserSource("auth", named, secret) if reading.sound("auth") else None


def _one(what: str, reading: Reading, places: Mapping[str, str | None]) -> tuple[str, str]:
    """The one place that sets it, and the value there; empty strings where none does."""
    given = [(place, value) for place, value in places.items() if value]
    if len(given) > 1:
        others = " and ".join(place for place, _ in given[1:])
        reading.problem(given[0][0], f"and {others} set the same {what}; keep one of them")
    for place, value in given:
        if not is_unicode(value):  # the environment's bytes may be anything
            reading.problem(place, "is not UTF-8")
    return given[0] if given else ("", "")


def _database(settings: Settings, storage_type: StorageType, environ: Mapping[str, str], reading: Reading) -> Database | None:
    """The database of the storage "mysql"; None with another one."""
    if "mysql" in reading.given and settings.database.dsn:
        reading.problem("database.dsn", "and the section mysql both name the database; keep one of them")
    if storage_type != "mysql" or not reading.sound("mysql", "database"):
        return None
    if settings.database.vendor.lower() not in {"", "mysql", "mariadb"}:
        reading.problem("database.vendor", f'is {quote(settings.database.vendor)}; it must be "mysql", "mariadb" or empty')
    if not settings.database.dsn:
        return _mysql(settings.mysql, environ, reading)
    try:
        database = parse_dsn(settings.database.dsn)
    except ValueError as error:
        reading.problem("database.dsn", str(error))
        return None
    _, user = _one("user", reading, {"database.dsn": database.user, MYSQL_USER_VARIABLE: environ.get(MYSQL_USER_VARIABLE)})
    places = {"database.dsn": database.password, MYSQL_PASSWORD_VARIABLE: environ.get(MYSQL_PASSWORD_VARIABLE)}
    _, password = _one("password", reading, places)
    return structs.replace(database, user=user, password=password)


def _mysql(mysql: Mysql, environ: Mapping[str, str], reading: Reading) -> Database | None:
    """The database that the section mysql names."""
    users = {"mysql.user": mysql.user, "mysql.user_file": mysql.user_file, MYSQL_USER_VARIABLE: environ.get(MYSQL_USER_VARIABLE)}
    user_place, user = _one("user", reading, users)
    passwords = {
        "mysql.password": mysql.password,
        "mysql.password_file": mysql.password_file,
        MYSQL_PASSWORD_VARIABLE: environ.get(MYSQL_PASSWORD_VARIABLE),
    }
    password_place, password = _one("password", reading, passwords)
    for place, file in (("mysql.user_file", mysql.user_file), ("mysql.password_file", mysql.password_file)):
        if file and place in {user_place, password_place}:
            read_secret(place, file, reading)
    if not mysql.database:
        reading.problem("mysql.database", "is empty; it must be the name of a database")
    tls = mysql.tls
    if tls.key and not tls.certificate:
        reading.problem("mysql.tls.key", "is set, but no mysql.tls.certificate that it belongs to")
    return Database(
        hosts=_hosts(mysql, reading),
        name=mysql.database,
        user="" if mysql.user_file else user,
        password="" if mysql.password_file else password,
        user_file=mysql.user_file,
        password_file=mysql.password_file,
        tls=Tls(tls.verify, tls.ca, tls.certificate, tls.key) if "mysql.tls" in reading.given else None,
        pool_size=mysql.pool_size,
        connect_timeout=mysql.connect_timeout,
        statement_timeout=mysql.statement_timeout,
    )


def _hosts(mysql: Mysql, reading: Reading) -> tuple[Host, ...]:
    if bool(mysql.host) == bool(mysql.hosts):
        both = "and mysql.hosts both name the server; keep one of them"
        reading.problem("mysql.host", both if mysql.host else "is missing: the storage mysql needs mysql.host, mysql.hosts or database.dsn")
        return ()
    if mysql.hosts and "mysql.port" in reading.given:
        reading.problem("mysql.port", "is the port of mysql.host; in mysql.hosts each server has its own, such as db-1:3307")
    hosts: list[Host] = []
    for path, text in (
        (("mysql.host", mysql.host),) if mysql.host else ((f"mysql.hosts[{at}]", host) for at, host in enumerate(mysql.hosts))
    ):
        try:
            hosts.append(parse_host(text, mysql.port))
        except ValueError as error:
            reading.problem(path, str(error))
    return tuple(hosts)


def _anonymous(auth: Auth, environ: Mapping[str, str], reading: Reading) -> bool:
    """Whether clients need not show who they are, as the file or the environment says; an empty value counts as not set."""
    text = environ.get(ANONYMOUS_VARIABLE)
    if not text:
        return auth.anonymous
    if text not in _FLAGS:
        reading.problem(ANONYMOUS_VARIABLE, f'is {quote(text)}; it must be "true" or "false"')
    if "auth.anonymous" in reading.given:
        reading.problem("auth.anonymous", f"and {ANONYMOUS_VARIABLE} set the same; keep one of them")
    return text == "true"


def _check_loopback(listen: Listen, reading: Reading) -> None:
    """Refuse to listen beyond loopback: clients do not have to show who they are, and nobody said that this is meant."""
    place = f"{listen.section}.interface"
    if not listen.loopback and reading.sound("auth", place, USER_VARIABLE, PASSWORD_VARIABLE, ANONYMOUS_VARIABLE):
        where = quote(listen.interface) if listen.interface else '"" (all addresses)'
        reading.problem(
            place,
            f"is {where}, beyond loopback, and there is no authentication: set auth.user and auth.password_file "
            f"(or {USER_VARIABLE} and {PASSWORD_VARIABLE}) or tls.client_ca, "
            f"or set auth.anonymous (or {ANONYMOUS_VARIABLE}) to true to let in whoever reaches the port",
        )


def _check_policies(policies: Sequence[Policy], limits: Limits, reading: Reading) -> None:
    """What the settings' types cannot say. Left out where items may be missing, as the limit is where it is in doubt."""
    if not reading.sound("policies"):
        return
    limit = limits.queue_messages if reading.sound("limits", "queue") else MOST_MESSAGES
    limit_path = "queue.max_queue_capacity" if "queue.max_queue_capacity" in reading.given else "limits.queue_messages"
    first: dict[str, int] = {}
    for index, policy in enumerate(policies):
        where = f"policies[{index}]"
        if first.setdefault(policy.name, index) != index:
            reading.problem(f"{where}.name", f"is {quote(policy.name)}, and so is policies[{first[policy.name]}].name; names are unique")
        if policy.max_messages is not None and policy.max_messages > limit:
            reading.problem(f"{where}.max_messages", f"is {policy.max_messages}; it may be 1 to {limit}, the limit of {limit_path}")
        if policy.dead_letter is not None:
            path = f"{where}.dead_letter"
            try:
                check_name(policy.dead_letter, path)
            except GmqError as error:
                reading.problem(path, error.text.removeprefix(f"{path} "))


def _queue_policy(policy: Policy) -> QueuePolicy:
    return QueuePolicy(**{name: getattr(policy, name) for name in QueuePolicy.__struct_fields__})
