"""Every field of a GmqServer's spec with its type, range, default and description, once.

The CustomResourceDefinition and docs/gmqserver.md are made from this page; the rules that a type cannot say are in spec.py.

Ranges that the broker has too are the broker's own. `extra` holds what a type cannot say: `unit`, `quantity` (an integer or a Kubernetes
quantity), and `kind`, `range`, `allowed` or `default` in words.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, field

from gmq.settings import (
    DEFAULTS,
    LARGEST_MESSAGE,
    Connections,
    Deliveries,
    Expires,
    Lease,
    PolicyName,
    QueueMessages,
    QueuePattern,
    Queues,
    Ttl,
)
from gmq_operator.names import LONGEST_SUBDOMAIN, SUBDOMAIN, SUBDOMAIN_WORDS
from gmq_operator.quantity import LONGEST as LONGEST_QUANTITY
from gmq_operator.quantity import PATTERN as QUANTITY

GROUP = "gmq.io"
VERSION = "v1beta1"
KIND = "GmqServer"
PLURAL = "gmqservers"

LONGEST_NAME = 50
"""Of a GmqServer: children have its name with something after it, and a Service's name has up to 63 characters."""
MOST_REPLICAS = 100
MOST_POLICIES = 1000
MOST_VARIABLES = 1000
SMALLEST_VOLUME = "1Mi"

StorageType = Literal["memory", "mysql", "filesystem"]
AccessMode = Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]
Json = Mapping[str, Any]
"""An object of a Kubernetes type that passes through: the API server checks it where it is used."""

ObjectName = Annotated[
    str, Meta(min_length=1, max_length=LONGEST_SUBDOMAIN, pattern=SUBDOMAIN, extra={"allowed": SUBDOMAIN_WORDS, "range": SUBDOMAIN_WORDS})
]


class Section(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An object of the spec."""


class Reference(Section, frozen=True, kw_only=True):
    """Another object of the same namespace."""

    name: Annotated[ObjectName, Meta(description="The object's name.", examples=["gmq-users"])]


class MemoryStorage(Section, frozen=True, kw_only=True):
    """Messages in memory alone: they are lost when the broker stops. There is nothing to set."""


class FilesystemStorage(Section, frozen=True, kw_only=True):
    """Messages on a volume, which a PersistentVolumeClaim of the server's own asks for. All of it has defaults."""

    size: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=LONGEST_QUANTITY,
            pattern=QUANTITY,
            description="The volume's size. It can grow where the storage class allows that, and never shrink.",
            examples=["50Gi"],
            extra={
                "quantity": True,
                "kind": "quantity",
                "range": f"{SMALLEST_VOLUME} or more",
                "allowed": f"a quantity of {SMALLEST_VOLUME} or more, such as 10Gi",
            },
        ),
    ] = "10Gi"
    storage_class_name: Annotated[
        ObjectName | None,
        Meta(
            description="The volume's StorageClass. It cannot be changed later.",
            examples=["fast"],
            extra={"default": "the cluster's default class", "allowed": SUBDOMAIN_WORDS, "range": "a StorageClass's name"},
        ),
    ] = None
    access_modes: Annotated[
        tuple[AccessMode, ...],
        Meta(
            min_length=1,
            max_length=len(get_args(AccessMode)),
            description="How the volume may be mounted. Only one broker uses it at a time, whatever they are. They cannot change later.",
            examples=[("ReadWriteOncePod",)],
            extra={"default": '["ReadWriteOnce"]'},
        ),
    ] = ("ReadWriteOnce",)
    when_deleted: Annotated[
        Literal["Retain", "Delete"],
        Meta(
            description="What becomes of the claim when the server is deleted. Retain: it stays, and a "
            "server of the same name takes it up again. Delete: it goes, and the messages with it.",
            examples=["Delete"],
        ),
    ] = "Retain"


class MysqlTls(Section, frozen=True, kw_only=True):
    """TLS to the database. An empty object is enough where the broker's image knows who signed the database's certificate."""

    ca_secret_ref: Annotated[
        Reference | None,
        Meta(
            description="A Secret whose key `ca.crt` has the certificates, in PEM, that sign the database's.",
            extra={"default": "those that the image trusts"},
        ),
    ] = None


