"""Every setting with its type, range, unit, default and description, once. docs/configuration.md is made from this page.

`extra` holds what a type cannot say: `unit`, `secret` (its value is never shown), and `range` or `default` in words.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gmq.access import RIGHTS, Right
from gmq.database import DEFAULT_CONNECT_TIMEOUT, DEFAULT_POOL_SIZE, DEFAULT_PORT, DEFAULT_STATEMENT_TIMEOUT, Verify
from gmq.message import DEFAULT_LEASE, MAX_DELIVERIES, MAX_EXPIRES, MAX_LEASE, MAX_TTL, MIN_LEASE, NEVER, Limits

MOST_QUEUES = 1_000_000
MOST_MESSAGES = 1_000_000_000
MOST_KEYS = 100_000_000
MOST_CONNECTIONS = 1_000_000
MOST_WAITING = 10_000_000
LARGEST_MESSAGE = 512 << 20
LONGEST_STORAGE_PATH = 4095
SMALLEST_SEGMENT, LARGEST_SEGMENT = 1 << 20, 1 << 30
SMALLEST_CHECKPOINT, LARGEST_CHECKPOINT = 1 << 20, 64 << 30

DEFAULTS = Limits()

StorageType = Literal["memory", "mysql", "filesystem"]
ORIGINAL_STORAGE: dict[int, StorageType] = {1: "memory", 2: "mysql", 3: "filesystem"}
"""What the original's `queue_type` means."""

Queues = Annotated[int, Meta(ge=1, le=MOST_QUEUES)]
MessageSize = Annotated[int, Meta(ge=1, le=LARGEST_MESSAGE)]
QueueMessages = Annotated[int, Meta(ge=1, le=MOST_MESSAGES)]
Connections = Annotated[int, Meta(ge=1, le=MOST_CONNECTIONS)]
PolicyName = Annotated[str, Meta(min_length=1, max_length=255)]
QueuePattern = Annotated[str, Meta(min_length=1, max_length=1024)]
Deliveries = Annotated[int, Meta(ge=1, le=MAX_DELIVERIES)]
Ttl = Annotated[float, Meta(gt=0, le=MAX_TTL)]
Lease = Annotated[float, Meta(ge=MIN_LEASE, le=MAX_LEASE)]
Expires = Annotated[float, Meta(ge=1, le=MAX_EXPIRES)]
Port = Annotated[int, Meta(ge=0, le=65535)] | str


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of the configuration."""


class Auth(Section, frozen=True, kw_only=True):
    """Who may use the broker. With a user and a password every client must send them; without, none has to."""

    user: Annotated[str, Meta(description="The user's name. Or the environment variable `GMQ_AUTH_USER`.", examples=["gmq"])] = ""
    user_file: Annotated[
        str,
        Meta(
            description="A file that holds the user's name; a newline at its end does not count. Its changes take effect while the broker "
            "runs, as those of `password_file` do.",
            examples=["/run/secrets/gmq/user/username"],
        ),
    ] = ""
    password: Annotated[
        str,
        Meta(
            description="The user's password. Better in a file or in the environment variable `GMQ_AUTH_PASSWORD`.",
            examples=["correct horse battery staple"],
            extra={"secret": True},
        ),
    ] = ""
    password_file: Annotated[
        str,
        Meta(
            description="A file that holds the password, or its hash; a newline at its end does not count. Its changes take effect while "
            "the broker runs, see [security](security.md#changes).",
            examples=["/run/secrets/gmq/user/password"],
        ),
    ] = ""
    users_directory: Annotated[
        str,
        Meta(
            description="A folder with a file for each user, as a Secret is mounted; changes take effect while the broker runs. "
            "See [security](security.md#users).",
            examples=["/run/secrets/gmq-users"],
        ),
    ] = ""
    anonymous: Annotated[
        bool,
        Meta(
            description="Allow to listen beyond loopback without a user and password: whoever reaches the port may use the broker. "
            "Or the environment variable `GMQ_AUTH_ANONYMOUS`, `true` or `false`.",
            examples=[True],
        ),
    ] = False


class UserRule(Section, frozen=True, kw_only=True):
    """What a user may do with some queues."""

    queues: Annotated[
        tuple[QueuePattern, ...],
        Meta(description="Shell-style patterns for names of queues, case-sensitive, as in `policies`.", examples=[("orders.*",)]),
    ] = ("*",)
    rights: Annotated[
        tuple[Right, ...],
        Meta(
            description="`publish`; `subscribe` (take, acknowledge, put back, extend); `inspect` (length, list, look at, peek); "
            "`manage` (create, clear, delete, move, policy).",
            examples=[("publish", "inspect")],
        ),
    ] = RIGHTS


class Secrets(Section, frozen=True, kw_only=True):
    """How a user is known, and what it may do. A file of `auth.users_directory` has these as well."""

    password: Annotated[
        str,
        Meta(
            description="The password, or better its hash from `gmqserver hash-password`.",
            examples=["$argon2id$..."],
            extra={"secret": True},
        ),
    ] = ""
    token: Annotated[
        str,
        Meta(
            description="A secret for `Authorization: Bearer` over HTTP: at least 16 characters.", examples=["..."], extra={"secret": True}
        ),
    ] = ""
    allow: Annotated[
        tuple[UserRule, ...],
        Meta(
            description="Rules; a right is there where any of them gives it. Where this is left out everything is allowed, "
            "and nothing by `[]`.",
            extra={"default": "everything is allowed"},
        ),
    ] = ()


class UserSetting(Secrets, frozen=True, kw_only=True):
    """Users beside `auth.user`, see [security](security.md)."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="The user's name; with `tls.client_ca` a certificate's common name.",
            examples=["shop"],
        ),
    ]
    password_file: Annotated[
        str, Meta(description="A file that holds the password or its hash; it is followed.", examples=["/run/secrets/shop/password"])
    ] = ""
    token_file: Annotated[str, Meta(description="A file that holds the token; it is followed.", examples=["/run/secrets/shop/token"])] = ""


