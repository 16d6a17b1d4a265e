"""Specs that are accepted, and specs that break one rule each, with the sentence that tells it.

Those that say nothing of the storage have their messages in memory.
"""

from typing import Any

from bodies import MYSQL

from gmq import config

GOOD: list[dict[str, Any]] = [
    {"replicas": 0},
    {"replicas": 3, "storage": MYSQL},
    {"storage": {"type": "memory", "memory": {}, "switchFrom": "filesystem"}},
    {"auth": {"mode": "Secret", "usersSecretRef": {"name": "users"}}},
    {"auth": {"mode": "Disabled"}},
    {"tls": {"secretRef": {"name": "orders.tls"}, "clientCaSecretRef": {"name": "ca"}}},
    {"limits": {"queues": 1, "messageSize": "512Mi", "queueMessages": 1_000_000_000, "connections": 1}},
    {"policies": [{"name": "a", "pattern": "a.*", "maxMessages": 1_000_000}, {"name": "b", "pattern": "*", "deadLetter": "gelöscht"}]},
    {"limits": {"queueMessages": 5}, "policies": [{"name": "a", "pattern": "*", "maxMessages": 5}]},
    {"config": {"network": {"idle_timeout": 60, "drain_timeout": 5}, "http": {"hosts": ["*"]}, "mysql": {"pool_size": 4}}},
    {"service": {"type": "LoadBalancer", "loadBalancerClass": "example.com/a", "loadBalancerSourceRanges": ["192.0.2.0/24", "::/0"]}},
    {"service": {"annotations": {"example.com/a": "any text: at all\n"}}},
    {"pod": {"labels": {"team": "", "example.com/a": "b_c.d"}, "nodeSelector": {"kubernetes.io/os": "linux"}}},
    {"pod": {"env": [{"name": "TZ", "value": "UTC"}, {"name": "GMQ_PORT", "valueFrom": {}}]}},
    {"pod": {"override": {"hostname": "a"}, "affinity": {"nodeAffinity": {}}, "tolerations": [{"operator": "Exists"}]}},
]

BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"replicas": 3, "storage": {"type": "filesystem"}},
        "spec.replicas is 3; it must be 0 or 1 with the storage filesystem: only one broker may use a volume",
    ),
    ({"replicas": 2}, "spec.replicas is 2; it must be 0 or 1 with the storage memory: each would have messages of its own"),
    ({"replicas": -1}, "spec.replicas is -1; it must be an integer from 0 to 100"),
    ({"replicas": "1"}, 'spec.replicas is "1"; it must be an integer from 0 to 100'),
    ({"image": "a b"}, 'spec.image is "a b"; it must be an image\'s name, without blanks'),
    ({"image": "a\n"}, 'spec.image is "a\\n"; it must be an image\'s name, without blanks'),
    ({"imagePullPolicy": "always"}, 'spec.imagePullPolicy is "always"; it must be "Always", "IfNotPresent" or "Never"'),
    (
        {"imagePullSecrets": [{"name": "a"}, {"name": "b"}, {"name": "a"}]},
        'spec.imagePullSecrets[2].name is "a", and so is spec.imagePullSecrets[0].name; each may be there once',
    ),
    ({"storage": None}, "spec.storage is missing; it must be an object"),
    ({"storage": {}}, 'spec.storage.type is missing; it must be "memory", "mysql" or "filesystem"'),
    ({"storage": {"type": "file"}}, 'spec.storage.type is "file"; it must be "memory", "mysql" or "filesystem"'),
    (
        {"storage": {"type": "memory", "filesystem": {}}},
        'spec.storage.filesystem is set, and spec.storage.type is "memory"; only the member of that type may be set',
    ),
    ({"storage": {"type": "mysql"}}, "spec.storage.mysql is missing; the type mysql needs it, with host and credentialsSecretRef"),
    (
        {"storage": {"type": "memory", "switchFrom": "memory"}},
        'spec.storage.switchFrom is "memory", as is spec.storage.type; it must be the type of before',
    ),
    (
        {"storage": {"type": "filesystem", "filesystem": {"size": "10 GB"}}},
        'spec.storage.filesystem.size is "10 GB"; it must be a quantity of 1Mi or more, such as 10Gi',
    ),
    (
        {"storage": {"type": "filesystem", "filesystem": {"size": True}}},
        "spec.storage.filesystem.size is true; it must be a quantity of 1Mi or more, such as 10Gi",
    ),
    (
        {"storage": {"type": "filesystem", "filesystem": {"size": "500m"}}},
        'spec.storage.filesystem.size is "500m"; it must be 1Mi or more, such as 10Gi',
    ),
    (
        {"storage": {"type": "filesystem", "filesystem": {"accessModes": ["ReadOnlyMany"]}}},
        (
            'spec.storage.filesystem.accessModes is ["ReadOnlyMany"]; it must be a list with any of '
            '"ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"'
        ),
    ),
    (
        {"storage": {"type": "filesystem", "filesystem": {"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]}}},
        'spec.storage.filesystem.accessModes is ["ReadWriteOnce", "ReadWriteOncePod"]; ReadWriteOncePod may not be beside another mode',
    ),
    (
        {"storage": {"type": "filesystem", "filesystem": {"storageClassName": "Fast"}}},
        (
            'spec.storage.filesystem.storageClassName is "Fast"; it must be a name of lower-case letters, digits, hyphens and dots, '
            "up to 253 characters"
        ),
    ),
    (
        {"storage": {"type": "mysql", "mysql": {"host": "db", "port": 0, "credentialsSecretRef": {"name": "a"}}}},
        "spec.storage.mysql.port is 0; it must be an integer from 1 to 65535",
    ),
    (
        {"storage": {"type": "mysql", "mysql": {"host": "::1", "credentialsSecretRef": {"name": "a"}}}},
        'spec.storage.mysql.host is "::1"; it must be a name or an address, such as db or [::1]',
    ),
    (
        {"storage": {"type": "mysql", "mysql": {"host": "db:99999", "credentialsSecretRef": {"name": "a"}}}},
        'spec.storage.mysql.host is "db:99999"; it must be a name or an address, such as db or [::1]',
    ),
    ({"auth": {"mode": "Secret"}}, "spec.auth.usersSecretRef is missing; the mode Secret needs it"),
    (
        {"auth": {"usersSecretRef": {"name": "a"}}},
        'spec.auth.usersSecretRef is set, and spec.auth.mode is "Generated"; it may be set only with the mode Secret',
    ),
    ({"tls": {}}, "spec.tls.secretRef is missing; it must be an object"),
    (
        {"tls": {"secretRef": "a"}},
        'spec.tls.secretRef is "a"; it must be an object with any of the keys name',
    ),
    ({"limits": {"queues": 0}}, "spec.limits.queues is 0; it must be an integer from 1 to 1000000"),
    (
        {"limits": {"messageSize": "1Gi"}},
        'spec.limits.messageSize is "1Gi"; it must be whole bytes from 1 to 512Mi, such as 64Ki or 65536',
    ),
    (
        {"limits": {"messageSize": "1.5"}},
        'spec.limits.messageSize is "1.5"; it must be whole bytes from 1 to 512Mi, such as 64Ki or 65536',
    ),
    ({"limits": {"messageSize": 0}}, "spec.limits.messageSize is 0; it must be whole bytes from 1 to 512Mi, such as 64Ki or 65536"),
    (
        {"limits": {"messageSize": "lots"}},
        'spec.limits.messageSize is "lots"; it must be whole bytes from 1 to 512Mi, such as 64Ki or 65536',
    ),
    (
        {"policies": [{"name": "a", "pattern": "*"}, {"name": "a", "pattern": "b"}]},
        'spec.policies[1].name is "a", and so is spec.policies[0].name; each may be there once',
    ),
    (
        {"policies": [{"name": "a", "pattern": "*", "maxMessages": 1_000_001}]},
        "spec.policies[0].maxMessages is 1000001; it may be 1 to 1000000, the limit of spec.limits.queueMessages",
    ),
    ({"policies": [{"name": "a", "pattern": "*", "ttl": 0}]}, "spec.policies[0].ttl is 0; it must be a number above 0, up to 604800 s"),
    (
        {"policies": [{"name": "a", "pattern": "*", "deadLetter": ".."}]},
        'spec.policies[0].deadLetter is ".."; a queue may not be named "." or ".."',
    ),
    (
        {"policies": [{"name": "a", "pattern": "*", "deadLetter": "ö" * 128}]},
        f'spec.policies[0].deadLetter is "{"ö" * 60}...", 256 bytes of UTF-8; a queue\'s name has 1 to 255',
    ),
    ({"policies": [{"name": "a"}]}, "spec.policies[0].pattern is missing; it must be a string of 1 to 1024 characters"),
    ({"logLevel": "loud"}, 'spec.logLevel is "loud"; it must be "debug", "info", "warning" or "error"'),
    ({"paused": "yes"}, 'spec.paused is "yes"; it must be true or false'),
    (
        {"service": {"type": "ExternalName"}},
        'spec.service.type is "ExternalName"; it must be "ClusterIP", "NodePort" or "LoadBalancer"',
    ),
    (
        {"service": {"loadBalancerClass": "a"}},
        'spec.service.loadBalancerClass is set, and spec.service.type is "ClusterIP"; it may be set only with LoadBalancer',
    ),
    (
        {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.1/24"]}},
        (
            'spec.service.loadBalancerSourceRanges[0] is "192.0.2.1/24"; it must be a network in CIDR form, such as 192.0.2.0/24, '
            "without bits of hosts"
        ),
    ),
    (
        {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.1"]}},
        (
            'spec.service.loadBalancerSourceRanges[0] is "192.0.2.1"; it must be a network in CIDR form, such as 192.0.2.0/24, '
            "without bits of hosts"
        ),
    ),
    (
        {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/255.255.255.0"]}},
        (
            'spec.service.loadBalancerSourceRanges[0] is "192.0.2.0/255.255.255.0"; it must be a network in CIDR form, such as '
            "192.0.2.0/24, without bits of hosts"
        ),
    ),
    (
        {"service": {"annotations": {"a": 1}}},
        "spec.service.annotations is an object; it must be an object whose members are strings",
    ),
    (
        {"service": {"annotations": {"a": "x" * 300_000}}},
        "spec.service.annotations has 300001 bytes of keys and values; annotations may have 262144",
    ),
    (
        {"pod": {"labels": {"a b": "c"}}},
        (
            'spec.pod.labels has the key "a b"; a key is up to 63 letters, digits, hyphens, dots and underscores, after a domain and a '
            "slash or without, such as example.com/team"
        ),
    ),
    (
        {"pod": {"labels": {"a": "b c"}}},
        (
            'spec.pod.labels["a"] is "b c"; a label\'s value is up to 63 letters, digits, hyphens, dots and underscores, and begins and '
            "ends with a letter or digit"
        ),
    ),
    (
        {"pod": {"labels": {"app.kubernetes.io/name": "x"}}},
        'spec.pod.labels["app.kubernetes.io/name"] may not be set here; it is the operator\'s own',
    ),
    ({"pod": {"annotations": {"gmq.io/a": "x"}}}, 'spec.pod.annotations["gmq.io/a"] may not be set here; it is the operator\'s own'),
    ({"pod": {"env": [{"value": "a"}]}}, "spec.pod.env[0].name is missing; it must be a string"),
    ({"pod": {"env": [{"name": 5}]}}, "spec.pod.env[0].name is 5; it must be a variable's name"),
    (
        {"pod": {"env": [{"name": "A"}, {"name": "A"}]}},
        'spec.pod.env[1].name is "A", and so is spec.pod.env[0].name; each may be there once',
    ),
    ({"pod": {"tolerations": {}}}, "spec.pod.tolerations is {}; it must be a list of objects"),
    ({"config": {"limits": {"waiting": 0}}}, "spec.config.limits.waiting is 0; it must be an integer from 1 to 10000000"),
    (
        {"config": {"metrics": {"queue": 1}}},
        "spec.config.metrics.queue is not a setting (did you mean queues?); spec.config.metrics may have the keys queues",
    ),
    (
        {"config": {"limits": {"buffered": 2 << 20}}},
        (
            f"spec.config.limits.buffered is {2 << 20}; it must be at least {config.REQUESTS_BUFFERED * config.line_limit(1 << 20)}, "
            "4 requests with messages of the largest size"
        ),
    ),
    (
        {"config": {"mysql": {"tls": {"verify": "ca"}}}},
        "spec.config.mysql.tls is set, but not spec.storage.mysql.tls, which it is a part of",
    ),
    (
        {
            "storage": {"type": "mysql", "mysql": {"host": "db", "credentialsSecretRef": {"name": "a"}, "tls": {}}},
            "config": {"mysql": {"tls": {"key": "/keys/tls.key"}}},
        },
        "spec.config.mysql.tls.key is set, but no spec.config.mysql.tls.certificate that it belongs to",
    ),
    (
        {"messagesize": 5},
        (
            "spec.messagesize is not a setting; spec may have the keys replicas, image, imagePullPolicy, imagePullSecrets, storage, auth, "
            "tls, limits, policies, config, service, monitoring, pod, logLevel, paused"
        ),
    ),
]
