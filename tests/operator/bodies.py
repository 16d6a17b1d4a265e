"""GmqServers as the API server gives them, from the specs that a test writes, and what is wrong with them."""

from typing import Any

from gmq_operator.spec import GmqServer, SpecError, parse

MEMORY = {"type": "memory"}
MYSQL = {"type": "mysql", "mysql": {"host": "db", "credentialsSecretRef": {"name": "gmq-db"}}}


def whole(spec: Any, name: str = "orders") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": "0000", "generation": 3}
    return {"apiVersion": "gmq.io/v1beta1", "kind": "GmqServer", "metadata": metadata, "spec": spec}


def parsed(name: str = "orders", **spec: Any) -> GmqServer:
    """One with messages in memory, unless the spec says more."""
    return parse(whole({"storage": MEMORY, **spec}, name))


def problems(spec: Any, name: str = "orders") -> list[str]:
    """What the spec is refused for; empty where it is accepted."""
    try:
        parse(whole(spec, name))
    except SpecError as error:
        return error.problems or ["a refusal that tells no problem"]
    return []


def problem(name: str = "orders", **spec: Any) -> str:
    """The only problem of a spec with messages in memory, unless it says more."""
    found = problems({"storage": MEMORY, **spec}, name)
    assert len(found) == 1, f"one problem was expected: {found}"
    return found[0]