class Network(Section, frozen=True, kw_only=True):
    """Where and how the broker serves clients over TCP."""

    port: Annotated[
        Port,
        Meta(
            description='The port, as a number or in digits. `""` means 4884, as it did in the original; 0 lets the system choose one.',
            examples=["4567", 4567],
            extra={"range": '0 to 65535, or `""`'},
        ),
    ] = "4567"
    interface: Annotated[
        str,
        Meta(
            description='The address to listen on. `"localhost"` means the loopback addresses, `""` all addresses.',
            examples=["localhost", "::", "192.0.2.7", ""],
            extra={"range": "an IP address, a host name or empty"},
        ),
    ] = "localhost"
    protocol: Annotated[
        Literal["tcp", "tcp4", "tcp6", ""],
        Meta(description='`"tcp4"` is IPv4 only, `"tcp6"` IPv6 only, `"tcp"` or `""` both.', examples=["tcp4"]),
    ] = "tcp"
    request_timeout: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="A request that has begun must be complete by then, or its connection is closed.",
            examples=[10],
            extra={"unit": "s"},
        ),
    ] = 30.0
    write_timeout: Annotated[
        float,
        Meta(
            ge=0.1,
            le=86400,
            description="A client that takes none of the replies that wait for it for so long is let go, over TCP and over HTTP.",
            examples=[10],
            extra={"unit": "s"},
        ),
    ] = 60.0
    idle_timeout: Annotated[
        Annotated[float, Meta(ge=1, le=31_536_000)] | None,
        Meta(
            description="A connection that sends nothing for so long, and waits for nothing, is closed. Clients that keep connections "
            "for later do so for good reasons: they have to open them again then.",
            examples=[3600],
            extra={"unit": "s", "default": "never; over HTTP after an hour"},
        ),
    ] = None
    drain_timeout: Annotated[
        float,
        Meta(ge=0, le=3600, description="How long SIGTERM waits for clients to take their replies.", examples=[5], extra={"unit": "s"}),
    ] = 10.0


class Http(Section, frozen=True, kw_only=True):
    """The broker over HTTP: the interface for programs, the console, metrics and health."""

    enabled: Annotated[bool, Meta(description="Serve HTTP.", examples=[False])] = True
    port: Annotated[
        Port,
        Meta(
            description="The port, as a number or in digits; 0 lets the system choose one. The environment variable `PORT` overrides it.",
            examples=[8080],
            extra={"range": "0 to 65535"},
        ),
    ] = 8080
    interface: Annotated[
        str | None,
        Meta(
            description='The address to listen on. `"localhost"` means the loopback addresses, `""` all addresses.',
            examples=["localhost", ""],
            extra={"range": "an IP address, a host name or empty", "default": "`network.interface` with a section `http`, else loopback"},
        ),
    ] = None
    hosts: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...],
        Meta(
            description="Names, beside addresses and those of a cluster or a local network, by which browsers and clients reach this "
            'broker. `"*"` allows any. They only matter without authentication: a page from elsewhere must not reach the broker '
            "under a name of its own.",
            examples=[("queues.example.com",)],
        ),
    ] = ()


