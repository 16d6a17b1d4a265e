"""The GmqServer as typed values, and every rule about it. The CustomResourceDefinition and docs/gmqserver.md are made from this page."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

GROUP = "gmq.io"
VERSION = "v1beta1"
KIND = "GmqServer"
PLURAL = "gmqservers"

StorageType = Literal["memory", "mysql", "filesystem"]
Json = Mapping[str, Any]
"""An object of a Kubernetes type that passes through: the API server checks it where it is used."""


class Section(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An object of the spec."""


class Reference(Section, frozen=True, kw_only=True):
    """Another object of the same namespace."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]


class MemoryStorage(Section, frozen=True, kw_only=True):
    """Messages in memory alone."""


class FilesystemStorage(Section, frozen=True, kw_only=True):
    """Messages on a volume."""

    size: str = "10Gi"
    storage_class_name: str | None = None
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    when_deleted: Literal["Retain", "Delete"] = "Retain"


class MysqlTls(Section, frozen=True, kw_only=True):
    """TLS to the database."""

    ca_secret_ref: Reference | None = None


class MysqlStorage(Section, frozen=True, kw_only=True):
    """Messages in a database."""

    host: str
    port: int = 3306
    database: str = "gmq"
    credentials_secret_ref: Reference
    tls: MysqlTls | None = None


class Storage(Section, frozen=True, kw_only=True):
    """Where messages are kept."""

    type: StorageType
    memory: MemoryStorage | None = None
    filesystem: FilesystemStorage | None = None
    mysql: MysqlStorage | None = None
    switch_from: StorageType | None = None


class Auth(Section, frozen=True, kw_only=True):
    """Who may use the broker."""

    mode: Literal["Generated", "Secret", "Disabled"] = "Generated"
    users_secret_ref: Reference | None = None


class Tls(Section, frozen=True, kw_only=True):
    """TLS to clients."""

    secret_ref: Reference
    client_ca_secret_ref: Reference | None = None


class Limits(Section, frozen=True, kw_only=True):
    """Limits of the broker; what is left out has the broker's own default."""

    queues: int | None = None
    message_size: int | str | None = None
    queue_messages: int | None = None
    connections: int | None = None


class Policy(Section, frozen=True, kw_only=True):
    """What queues do by themselves, as in the broker's configuration."""

    name: str
    pattern: str
    max_messages: int | None = None
    max_deliveries: int | None = None
    dead_letter: str | None = None
    ttl: float | None = None
    lease: float | None = None
    expires: float | None = None


class Service(Section, frozen=True, kw_only=True):
    """The Service that clients connect to."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    annotations: Mapping[str, str] = field(default_factory=dict)
    http: bool = True
    load_balancer_class: str | None = None
    load_balancer_source_ranges: tuple[str, ...] = ()


class Monitoring(Section, frozen=True, kw_only=True):
    """What Prometheus gets."""

    service_monitor: bool = False


class Pod(Section, frozen=True, kw_only=True):
    """What the broker's pods have beside what the operator gives them."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    resources: Json = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Json, ...] = ()
    affinity: Json = field(default_factory=dict)
    topology_spread_constraints: tuple[Json, ...] = ()
    priority_class_name: str | None = None
    env: tuple[Json, ...] = ()
    override: Json = field(default_factory=dict)


class Spec(Section, frozen=True, kw_only=True):
    """What a user asks for."""

    replicas: int = 1
    image: str | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Reference, ...] = ()
    storage: Storage
    auth: Auth = Auth()
    tls: Tls | None = None
    limits: Limits = Limits()
    policies: tuple[Policy, ...] = ()
    config: Json = field(default_factory=dict)
    service: Service = Service()
    monitoring: Monitoring = Monitoring()
    pod: Pod = field(default_factory=Pod)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    paused: bool = False


class GmqServer(Struct, frozen=True, kw_only=True):
    """One GmqServer with a spec that keeps every rule."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: Spec


class SpecError(Exception):
    """The spec breaks rules; `problems` has a sentence for each, which begins with the path, such as `spec.storage.filesystem.size`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse(body: Json) -> GmqServer:
    """Read a GmqServer as the API server gives it.

    Raises:
        SpecError: it breaks rules, all of which are told.
    """
    raise NotImplementedError