class MysqlStorage(Section, frozen=True, kw_only=True):
    """Messages in a database of MySQL 8.0.1 or newer or MariaDB 10.6 or newer, which any number of brokers may share."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="The database server's name or address.", examples=["db"])]
    port: Annotated[int, Meta(ge=1, le=65535, description="The database server's port.", examples=[3307])] = 3306
    database: Annotated[
        str, Meta(min_length=1, max_length=64, description="The database's name. The broker makes its tables in it.", examples=["queues"])
    ] = "gmq"
    credentials_secret_ref: Annotated[
        Reference,
        Meta(description="A Secret with the keys `username` and `password` to log in with. A changed one is taken up without a restart."),
    ]
    tls: Annotated[MysqlTls | None, Meta(description=f"{MysqlTls.__doc__} Without it the connections are plain.")] = None


class Storage(Section, frozen=True, kw_only=True):
    """Where messages are kept. Beside `type` only the member of that type may be set."""

    type: Annotated[
        StorageType,
        Meta(
            description="filesystem: on a volume, for one broker. mysql: in a database, for any number of brokers. memory: "
            "they are lost when the broker stops. To change the type of a server that exists, set switchFrom too.",
            examples=["filesystem"],
        ),
    ]
    memory: Annotated[MemoryStorage | None, Meta(description=MemoryStorage.__doc__)] = None
    filesystem: Annotated[FilesystemStorage | None, Meta(description=FilesystemStorage.__doc__)] = None
    mysql: Annotated[MysqlStorage | None, Meta(description=f"{MysqlStorage.__doc__} Required with the type mysql.")] = None
    switch_from: Annotated[
        StorageType | None,
        Meta(
            description="The type that the server has now, when type becomes another one: it says that the messages may stay behind, as "
            "they are not moved. It may stay afterwards, and has no effect then.",
            examples=["memory"],
        ),
    ] = None


class Auth(Section, frozen=True, kw_only=True):
    """Who may use the broker."""

    mode: Annotated[
        Literal["Generated", "Secret", "Disabled"],
        Meta(
            description="Generated: one user, whose name and password are in the Secret that status.binding names; the operator makes it "
            "once. Secret: the users of usersSecretRef. Disabled: whoever reaches the broker may use it.",
            examples=["Secret"],
        ),
    ] = "Generated"
    users_secret_ref: Annotated[
        Reference | None,
        Meta(
            description="With the mode Secret, which needs it: a Secret with a key for each user, as in the broker's folder of users "
            "(auth.users_directory). A changed one is taken up without a restart.",
        ),
    ] = None


class Tls(Section, frozen=True, kw_only=True):
    """TLS to clients, over TCP and over HTTP. Without it both are plain."""

    secret_ref: Annotated[
        Reference,
        Meta(
            description="A Secret whose keys `tls.crt` and `tls.key` have the broker's certificate and its key, as cert-manager makes it. "
            "A changed one is taken up without a restart."
        ),
    ]
    client_ca_secret_ref: Annotated[
        Reference | None,
        Meta(
            description="A Secret whose key `ca.crt` has the certificates that sign those of clients. With it every client must have one, "
            "and needs no password.",
        ),
    ] = None


class Limits(Section, frozen=True, kw_only=True):
    """Limits of the broker. At a limit a client gets a clear error at once, and what was there is untouched."""

    queues: Annotated[Queues | None, Meta(description="Queues.", examples=[100], extra={"default": str(DEFAULTS.queues)})] = None
    message_size: Annotated[
        int | str | None,
        Meta(
            description="The size of one message, decoded from base64.",
            examples=["64Ki", 65536],
            extra={
                "quantity": True,
                "kind": "quantity",
                "minimum": 1,
                "maximum": LARGEST_MESSAGE,
                "range": f"1 to {LARGEST_MESSAGE >> 20}Mi bytes",
                "allowed": f"a quantity of 1 to {LARGEST_MESSAGE >> 20}Mi bytes, such as 64Ki or 65536",
                "default": f"{DEFAULTS.message_size >> 20}Mi",
            },
        ),
    ] = None
    queue_messages: Annotated[
        QueueMessages | None,
        Meta(
            description="Messages of one queue: ready, delayed and leased ones together.",
            examples=[100000],
            extra={"default": str(DEFAULTS.queue_messages)},
        ),
    ] = None
    connections: Annotated[
        Connections | None,
        Meta(
            description="Connections of clients at the same time, of each broker, over TCP and HTTP together.",
            examples=[1000],
            extra={"default": str(DEFAULTS.connections)},
        ),
    ] = None


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
            extra={"range": "1 to `spec.limits.queueMessages`"},
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
            extra={"range": "a queue's name", "queue": True},
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
        Meta(description="The length of a lease for which a client names none.", examples=[60], extra={"unit": "s", "default": "30"}),
    ] = None
    expires: Annotated[
        Expires | None,
        Meta(description="A queue that was empty and not used for so long is deleted.", examples=[86400], extra={"unit": "s"}),
    ] = None


class Service(Section, frozen=True, kw_only=True):
    """The Service that clients connect to. It has the server's name."""

    type: Annotated[
        Literal["ClusterIP", "NodePort", "LoadBalancer"], Meta(description="The Service's type.", examples=["LoadBalancer"])
    ] = "ClusterIP"
    annotations: Annotated[
        Mapping[str, str], Meta(description="Annotations of the Service.", examples=[{"example.com/internal": "true"}])
    ] = field(default_factory=dict)
    http: Annotated[bool, Meta(description="Serve HTTP: the interface for programs and the console.", examples=[False])] = True
    load_balancer_class: Annotated[
        Annotated[str, Meta(min_length=1, max_length=317)] | None,
        Meta(
            description="Which load balancer serves it, with the type LoadBalancer alone. It cannot be changed later.",
            examples=["example.com/internal"],
            extra={"range": "a label's key", "default": "the cluster's default one"},
        ),
    ] = None
    load_balancer_source_ranges: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(
            description="Networks that may connect, with the type LoadBalancer alone.",
            examples=[("192.0.2.0/24",)],
            extra={"range": "networks in CIDR form", "default": "any network"},
        ),
    ] = ()