class Ops(Section, frozen=True, kw_only=True):
    """A second HTTP listener with `/metrics`, `/healthz` and `/readyz` alone, for probes and scrapers. It asks nobody who they are."""

    enabled: Annotated[bool, Meta(description="Serve it.", examples=[True])] = False
    port: Annotated[Port, Meta(description="The port; 0 lets the system choose one.", examples=[9567], extra={"range": "0 to 65535"})] = (
        9567
    )
    interface: Annotated[
        str,
        Meta(
            description='The address to listen on. `"localhost"` means the loopback addresses, `""` all addresses.',
            examples=["localhost", ""],
            extra={"range": "an IP address, a host name or empty"},
        ),
    ] = "localhost"


class Tls(Section, frozen=True, kw_only=True):
    """TLS for clients, on the ports of `network` and `http`; see [TLS](tls.md). Changed files are taken up without a restart."""

    certificate: Annotated[
        str,
        Meta(
            description="A file with the broker's certificate in PEM, and those between it and its authority after it. "
            "Without it there is no TLS.",
            examples=["/run/secrets/gmq-tls/tls.crt"],
        ),
    ] = ""
    key: Annotated[
        str,
        Meta(description="A file with the key to it, where that is not in the same file.", examples=["/run/secrets/gmq-tls/tls.key"]),
    ] = ""
    client_ca: Annotated[
        str,
        Meta(
            description="A file with the certificates that sign those of clients. With it every client must have one, "
            "and needs no password.",
            examples=["/run/secrets/gmq-clients/ca.crt"],
        ),
    ] = ""


class Metrics(Section, frozen=True, kw_only=True):
    """What `/metrics` tells."""

    queues: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_QUEUES,
            description="Queues that have series of their own; each takes 11. The others are shown together, as the queue `..`.",
            examples=[500],
        ),
    ] = DEFAULTS.queues


class Queue(Section, frozen=True, kw_only=True):
    """The original's limits and its choice of a storage, under their old names."""

    queue_type: Annotated[
        Literal[1, 2, 3] | None,
        Meta(description="The original's `storage.type`: 1 memory, 2 database, 3 filesystem.", examples=[1]),
    ] = None
    max_queue_number: Annotated[Queues | None, Meta(description="The original's `limits.queues`.", examples=[32])] = None
    max_message_length: Annotated[
        MessageSize | None, Meta(description="The original's `limits.message_size`.", examples=[4096], extra={"unit": "bytes"})
    ] = None
    max_queue_capacity: Annotated[QueueMessages | None, Meta(description="The original's `limits.queue_messages`.", examples=[4096])] = None


class Database(Section, frozen=True, kw_only=True):
    """The original's way to name the database of the storage `"mysql"`; the section `mysql` can say more."""

    vendor: Annotated[
        str, Meta(description="The kind of database.", examples=["mysql"], extra={"range": '`"mysql"`, `"mariadb"` or empty'})
    ] = ""
    dsn: Annotated[
        str,
        Meta(
            description="The data source name, in the form of Go's MySQL driver; see [mysql](mysql.md#the-originals-data-source-name).",
            examples=["user:password@(hostname:3306)/dbname"],
            extra={"secret": True},
        ),
    ] = ""


class MysqlTls(Section, frozen=True, kw_only=True):
    """TLS to the database. `{}` is enough where the system knows who signed the server's certificate."""

    verify: Annotated[
        Verify,
        Meta(
            description='What is checked: `"full"` the certificate and the host name in it, `"ca"` the certificate, `"none"` nothing.',
            examples=["ca"],
        ),
    ] = "full"
    ca: Annotated[
        str,
        Meta(description="A file with the certificates to trust; without it those that the system trusts.", examples=["/etc/gmq/ca.pem"]),
    ] = ""
    certificate: Annotated[
        str, Meta(description="A file with the broker's own certificate, for servers that ask for one.", examples=["/etc/gmq/client.pem"])
    ] = ""
    key: Annotated[
        str, Meta(description="A file with the key to it, where that is not in the same file.", examples=["/etc/gmq/client.key"])
    ] = ""


