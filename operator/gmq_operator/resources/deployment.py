"""The Deployment that runs the brokers."""

from typing import Any

from gmq_operator.observed import DEPLOYMENT, Context, Object
from gmq_operator.resources import names
from gmq_operator.resources.configmap import fingerprint
from gmq_operator.resources.labels import STORAGE, labels, selector
from gmq_operator.resources.owner import Child, child
from gmq_operator.resources.pod import pod_spec
from gmq_operator.spec import GmqServer

FINGERPRINT = "gmq.io/config-hash"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

PROGRESS_DEADLINE = 600
"""Seconds until a rollout that does not come on is called stuck. It goes on all the same."""
SETTLING = 5
"""Seconds that a new broker must have been ready before an old one goes: load balancers learn of it within them."""
KEPT_REVISIONS = 3
"""Old ReplicaSets, for `kubectl rollout history`. There is no undo with them: the operator would put it right again."""


def deployment(server: GmqServer, context: Context) -> Child:
    result = child(server, DEPLOYMENT, names.deployment(server), more={STORAGE: server.spec.storage.type})
    result["spec"] = {
        "replicas": server.spec.replicas,
        "selector": {"matchLabels": selector(server)},
        "strategy": strategy(server),
        "progressDeadlineSeconds": PROGRESS_DEADLINE,
        "revisionHistoryLimit": KEPT_REVISIONS,
        "template": template(server, context),
    }
    if shared(server):
        result["spec"]["minReadySeconds"] = SETTLING
    return result


def shared(server: GmqServer) -> bool:
    """Whether several brokers may use the storage at one time."""
    return server.spec.storage.type == "mysql"


def strategy(server: GmqServer) -> dict[str, Any]:
    """Two brokers never have one folder, nor two memories one name: the old one stops before the new one starts."""
    if not shared(server):
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def template(server: GmqServer, context: Context) -> dict[str, Any]:
    """The pods. Whatever changes here restarts brokers, so that only a changed spec may change it, or an image."""
    pod = server.spec.pod
    return {
        "metadata": {
            "labels": {**pod.labels, **labels(server)},
            "annotations": {DEFAULT_CONTAINER: names.CONTAINER, **pod.annotations, FINGERPRINT: fingerprint(server)},
        },
        "spec": pod_spec(server, context),
    }


def emptied(wanted: Child, live: Object) -> Child:
    """The Deployment with one container that is never started, and paused: its controller leaves the pods that there are alone.

    Server-side apply takes away fields that are no longer wanted, but not the objects around them, nor what the API server filled in
    there. Where a container or volume has to be one thing or another, as a variable has a value or a source, what is left makes an object
    that is refused. To apply this one, and the wanted one at once after it, leaves nothing, and is one rollout. What the cluster's policies
    may look at is as in the wanted one, which must be one that the API server takes; so many pods are asked for as there are, as a paused
    Deployment starts more of the old ones.
    """
    template = wanted["spec"]["template"]
    first = template["spec"]["containers"][0]
    container = {"name": "replaced", **{key: first[key] for key in ("image", "resources", "securityContext") if key in first}}
    pods = {key: template["spec"][key] for key in ("automountServiceAccountToken", "securityContext") if key in template["spec"]}
    empty = {**template, "spec": {**pods, "containers": [container]}}
    return {**wanted, "spec": {**wanted["spec"], "replicas": live["spec"]["replicas"], "paused": True, "template": empty}}
