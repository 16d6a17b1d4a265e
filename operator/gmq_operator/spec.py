"""A GmqServer read from what the API server gives, and every rule about it that its fields' types cannot say."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct, structs

from gmq.database import parse_host
from gmq.document import Reading, found
from gmq.message import GmqError
from gmq.settings import DEFAULTS, LARGEST_MESSAGE
from gmq.validate import check_name, quote
from gmq_operator.brokerconfig import OWNED_VARIABLES, check_config
from gmq_operator.fields import (
    GROUP,
    KIND,
    LONGEST_NAME,
    PLURAL,
    SMALLEST_VOLUME,
    VERSION,
    AccessMode,
    Auth,
    FilesystemStorage,
    Json,
    Limits,
    MemoryStorage,
    Monitoring,
    MysqlStorage,
    MysqlTls,
    Pod,
    Policy,
    Reference,
    Section,
    Service,
    Spec,
    Storage,
    StorageType,
    Tls,
)
from gmq_operator.names import SERVICE_NAME, check_annotations, check_key, check_labels, matches
from gmq_operator.quantity import parse_quantity

__all__ = [
    "GROUP",
    "KIND",
    "PLURAL",
    "VERSION",
    "AccessMode",
    "Auth",
    "FilesystemStorage",
    "GmqServer",
    "Json",
    "Limits",
    "MemoryStorage",
    "Monitoring",
    "MysqlStorage",
    "MysqlTls",
    "Pod",
    "Policy",
    "Reference",
    "Section",
    "Service",
    "Spec",
    "SpecError",
    "Storage",
    "StorageType",
    "Tls",
    "parse",
]

OWN_LABELS = frozenset(f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "managed-by", "part-of"))
"""Labels of pods that are the operator's: its Services find them by these."""

DEEPEST = 100
"""Levels of objects and lists in a member of the spec: no PodSpec has a third of it, and an API server takes a hundred times as many."""

_ONE_BROKER: Mapping[StorageType, str] = {
    "memory": "each would have messages of its own",
    "filesystem": "only one broker may use a volume",
}


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
    """Read a GmqServer as the API server gives it. A member that is null counts as left out.

    The spec that comes back has `storage` with the member of its type, `limits.message_size` in bytes, and sizes of volumes as strings.

    Raises:
        SpecError: it breaks rules, all of which are told.
    """
    reading = Reading()
    metadata = body["metadata"]
    _check_name(metadata["name"], reading)
    spec = None
    if body.get("spec") is None:
        reading.problem("spec", "is missing; it must be an object, with storage at least")
    else:
        spec = reading.struct(Spec, _with_quantities(_without_depths(body["spec"], reading)), "spec")
    if spec is not None:
        spec = _resolved(spec, reading)
        _check(spec, reading)
    if spec is None or reading.problems:
        raise SpecError(reading.problems)
    return GmqServer(
        namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"], generation=metadata["generation"], spec=spec
    )


def _without_depths(spec: object, reading: Reading) -> object:
    """The spec without members that are nested so deeply that to go down them would come to the end of the stack."""
    if not isinstance(spec, Mapping):
        return spec
    too_deep = [member for member, value in spec.items() if _is_deeper(value, DEEPEST)]
    for member in too_deep:
        reading.problem(f"spec.{member}", f"is nested more than {DEEPEST} levels deep")
    return {member: value for member, value in spec.items() if member not in too_deep}


def _is_deeper(value: object, levels: int) -> bool:
    """Whether there are objects or lists in one another, more than so many: found level by level, without going down."""
    level = [value]
    for _ in range(levels + 1):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _with_quantities(spec: object) -> object:
    """The spec with a size of a volume that is a number as a string: a quantity may be either."""
    match spec:
        case {"storage": {"filesystem": {"size": int() as size, **filesystem}, **storage}, **rest} if not isinstance(size, bool):
            return {**rest, "storage": {**storage, "filesystem": {**filesystem, "size": str(size)}}}
    return dict(spec) if isinstance(spec, Mapping) else spec


def _resolved(spec: Spec, reading: Reading) -> Spec:
    """The spec with the defaults that depend on other fields, and the message size in bytes."""
    storage, limits = spec.storage, spec.limits
    if storage.type == "filesystem" and storage.filesystem is None:
        storage = structs.replace(storage, filesystem=FilesystemStorage())
    if storage.type == "memory" and storage.memory is None:
        storage = structs.replace(storage, memory=MemoryStorage())
    if limits.message_size is not None:
        limits = structs.replace(limits, message_size=_message_size(limits.message_size, reading))
    return structs.replace(spec, storage=storage, limits=limits)


