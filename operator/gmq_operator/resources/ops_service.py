"""The Service that Prometheus finds the brokers by: without an address of its own, and with brokers that are not ready too."""

from gmq_operator.observed import SERVICE
from gmq_operator.resources import names
from gmq_operator.resources.labels import selector
from gmq_operator.resources.owner import Child, child
from gmq_operator.spec import GmqServer

COMPONENT = "ops"


def ops_service(server: GmqServer) -> Child:
    return {
        **child(server, SERVICE, names.ops_service(server), component=COMPONENT),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(server),
            "ports": [{"name": "ops", "port": names.OPS_PORT, "targetPort": "ops", "protocol": "TCP", "appProtocol": "http"}],
        },
    }
