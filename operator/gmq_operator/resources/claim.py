"""The claim of the volume that messages are kept on."""

from typing import Any

from gmq_operator.observed import CLAIM
from gmq_operator.resources import names
from gmq_operator.resources.owner import Child, child
from gmq_operator.spec import FilesystemStorage, GmqServer


def claim(server: GmqServer) -> Child:
    """The claim of a server with filesystem storage.

    It has an owner only where it goes with the server. Otherwise it stays, and a server of this name takes it up again.
    """
    wanted = server.spec.storage.filesystem or FilesystemStorage()
    spec: dict[str, Any] = {"accessModes": list(wanted.access_modes), "resources": {"requests": {"storage": wanted.size}}}
    if wanted.storage_class_name is not None:
        spec["storageClassName"] = wanted.storage_class_name
    return {**child(server, CLAIM, names.claim(server), owned=wanted.when_deleted == "Delete"), "spec": spec}
