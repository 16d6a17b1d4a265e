"""What a real cluster had, read back from `observed/`.

Each file there is one Deployment with its claims, its pods and the warnings about them, as kubectl gave them, without what no one reads.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gmq_operator.observed import CLAIM, DEPLOYMENT, Context, Kind, Object, Observed
from gmq_operator.spec import FilesystemStorage, GmqServer, MemoryStorage, MysqlStorage, Reference, Spec, Storage

FOLDER = Path(__file__).parent / "observed"
NOW = datetime(2026, 11, 25, 10, 36, tzinfo=UTC)
CONTEXT = Context(image="gmq:dev")

MEMORY = Storage(type="memory", memory=MemoryStorage())
FILESYSTEM = Storage(type="filesystem", filesystem=FilesystemStorage(size="1Gi"))
MYSQL = Storage(type="mysql", mysql=MysqlStorage(host="db", credentials_secret_ref=Reference(name="orders-db")))


def recorded(name: str) -> dict[str, Any]:
    """One recording: `deployment`, `claims`, `pods` and `warnings`."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def seen(
    name: str,
    *,
    storage: str = "memory",
    status: Mapping[str, Any] | None = None,
    refused: Mapping[tuple[Kind, str], str] | None = None,
    extra: Mapping[tuple[Kind, str], Object] | None = None,
    paused: bool = False,
) -> Observed:
    """A recording as what was observed of a GmqServer that runs on a type of storage."""
    recording = recorded(name)
    recording["deployment"]["metadata"]["labels"]["gmq.io/storage"] = storage
    children: dict[tuple[Kind, str], Object] = {(DEPLOYMENT, name): recording["deployment"]}
    children |= {(CLAIM, claim["metadata"]["name"]): claim for claim in recording["claims"]}
    return Observed(
        body=body(name, status=status, paused=paused),
        children=children | dict(extra or {}),
        pods=recording["pods"],
        warnings=recording["warnings"],
        refused=refused or {},
    )


def body(name: str, *, status: Mapping[str, Any] | None = None, paused: bool = False, generation: int = 3) -> dict[str, Any]:
    """A GmqServer as the API server gives it."""
    metadata = {"name": name, "namespace": "shop", "generation": generation, "uid": "1b2c"}
    return {"metadata": metadata, "spec": {"paused": paused}, "status": dict(status or {})}


def server(name: str, storage: Storage = MEMORY, **spec: Any) -> GmqServer:
    """A GmqServer whose spec keeps the rules."""
    return GmqServer(namespace="shop", name=name, uid="1b2c", generation=3, spec=Spec(storage=storage, **spec))


def service(name: str, ports: Mapping[str, int], **more: Any) -> Object:
    """A Service with named ports."""
    listed = [{"name": port, "port": number} for port, number in ports.items()]
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": listed, **more.pop("spec", {})}, **more}
