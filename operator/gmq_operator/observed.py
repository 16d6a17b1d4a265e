"""What the cluster was seen to have of one GmqServer: plain values, so that everything that decides on them needs no cluster."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

Object = Mapping[str, Any]
"""A Kubernetes object as JSON."""


class Kind(NamedTuple):
    """A kind with its group ("" for the core one) and version, named in full."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SECRET = Kind("", "v1", "Secret", "secrets")
SERVICE = Kind("", "v1", "Service", "services")
CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Kind("", "v1", "Pod", "pods")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
SERVICE_MONITOR = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")

CHILDREN = (CONFIG_MAP, SERVICE, CLAIM, DEPLOYMENT, DISRUPTION_BUDGET, SERVICE_MONITOR)
"""The kinds of children that are watched. Secrets are created and never read."""


class Context(Struct, frozen=True, kw_only=True):
    """What is the same for every GmqServer: the operator's own settings, and what the cluster serves."""

    image: str
    """The broker's image where a spec names none: the operator's own."""
    served: frozenset[Kind] = frozenset(CHILDREN)
    """The kinds of children that this cluster has."""


class Observed(Struct, frozen=True, kw_only=True):
    """The children and pods of one GmqServer, as last seen."""

    body: Object
    """The GmqServer itself, with its status."""
    children: Mapping[tuple[Kind, str], Object] = {}
    """By kind and name."""
    pods: Sequence[Object] = ()
    warnings: Sequence[Object] = ()
    """Events of type Warning about its pods and claim, where a pod is not ready; the latest last."""
    refused: Mapping[tuple[Kind, str], str] = {}
    """What the API server said to the last attempt to apply a child, where it refused."""
    waiting: Mapping[tuple[Kind, str], str] = {}
    """Why the last attempt left a child as it is for now, as a sentence, where nothing is wrong with it."""
