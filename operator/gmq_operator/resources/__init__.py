"""The children of a GmqServer: a module and a pure builder for each."""

from collections.abc import Iterator, Mapping

from gmq_operator.observed import (
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_MONITOR,
    Context,
    Kind,
    Object,
)
from gmq_operator.resources.claim import claim
from gmq_operator.resources.configmap import config_map
from gmq_operator.resources.deployment import deployment, emptied
from gmq_operator.resources.differs import differs
from gmq_operator.resources.disruption_budget import disruption_budget
from gmq_operator.resources.labels import MANAGED_BY, MANAGER
from gmq_operator.resources.names import default_user as default_user_name
from gmq_operator.resources.ops_service import ops_service
from gmq_operator.resources.owner import Child, is_ours
from gmq_operator.resources.secret import default_user
from gmq_operator.resources.service import service
from gmq_operator.resources.service_monitor import service_monitor
from gmq_operator.spec import GmqServer

__all__ = [
    "MANAGED_BY",
    "MANAGER",
    "Child",
    "default_user",
    "default_user_name",
    "desired",
    "differs",
    "emptied",
    "is_ours",
    "prunable",
    "unserved",
]

_NEVER_PRUNED = frozenset((CLAIM, SECRET))
"""Messages and passwords: what cannot be made again goes with its owner or by a person's hand."""


def desired(server: GmqServer, context: Context) -> list[Child]:
    """The children that a server is to have, in the order in which they are to be applied; kinds that the cluster lacks are left out.

    The generated user is not among them: it is made once, before these, where `spec.auth.mode` asks for it.
    """
    return [built for kind, built in _children(server, context) if kind in context.served]


def unserved(server: GmqServer, context: Context) -> list[Kind]:
    """The kinds that a server is to have a child of, and that the cluster lacks."""
    return [kind for kind, _ in _children(server, context) if kind not in context.served]


def prunable(server: GmqServer, context: Context, children: Mapping[tuple[Kind, str], Object]) -> list[tuple[Kind, str]]:
    """Of the observed children those that are to be deleted: the server owns them, and they are not desired."""
    wanted = {(kind, built["metadata"]["name"]) for kind, built in _children(server, context)}
    return [key for key, live in children.items() if key not in wanted and key[0] not in _NEVER_PRUNED and is_ours(server, live)]


def _children(server: GmqServer, context: Context) -> Iterator[tuple[Kind, Child]]:
    # What pods mount comes before them: a pod that finds its ConfigMap or claim missing waits for the kubelet to look again.
    yield CONFIG_MAP, config_map(server)
    if server.spec.storage.type == "filesystem":
        yield CLAIM, claim(server)
    # Services have addresses by the time that a broker is ready; the budget protects from the first pod on.
    yield SERVICE, service(server)
    yield SERVICE, ops_service(server)
    if server.spec.replicas > 1:
        yield DISRUPTION_BUDGET, disruption_budget(server)
    yield DEPLOYMENT, deployment(server, context)
    # Last, as nothing depends on it, and its kind is the one that most clusters lack.
    if server.spec.monitoring.service_monitor:
        yield SERVICE_MONITOR, service_monitor(server)
