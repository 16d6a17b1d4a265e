"""The PodDisruptionBudget: of several brokers one at a time may be moved away."""

from gmq_operator.observed import DISRUPTION_BUDGET
from gmq_operator.resources import names
from gmq_operator.resources.labels import selector
from gmq_operator.resources.owner import Child, child
from gmq_operator.spec import GmqServer


def disruption_budget(server: GmqServer) -> Child:
    return {
        **child(server, DISRUPTION_BUDGET, names.disruption_budget(server)),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(server)}},
    }