class Monitoring(Section, frozen=True, kw_only=True):
    """What Prometheus gets."""

    service_monitor: Annotated[
        bool,
        Meta(description="Make a ServiceMonitor, with which the Prometheus operator finds the broker's metrics.", examples=[True]),
    ] = False


class Pod(Section, frozen=True, kw_only=True):
    """What the broker's pods have beside what the operator gives them. A change starts them anew."""

    labels: Annotated[Mapping[str, str], Meta(description="Labels of the pods, beside the operator's own.", examples=[{"team": "a"}])] = (
        field(default_factory=dict)
    )
    annotations: Annotated[Mapping[str, str], Meta(description="Annotations of the pods.", examples=[{"example.com/scrape": "false"}])] = (
        field(default_factory=dict)
    )
    resources: Annotated[
        Json,
        Meta(
            description="Requests and limits of the broker's container, as in a Pod. Messages may take 70 % of the memory limit.",
            extra={"default": "requests of 100m of cpu and 512Mi of memory, and a limit of 512Mi of memory"},
            examples=[{"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}],
        ),
    ] = field(default_factory=dict)
    node_selector: Annotated[
        Mapping[str, str], Meta(description="Labels of the nodes that may run the pods.", examples=[{"disk": "ssd"}])
    ] = field(default_factory=dict)
    tolerations: Annotated[
        tuple[Json, ...],
        Meta(description="Taints of nodes that the pods tolerate, as in a Pod.", examples=[({"key": "queues", "operator": "Exists"},)]),
    ] = ()
    affinity: Annotated[Json, Meta(description="Which nodes and neighbours the pods prefer, as in a Pod.")] = field(default_factory=dict)
    topology_spread_constraints: Annotated[
        tuple[Json, ...], Meta(description="How the pods are spread over zones and nodes, as in a Pod.")
    ] = ()
    priority_class_name: Annotated[
        ObjectName | None,
        Meta(
            description="The pods' PriorityClass.",
            examples=["important"],
            extra={"allowed": SUBDOMAIN_WORDS, "range": "a PriorityClass's name"},
        ),
    ] = None
    env: Annotated[
        tuple[Json, ...],
        Meta(
            description="More environment variables of the broker's container, as in a Pod. Those that the broker reads are refused.",
            examples=[({"name": "TZ", "value": "Europe/Rome"},)],
            max_length=MOST_VARIABLES,
            extra={"named": True},
        ),
    ] = ()
    override: Annotated[
        Json,
        Meta(
            description="A part of a PodSpec that is merged into what the operator made, strategically and last: a further container, say. "
            "The broker's own container is named gmq.",
            examples=[{"terminationGracePeriodSeconds": 120}],
        ),
    ] = field(default_factory=dict)


class Spec(Section, frozen=True, kw_only=True):
    """What is asked for."""

    replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_REPLICAS,
            description="Brokers. 0 stops the server; its messages stay, unless they are in memory. More than 1 needs the storage mysql.",
            examples=[3],
        ),
    ] = 1
    image: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^\S+\Z")] | None,
        Meta(
            description="The broker's image.",
            examples=["registry.example.com/gmq:0.1.0"],
            extra={"default": "the operator's own image", "range": "an image's name", "allowed": "an image's name, without blanks"},
        ),
    ] = None
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"] | None,
        Meta(
            description="When nodes pull the image.",
            examples=["IfNotPresent"],
            extra={"default": "Kubernetes' own: Always for the tag latest, else IfNotPresent"},
        ),
    ] = None
    image_pull_secrets: Annotated[
        tuple[Reference, ...], Meta(description="Secrets with which nodes pull the image.", examples=[({"name": "registry"},)])
    ] = ()
    storage: Storage
    auth: Auth = Auth()
    tls: Annotated[Tls | None, Meta(description=Tls.__doc__)] = None
    limits: Limits = Limits()
    policies: Annotated[tuple[Policy, ...], Meta(max_length=MOST_POLICIES, description=Policy.__doc__)] = ()
    config: Annotated[
        Json,
        Meta(
            description="Further settings of the broker, in the shape of its configuration file (docs/configuration.md), such as "
            "{limits: {waiting: 1000}}. Settings that the operator writes are refused, and the refusal tells what to set instead.",
            examples=[{"network": {"idle_timeout": 3600}}],
        ),
    ] = field(default_factory=dict)
    service: Service = Service()
    monitoring: Monitoring = Monitoring()
    pod: Pod = field(default_factory=Pod)
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important lines that the broker logs.", examples=["debug"]),
    ] = "info"
    paused: Annotated[
        bool,
        Meta(
            description="Leave everything as it is: the operator changes nothing of this server, and repairs nothing, until this is false.",
            examples=[True],
        ),
    ] = False
