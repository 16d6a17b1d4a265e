"""The Secrets that a broker reads, and where it finds them.

Each is mounted as a folder, never with subPath: only so does a changed Secret reach a running pod, and the broker takes it up. Only the
keys that the broker needs are there, and a pod whose Secret lacks one waits and says so; `users` has a file for each user instead.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gmq_operator.resources import names
from gmq_operator.spec import GmqServer

MODE = 0o440
"""The files are root's and the pod's group's."""


class Place(Struct, frozen=True):
    """A folder of Secret files; `keys` are those that are needed, all of them where there are none."""

    volume: str
    keys: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        return f"{names.SECRETS_FOLDER}/{self.volume}"

    def file(self, key: str) -> str:
        return f"{self.folder}/{key}"


USER = Place("user", ("username", "password"))
USERS = Place("users")
TLS = Place("tls", ("tls.crt", "tls.key"))
CLIENT_CA = Place("client-ca", ("ca.crt",))
MYSQL = Place("mysql", ("username", "password"))
MYSQL_CA = Place("mysql-ca", ("ca.crt",))


def used(server: GmqServer) -> Sequence[tuple[Place, str]]:
    """The places that the server's pods have, and the Secret in each."""
    spec = server.spec
    found: list[tuple[Place, str]] = []
    if spec.auth.mode == "Generated":
        found.append((USER, names.default_user(server)))
    elif spec.auth.mode == "Secret" and spec.auth.users_secret_ref is not None:
        found.append((USERS, spec.auth.users_secret_ref.name))
    if spec.tls is not None:
        found.append((TLS, spec.tls.secret_ref.name))
        if spec.tls.client_ca_secret_ref is not None:
            found.append((CLIENT_CA, spec.tls.client_ca_secret_ref.name))
    if spec.storage.mysql is not None:
        found.append((MYSQL, spec.storage.mysql.credentials_secret_ref.name))
        if spec.storage.mysql.tls is not None and spec.storage.mysql.tls.ca_secret_ref is not None:
            found.append((MYSQL_CA, spec.storage.mysql.tls.ca_secret_ref.name))
    return found


def volume(place: Place, secret: str) -> dict[str, Any]:
    source: dict[str, Any] = {"secretName": secret, "defaultMode": MODE}
    if place.keys:
        source["items"] = [{"key": key, "path": key} for key in place.keys]
    return {"name": place.volume, "secret": source}


def mount(place: Place) -> dict[str, Any]:
    return {"name": place.volume, "mountPath": place.folder, "readOnly": True}