class Mysql(Section, frozen=True, kw_only=True):
    """The database of the storage `"mysql"`, see [mysql](mysql.md). With another storage it has no effect."""

    host: Annotated[str, Meta(description="The server's name or address, or the path of its socket.", examples=["db"])] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="The port of `host`.", examples=[3307])] = DEFAULT_PORT
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Several servers instead of `host`, each with or without a port: the first that can serve is used by all brokers.",
            examples=[("db-1", "db-2:3307")],
        ),
    ] = ()
    database: Annotated[str, Meta(description="The database's name. The broker makes its tables in it.", examples=["queues"])] = "gmq"
    user: Annotated[str, Meta(description="Or the environment variable `GMQ_MYSQL_USER`.", examples=["gmq"])] = ""
    user_file: Annotated[
        str, Meta(description="A file that holds the user; read for each new connection.", examples=["/run/secrets/gmq-db/username"])
    ] = ""
    password: Annotated[
        str,
        Meta(
            description="Better in a file or in the environment variable `GMQ_MYSQL_PASSWORD`.",
            examples=["correct horse battery staple"],
            extra={"secret": True},
        ),
    ] = ""
    password_file: Annotated[
        str, Meta(description="A file that holds the password; read for each new connection.", examples=["/run/secrets/gmq-db/password"])
    ] = ""
    tls: Annotated[MysqlTls, Meta(description="Use TLS; without it the connections are plain.", examples=[{}])] = field(
        default_factory=MysqlTls
    )
    pool_size: Annotated[int, Meta(ge=2, le=1000, description="Connections of this broker to the database.", examples=[8])] = (
        DEFAULT_POOL_SIZE
    )
    connect_timeout: Annotated[
        float, Meta(ge=0.1, le=3600, description="How long one host may take to accept a connection.", examples=[2], extra={"unit": "s"})
    ] = DEFAULT_CONNECT_TIMEOUT
    statement_timeout: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="How long one statement may take, and a transaction with its repeats.",
            examples=[5],
            extra={"unit": "s"},
        ),
    ] = DEFAULT_STATEMENT_TIMEOUT


class Filesystem(Section, frozen=True, kw_only=True):
    """The original's folder of messages, under its old name. It has an effect with the storage `"filesystem"` only."""

    path: Annotated[str, Meta(description="The original's `storage.path`. Empty counts as not set.", examples=["/var/lib/gmq"])] = ""


class Log(Section, frozen=True, kw_only=True):
    """What the broker tells about itself."""

    path: Annotated[
        str,
        Meta(
            description="A file to append to; folders that are missing are created. Empty: standard error.",
            examples=["/var/log/gmq/gmqserver.log"],
        ),
    ] = ""
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important lines to write.", examples=["debug"])
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description='`"auto"` is `"console"` on a terminal, and else `"json"`, one object per line.', examples=["json"]),
    ] = "auto"


class Storage(Section, frozen=True, kw_only=True):
    """Where messages are kept. The settings of one storage have no effect with another: to switch, change the `type` alone."""

    type: Annotated[
        StorageType,
        Meta(
            description='`"filesystem"`: files in a folder. `"mysql"`: a database, for any number of brokers. '
            '`"memory"`: messages are lost when the broker stops.',
            examples=["memory"],
        ),
    ] = "filesystem"
    path: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=LONGEST_STORAGE_PATH,
            description='With the storage `"filesystem"`: its folder, for one broker alone. It is made when it is missing.',
            examples=["/var/lib/gmq"],
        ),
    ] = "./gmq-data"
    segment_size: Annotated[
        int,
        Meta(
            ge=SMALLEST_SEGMENT,
            le=LARGEST_SEGMENT,
            description='With the storage `"filesystem"`: the size of one file of its journal.',
            examples=[4 << 20],
            extra={"unit": "bytes"},
        ),
    ] = 16 << 20
    checkpoint_size: Annotated[
        int,
        Meta(
            ge=SMALLEST_CHECKPOINT,
            le=LARGEST_CHECKPOINT,
            description='With the storage `"filesystem"`: after so much of the journal, the messages in it that are still there go to '
            "the queues' own files. More of it means fewer writes and a longer start after a crash.",
            examples=[256 << 20],
            extra={"unit": "bytes"},
        ),
    ] = 128 << 20


