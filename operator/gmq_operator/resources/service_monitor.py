"""The ServiceMonitor, by which a Prometheus Operator scrapes the brokers."""

from gmq_operator.observed import SERVICE_MONITOR
from gmq_operator.resources import names
from gmq_operator.resources.labels import INSTANCE, labels
from gmq_operator.resources.ops_service import COMPONENT
from gmq_operator.resources.owner import Child, child
from gmq_operator.spec import GmqServer


def service_monitor(server: GmqServer) -> Child:
    """The series get the label `server`, which the dashboard and the alerts tell brokers apart by."""
    return {
        **child(server, SERVICE_MONITOR, names.service_monitor(server)),
        "spec": {
            "jobLabel": INSTANCE,
            "selector": {"matchLabels": labels(server, COMPONENT)},
            "endpoints": [{"port": "ops", "path": "/metrics", "relabelings": [{"targetLabel": "server", "replacement": server.name}]}],
        },
    }
