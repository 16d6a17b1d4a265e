"""`spec.config`: settings of the broker's own configuration, without those that the operator writes itself."""

from collections.abc import Mapping
from typing import Any

from gmq.config import (
    ANONYMOUS_VARIABLE,
    MYSQL_PASSWORD_VARIABLE,
    MYSQL_USER_VARIABLE,
    PASSWORD_VARIABLE,
    PORT_VARIABLE,
    REQUESTS_BUFFERED,
    USER_VARIABLE,
)
from gmq.document import Reading
from gmq.protocol import line_limit
from gmq.settings import DEFAULTS, Settings

_STORAGE = "set spec.storage instead"
_AUTH = "set spec.auth instead"
_USERS = "set spec.auth.mode to Secret and spec.auth.usersSecretRef instead"
_CREDENTIALS = "set spec.storage.mysql.credentialsSecretRef instead"
_PROBED = "the operator sets it: the probes and the Service lead to it"
_LOGS = "the operator sets it: logs go to standard error as JSON, for `kubectl logs`"

OWNED: Mapping[str, str] = {
    "auth": _AUTH,
    "users": _USERS,
    "network.port": _PROBED,
    "network.interface": _PROBED,
    "network.protocol": _PROBED,
    "http.enabled": "set spec.service.http instead",
    "http.port": _PROBED,
    "http.interface": _PROBED,
    "ops": _PROBED,
    "tls": "set spec.tls instead",
    "storage.type": "set spec.storage.type instead",
    "storage.path": "the operator sets it: the volume of spec.storage.filesystem is there",
    "limits.queues": "set spec.limits.queues instead",
    "limits.message_size": "set spec.limits.messageSize instead",
    "limits.queue_messages": "set spec.limits.queueMessages instead",
    "limits.connections": "set spec.limits.connections instead",
    "policies": "set spec.policies instead",
    "log.level": "set spec.logLevel instead",
    "log.format": _LOGS,
    "log.path": _LOGS,
    "mysql.host": "set spec.storage.mysql.host instead",
    "mysql.hosts": "set spec.storage.mysql.host instead",
    "mysql.port": "set spec.storage.mysql.port instead",
    "mysql.database": "set spec.storage.mysql.database instead",
    "mysql.user": _CREDENTIALS,
    "mysql.user_file": _CREDENTIALS,
    "mysql.password": _CREDENTIALS,
    "mysql.password_file": _CREDENTIALS,
    "mysql.tls.ca": "set spec.storage.mysql.tls.caSecretRef instead",
    "queue": "set spec.storage.type and spec.limits instead",
    "database": _STORAGE,
    "filesystem": _STORAGE,
}
"""Settings, and whole sections, that may not be in `spec.config`; and what to do instead."""

OWNED_VARIABLES: Mapping[str, str] = {
    PORT_VARIABLE: _PROBED,
    USER_VARIABLE: _AUTH,
    PASSWORD_VARIABLE: _AUTH,
    ANONYMOUS_VARIABLE: _AUTH,
    MYSQL_USER_VARIABLE: _CREDENTIALS,
    MYSQL_PASSWORD_VARIABLE: _CREDENTIALS,
}
"""Environment variables that the broker reads, and what to do instead of setting them."""


def check_config(config: Mapping[str, Any], message_size: int | None, reading: Reading, path: str = "spec.config") -> None:
    """Note what is wrong with `spec.config`. `message_size` is what `spec.limits` says, in bytes."""
    rest = _without_owned(config, "", path, reading)
    settings = reading.struct(Settings, rest, path)
    if settings is None or settings.limits.buffered is None or not reading.sound(path, "spec.limits"):
        return
    needed = REQUESTS_BUFFERED * line_limit(message_size or DEFAULTS.message_size)
    if settings.limits.buffered < needed:
        found = settings.limits.buffered
        text = f"is {found}; it must be at least {needed}, {REQUESTS_BUFFERED} requests with messages of the largest size"
        reading.problem(f"{path}.limits.buffered", text)


def _without_owned(section: Mapping[str, Any], name: str, path: str, reading: Reading) -> dict[str, object]:
    """The section without what the operator owns, each of which is a problem."""
    rest: dict[str, object] = {}
    for key, value in section.items():
        inner, where = f"{name}.{key}" if name else key, f"{path}.{key}"
        if value is not None and inner in OWNED:
            reading.problem(where, f"may not be set here; {OWNED[inner]}")
        else:
            rest[key] = _without_owned(value, inner, where, reading) if isinstance(value, dict) else value
    return rest