class LimitSettings(Section, frozen=True, kw_only=True):
    """At a limit a client gets a clear error at once, and what was there is untouched."""

    queues: Annotated[Queues, Meta(description="Queues.", examples=[100])] = DEFAULTS.queues
    message_size: Annotated[
        MessageSize, Meta(description="The size of one message, decoded from base64.", examples=[65536], extra={"unit": "bytes"})
    ] = DEFAULTS.message_size
    queue_messages: Annotated[
        QueueMessages, Meta(description="Messages of one queue: ready, delayed and leased ones together.", examples=[100000])
    ] = DEFAULTS.queue_messages
    connections: Annotated[
        Connections,
        Meta(
            description="Connections of clients at the same time, over TCP and HTTP together. Where the process may not have so many files "
            "open, what it may have, less 256, is the limit, and the log says so. The port of `ops` does not count.",
            examples=[1000],
        ),
    ] = DEFAULTS.connections
    connections_per_address: Annotated[
        Connections | None,
        Meta(
            description="Those of them that one address may have; an IPv6 network of 64 bits counts as one. Behind a proxy all clients "
            "have its address.",
            examples=[100],
            extra={"default": "as many as there may be"},
        ),
    ] = None
    waiting: Annotated[
        int,
        Meta(ge=1, le=MOST_WAITING, description="Takes that wait for a message, of all clients together.", examples=[10_000]),
    ] = DEFAULTS.waiting
    buffered: Annotated[
        Annotated[int, Meta(ge=1 << 20, le=NEVER)] | None,
        Meta(
            description="Bytes that wait in connections: requests that are not complete or had no turn, replies that were not read. "
            "Above it the connections that have held some for the longest are closed. What a connection has below 64 KiB does not count.",
            examples=[256 << 20],
            extra={
                "unit": "bytes",
                "range": "1 MiB or more, and room for the four largest requests",
                "default": "10 % of the memory that the container, or else the machine, has, or what is needed at least",
            },
        ),
    ] = None
    memory: Annotated[
        Annotated[int, Meta(ge=1, le=NEVER)] | None,
        Meta(
            description="Memory for all messages, with what keeping them costs: tiny ones, leases, deadlines and keys too. "
            "Above it publishes are refused, and takes go on; leases may take 15 % more.",
            examples=[1 << 30],
            extra={
                "unit": "bytes",
                "range": "1 byte or more",
                "default": "70 % of the memory that the container, or else the machine, has",
            },
        ),
    ] = None
    keys: Annotated[int, Meta(ge=1, le=MOST_KEYS, description="Deduplication keys that one queue remembers.", examples=[100000])] = (
        DEFAULTS.keys
    )


class Policy(Section, frozen=True, kw_only=True):
    """What the queues with names that match a pattern do by themselves. Of several policies that match, the first in the list counts."""

    name: Annotated[PolicyName, Meta(description="The policy's own name, unique in the list.", examples=["default"])]
    pattern: Annotated[
        QueuePattern,
        Meta(
            description="A shell-style pattern for names of queues, case-sensitive: `*` any characters, `?` one, `[ab]` one of these.",
            examples=["orders.*"],
        ),
    ]
    max_messages: Annotated[
        QueueMessages | None,
        Meta(
            description="Messages of such a queue: ready, delayed and leased ones together. A full queue refuses publishes.",
            examples=[1000],
            extra={"range": "1 to `limits.queue_messages`"},
        ),
    ] = None
    max_deliveries: Annotated[
        Deliveries | None,
        Meta(description="A message handed out so often under a lease that comes back is a dead letter.", examples=[5]),
    ] = None
    dead_letter: Annotated[
        str | None,
        Meta(
            description="The queue that gets the dead letters; without one they are dropped. That queue itself has no dead letters.",
            examples=["dead"],
            extra={"range": "a queue's name"},
        ),
    ] = None
    ttl: Annotated[
        Ttl | None,
        Meta(
            description="Messages that nobody took are dropped after this, unless their publish says more.",
            examples=[3600],
            extra={"unit": "s"},
        ),
    ] = None
    lease: Annotated[
        Lease | None,
        Meta(description='The length that `"lease": true` means.', examples=[60], extra={"unit": "s", "default": f"{DEFAULT_LEASE:g}"}),
    ] = None
    expires: Annotated[
        Expires | None,
        Meta(description="A queue that was empty and not used for so long is deleted.", examples=[86400], extra={"unit": "s"}),
    ] = None


class Settings(Section, frozen=True, kw_only=True):
    """The whole document."""

    auth: Auth = field(default_factory=Auth)
    network: Network = field(default_factory=Network)
    http: Http = field(default_factory=Http)
    ops: Ops = field(default_factory=Ops)
    tls: Tls = field(default_factory=Tls)
    users: tuple[UserSetting, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)
    storage: Storage = field(default_factory=Storage)
    limits: LimitSettings = field(default_factory=LimitSettings)
    policies: tuple[Policy, ...] = ()
    log: Log = field(default_factory=Log)
    queue: Queue = field(default_factory=Queue)
    database: Database = field(default_factory=Database)
    mysql: Mysql = field(default_factory=Mysql)
    filesystem: Filesystem = field(default_factory=Filesystem)