def _message_size(size: int | str, reading: Reading) -> int | None:
    try:
        number = parse_quantity(size)
    except ValueError:
        number = Decimal(0)
    if 1 <= number <= LARGEST_MESSAGE and number == int(number):
        return int(number)
    largest = f"{LARGEST_MESSAGE >> 20}Mi"
    reading.problem("spec.limits.messageSize", f"is {found(size)}; it must be whole bytes from 1 to {largest}, such as 64Ki or 65536")
    return None


def _check(spec: Spec, reading: Reading) -> None:
    _check_storage(spec, reading)
    _check_auth(spec.auth, reading)
    _check_unique("spec.imagePullSecrets", "name", [secret.name for secret in spec.image_pull_secrets], reading)
    _check_policies(spec, reading)
    message_size = spec.limits.message_size
    check_config(spec.config, message_size if isinstance(message_size, int) else None, reading)
    _check_database_tls(spec, reading)
    _check_service(spec.service, reading)
    _check_pod(spec.pod, reading)


def _check_name(name: str, reading: Reading) -> None:
    if len(name) > LONGEST_NAME or not matches(SERVICE_NAME, name):
        allowed = f"lower-case letters, digits and hyphens, begin with a letter, and have up to {LONGEST_NAME} characters"
        reading.problem("metadata.name", f"is {quote(name)}; it must be {allowed}: it names the Service")


def _check_storage(spec: Spec, reading: Reading) -> None:
    storage = spec.storage
    if not reading.sound("spec.storage.type"):
        return
    for member in ("memory", "filesystem", "mysql"):
        path = f"spec.storage.{member}"
        if member != storage.type and path in reading.given:
            reading.problem(path, f"is set, and spec.storage.type is {quote(storage.type)}; only the member of that type may be set")
    if storage.type == "mysql" and storage.mysql is None and reading.sound("spec.storage.mysql"):
        reading.problem("spec.storage.mysql", "is missing; the type mysql needs it, with host and credentialsSecretRef")
    if storage.mysql is not None and reading.sound("spec.storage.mysql"):
        _check_database(storage.mysql, reading)
    if storage.switch_from == storage.type:
        reading.problem("spec.storage.switchFrom", f"is {quote(storage.type)}, as is spec.storage.type; it must be the type of before")
    if spec.replicas > 1 and storage.type != "mysql" and reading.sound("spec.replicas"):
        reading.problem(
            "spec.replicas", f"is {spec.replicas}; it must be 0 or 1 with the storage {storage.type}: {_ONE_BROKER[storage.type]}"
        )
    if storage.filesystem is not None and reading.sound("spec.storage.filesystem"):
        _check_filesystem(storage.filesystem, reading)


def _check_database(mysql: MysqlStorage, reading: Reading) -> None:
    try:
        parse_host(mysql.host, mysql.port)
    except ValueError:
        allowed = "a name or an address, such as db or [::1]"
        reading.problem("spec.storage.mysql.host", f"is {quote(mysql.host)}; it must be {allowed}")


def _check_filesystem(filesystem: FilesystemStorage, reading: Reading) -> None:
    if parse_quantity(filesystem.size) < parse_quantity(SMALLEST_VOLUME):
        reading.problem("spec.storage.filesystem.size", f"is {quote(filesystem.size)}; it must be {SMALLEST_VOLUME} or more, such as 10Gi")
    _check_unique("spec.storage.filesystem.accessModes", "", filesystem.access_modes, reading)
    if "ReadWriteOncePod" in filesystem.access_modes and len(filesystem.access_modes) > 1:
        text = f"is {found(list(filesystem.access_modes))}; ReadWriteOncePod may not be beside another mode"
        reading.problem("spec.storage.filesystem.accessModes", text)


def _check_database_tls(spec: Spec, reading: Reading) -> None:
    path = "spec.config.mysql.tls"
    if path not in reading.given or not reading.sound(path):
        return
    if spec.storage.mysql is None or spec.storage.mysql.tls is None:
        reading.problem(path, "is set, but not spec.storage.mysql.tls, which it is a part of")
    tls = spec.config["mysql"]["tls"]
    if tls.get("key") and not tls.get("certificate"):
        reading.problem(f"{path}.key", f"is set, but no {path}.certificate that it belongs to")


