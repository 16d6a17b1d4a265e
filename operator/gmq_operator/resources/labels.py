"""Labels of children."""

from gmq_operator.spec import GmqServer

MANAGER = "gmq-operator"
"""The field manager, and the value of the label that children are watched by."""
MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
STORAGE = "gmq.io/storage"
"""On the ConfigMap and the Deployment: the type of storage that they were made for, so that a change of it is noticed."""


def selector(server: GmqServer) -> dict[str, str]:
    """What finds the pods of a server. A Deployment's selector cannot be changed: these stay as they are for ever."""
    return {NAME: "gmq", INSTANCE: server.name, COMPONENT: "broker"}


def labels(server: GmqServer, component: str = "broker") -> dict[str, str]:
    """The labels of every child. No version is among them: it would change every child with each version of the operator."""
    return {**selector(server), COMPONENT: component, MANAGED_BY: MANAGER, PART_OF: "gmq"}
