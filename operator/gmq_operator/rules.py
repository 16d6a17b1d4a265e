"""The rules of spec.py that a schema cannot say, in CEL, for clusters of Kubernetes 1.25 and newer: there a bad object is refused at once.

Those that CEL cannot say well (quantities, shapes of labels, `spec.config`) are told by the condition SpecValid alone.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gmq.settings import DEFAULTS
from gmq_operator.brokerconfig import OWNED_VARIABLES


class Rule(NamedTuple):
    """`cel` is about the field `self`, and is true where all is well; `message` says what is allowed."""

    cel: str
    message: str


_VARIABLES = json.dumps(sorted(OWNED_VARIABLES)).replace('"', "'")

RULES: Mapping[str, Sequence[Rule]] = {
    "spec": [
        Rule(
            "!has(self.replicas) || self.replicas <= 1 || self.storage.type == 'mysql'",
            "replicas must be 0 or 1, unless storage.type is mysql: brokers share a database, and nothing else",
        ),
        Rule(
            "!has(self.policies) || self.policies.all(policy, !has(policy.maxMessages) || policy.maxMessages <= "
            f"(has(self.limits) && has(self.limits.queueMessages) ? self.limits.queueMessages : {DEFAULTS.queue_messages}))",
            f"policies[].maxMessages may be up to limits.queueMessages, which is {DEFAULTS.queue_messages} where it is not set",
        ),
    ],
    "spec.storage": [
        Rule("self.type == 'memory' || !has(self.memory)", "memory may be set only with the type memory"),
        Rule("self.type == 'filesystem' || !has(self.filesystem)", "filesystem may be set only with the type filesystem"),
        Rule("self.type == 'mysql' || !has(self.mysql)", "mysql may be set only with the type mysql"),
        Rule("self.type != 'mysql' || has(self.mysql)", "mysql must be set with the type mysql, with host and credentialsSecretRef"),
        Rule("!has(self.switchFrom) || self.switchFrom != self.type", "switchFrom must be the type of before, not the one of now"),
        Rule(
            "self.type == oldSelf.type || (has(self.switchFrom) && self.switchFrom == oldSelf.type)",
            "to change type, set switchFrom to the type of before: messages are not moved",
        ),
    ],
    "spec.storage.filesystem": [
        Rule(
            "!has(self.accessModes) || size(self.accessModes) <= 1 || !self.accessModes.exists(mode, mode == 'ReadWriteOncePod')",
            "accessModes may not have another mode beside ReadWriteOncePod",
        ),
    ],
    "spec.auth": [
        Rule(
            "has(self.usersSecretRef) == (has(self.mode) && self.mode == 'Secret')",
            "usersSecretRef must be set with the mode Secret, and only then",
        ),
    ],
    "spec.service": [
        Rule(
            "(has(self.type) && self.type == 'LoadBalancer') || "
            "(!has(self.loadBalancerClass) && (!has(self.loadBalancerSourceRanges) || size(self.loadBalancerSourceRanges) == 0))",
            "loadBalancerClass and loadBalancerSourceRanges may be set only with the type LoadBalancer",
        ),
    ],
    "spec.pod": [
        Rule(
            f"!has(self.env) || self.env.all(variable, !(variable.name in {_VARIABLES}))",
            f"env may not have {', '.join(sorted(OWNED_VARIABLES))}: the operator sets what the broker reads",
        ),
    ],
}
"""By the path of the field that they are about."""