def _check_auth(auth: Auth, reading: Reading) -> None:
    path = "spec.auth.usersSecretRef"
    if not reading.sound("spec.auth"):
        return
    if auth.mode == "Secret" and auth.users_secret_ref is None:
        reading.problem(path, "is missing; the mode Secret needs it")
    if auth.mode != "Secret" and auth.users_secret_ref is not None:
        reading.problem(path, f"is set, and spec.auth.mode is {quote(auth.mode)}; it may be set only with the mode Secret")


def _check_policies(spec: Spec, reading: Reading) -> None:
    """What the fields' types cannot say. Left out where items may be missing, as the limit is where it is in doubt."""
    if not reading.sound("spec.policies"):
        return
    _check_unique("spec.policies", "name", [policy.name for policy in spec.policies], reading)
    limit = spec.limits.queue_messages or DEFAULTS.queue_messages
    for index, policy in enumerate(spec.policies):
        path = f"spec.policies[{index}]"
        if policy.max_messages is not None and policy.max_messages > limit and reading.sound("spec.limits"):
            text = f"is {policy.max_messages}; it may be 1 to {limit}, the limit of spec.limits.queueMessages"
            reading.problem(f"{path}.maxMessages", text)
        if policy.dead_letter is not None:
            where = f"{path}.deadLetter"
            try:
                check_name(policy.dead_letter, where)
            except GmqError as error:
                reading.problem(where, error.text.removeprefix(f"{where} "))


def _check_service(service: Service, reading: Reading) -> None:
    if service.type != "LoadBalancer" and reading.sound("spec.service.type"):
        for member, value in (("Class", service.load_balancer_class), ("SourceRanges", service.load_balancer_source_ranges)):
            if value:
                text = f"is set, and spec.service.type is {quote(service.type)}; it may be set only with LoadBalancer"
                reading.problem(f"spec.service.loadBalancer{member}", text)
    if service.load_balancer_class is not None and (wrong := check_key(service.load_balancer_class)):
        reading.problem("spec.service.loadBalancerClass", f"is {quote(service.load_balancer_class)}; {wrong}")
    _check_unique("spec.service.loadBalancerSourceRanges", "", service.load_balancer_source_ranges, reading)
    for index, network in enumerate(service.load_balancer_source_ranges):
        if not _is_network(network):
            where = f"spec.service.loadBalancerSourceRanges[{index}]"
            reading.problem(where, f"is {quote(network)}; it must be a network in CIDR form, such as 192.0.2.0/24, without bits of hosts")
    check_annotations(service.annotations, "spec.service.annotations", reading.problem)


def _is_network(text: str) -> bool:
    """Whether the API server takes it for one too: with the number of bits, not a mask, and of no interface."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    return text.endswith(f"/{network.prefixlen}") and "%" not in text


def _check_pod(pod: Pod, reading: Reading) -> None:
    check_labels(pod.labels, "spec.pod.labels", reading.problem)
    for member, keys in (("labels", pod.labels), ("annotations", pod.annotations)):
        for key in keys:
            if key in OWN_LABELS or key.startswith(f"{GROUP}/"):
                reading.problem(f"spec.pod.{member}[{quote(key)}]", "may not be set here; it is the operator's own")
    check_annotations(pod.annotations, "spec.pod.annotations", reading.problem)
    check_labels(pod.node_selector, "spec.pod.nodeSelector", reading.problem)
    names = [variable.get("name") for variable in pod.env]
    for index, name in enumerate(names):
        path = f"spec.pod.env[{index}].name"
        if not isinstance(name, str) or not name:
            reading.problem(path, "is missing; it must be a string" if name is None else f"is {found(name)}; it must be a variable's name")
        elif name in OWNED_VARIABLES:
            reading.problem(path, f"is {quote(name)}; {OWNED_VARIABLES[name]}")
    _check_unique("spec.pod.env", "name", [name for name in names if isinstance(name, str)], reading)


def _check_unique(path: str, member: str, values: Sequence[str], reading: Reading) -> None:
    """Refuse values that are in a list more than once; `member` is theirs in the list's items, empty where they are the items."""
    for value in [value for value, count in Counter(values).items() if count > 1]:
        inner = f"{path}[{values.index(value)}]" + (f".{member}" if member else "")
        again = f"{path}[{len(values) - 1 - values[::-1].index(value)}]" + (f".{member}" if member else "")
        reading.problem(again, f"is {quote(value)}, and so is {inner}; each may be there once")
