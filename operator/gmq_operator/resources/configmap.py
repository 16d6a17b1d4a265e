"""The ConfigMap with the broker's configuration: what the user set, and what the operator must."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from gmq_operator.observed import CONFIG_MAP
from gmq_operator.quantity import parse_quantity
from gmq_operator.resources import names, secrets
from gmq_operator.resources.labels import STORAGE
from gmq_operator.resources.owner import Child, child
from gmq_operator.spec import GmqServer, MysqlStorage, Policy, Spec


def config_map(server: GmqServer) -> Child:
    head = child(server, CONFIG_MAP, names.config_map(server), more={STORAGE: server.spec.storage.type})
    return {**head, "data": {names.CONFIG_FILE: text(server)}}


def fingerprint(server: GmqServer) -> str:
    """Changes when the configuration does. It is on the pods' template, as brokers read their configuration at their start only."""
    return hashlib.sha256(text(server).encode()).hexdigest()[:16]


def text(server: GmqServer) -> str:
    """The configuration as JSON. How it is written down must not change: it would restart every broker."""
    return json.dumps(configuration(server.spec), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def configuration(spec: Spec) -> dict[str, Any]:
    """The broker's settings: those of `spec.config`, and over them those that the operator answers for."""
    return _merged(spec.config, _owned(spec))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Objects key by key, anything else taken whole; what is null counts as left out."""
    result: dict[str, Any] = {}
    for key in (*under, *(key for key in over if key not in under)):
        below, value = under.get(key), over.get(key, under.get(key))
        if isinstance(value, Mapping):
            result[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            result[key] = value
    return result


def _owned(spec: Spec) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "network": {"interface": "", "port": names.CLIENT_PORT},
        "http": {"enabled": True, "interface": "", "port": names.HTTP_PORT} if spec.service.http else {"enabled": False},
        "ops": {"enabled": True, "interface": "", "port": names.OPS_PORT},
        "auth": _auth(spec),
        "storage": {"type": spec.storage.type},
        "log": {"format": "json", "level": spec.log_level},
    }
    if spec.storage.type == "filesystem":
        settings["storage"]["path"] = f"{names.DATA_FOLDER}/data"
    if spec.storage.mysql is not None:
        settings["mysql"] = _mysql(spec.storage.mysql)
    if spec.tls is not None:
        settings["tls"] = {"certificate": secrets.TLS.file("tls.crt"), "key": secrets.TLS.file("tls.key")}
        if spec.tls.client_ca_secret_ref is not None:
            settings["tls"]["client_ca"] = secrets.CLIENT_CA.file("ca.crt")
    if limits := _limits(spec):
        settings["limits"] = limits
    if spec.policies:
        settings["policies"] = [_policy(policy) for policy in spec.policies]
    return settings


def _auth(spec: Spec) -> dict[str, Any]:
    match spec.auth.mode:
        case "Generated":
            return {"user_file": secrets.USER.file("username"), "password_file": secrets.USER.file("password")}
        case "Secret":
            return {"users_directory": secrets.USERS.folder}
        case "Disabled":
            return {"anonymous": True}


def _mysql(mysql: MysqlStorage) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "host": mysql.host,
        "port": mysql.port,
        "database": mysql.database,
        "user_file": secrets.MYSQL.file("username"),
        "password_file": secrets.MYSQL.file("password"),
    }
    if mysql.tls is not None:
        settings["tls"] = {} if mysql.tls.ca_secret_ref is None else {"ca": secrets.MYSQL_CA.file("ca.crt")}
    return settings


def _limits(spec: Spec) -> dict[str, int]:
    """Those that were set, in the broker's units."""
    limits = _given(spec.limits)
    if "message_size" in limits:
        limits["message_size"] = int(parse_quantity(limits["message_size"]))
    return limits


def _policy(policy: Policy) -> dict[str, Any]:
    return _given(policy)


def _given(section: Any) -> dict[str, Any]:
    """The fields that were set; the broker's names are those of the structs."""
    return {name: value for name, value in structs.asdict(section).items() if value is not None}
