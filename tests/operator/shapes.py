"""Specs made from the values at the edges of every field's range: each value alone in a spec that is good otherwise, and many together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bodies import MYSQL
from hypothesis import strategies as st

Values = st.SearchStrategy[Any]


@dataclass(frozen=True)
class Edge:
    """A field's values; the first good one stands for the field where another is looked at."""

    good: Sequence[Any]
    bad: Sequence[Any] = ()

    def smallest(self) -> Any:
        return self.good[0]

    def alone(self) -> Iterator[Any]:
        yield from self.good
        yield from self.bad

    def together(self) -> Values:
        """Now and then a bad one: of objects with many members enough are good as a whole."""
        return st.integers(0, 19).flatmap(lambda number: st.sampled_from(self.bad if self.bad and number == 13 else self.good))


@dataclass(frozen=True)
class Object:
    members: Mapping[str, "Shape"]
    required: Sequence[str] = ()

    def smallest(self) -> Any:
        return {name: self.members[name].smallest() for name in self.required}

    def alone(self) -> Iterator[Any]:
        smallest = self.smallest()
        yield smallest
        for missing in self.required:
            yield {name: value for name, value in smallest.items() if name != missing}
        for name, member in self.members.items():
            for value in member.alone():
                yield {**smallest, name: value}

    def together(self) -> Values:
        members = {name: member.together() for name, member in self.members.items()}
        optional = {name: values for name, values in members.items() if name not in self.required}
        return st.fixed_dictionaries({name: members[name] for name in self.required}, optional=optional)


@dataclass(frozen=True)
class Either:
    shapes: Sequence["Shape"]

    def smallest(self) -> Any:
        return self.shapes[0].smallest()

    def alone(self) -> Iterator[Any]:
        for shape in self.shapes:
            yield from shape.alone()

    def together(self) -> Values:
        return st.one_of([shape.together() for shape in self.shapes])


@dataclass(frozen=True)
class List:
    item: "Shape"

    def smallest(self) -> Any:
        return []

    def alone(self) -> Iterator[Any]:
        yield []
        yield [self.item.smallest(), self.item.smallest()]
        for value in self.item.alone():
            yield [value]

    def together(self) -> Values:
        return st.lists(self.item.together(), max_size=2)


Shape = Edge | Object | Either | List

BOTH = (True, False)
NAME = Edge(["a", "a.b", "a" * 253], ["A", "-a", "", "a" * 254, "a\n", 5])
REFERENCE = Object({"name": NAME}, ["name"])
COUNT = Edge([1, 1_000_000], [0, 1_000_001, 1.5, "1", True])
TYPE = Edge(["memory", "filesystem", "mysql"], ["disk", 1])
FILESYSTEM = Object(
    {
        "size": Edge(["1Gi", 1 << 30, "1e9", "+.5G"], ["x", "", True, 1.5, "-1Gi", "1" * 33, "1ki", "1e100"]),
        "storageClassName": NAME,
        "accessModes": Edge(
            [["ReadWriteOnce"], ["ReadWriteOncePod"], ["ReadWriteOnce", "ReadWriteMany"]],
            [[], ["x"], ["ReadWriteMany"] * 2, ["ReadWriteOnce", "ReadWriteOncePod"]],
        ),
        "whenDeleted": Edge(["Retain", "Delete"], ["Recycle"]),
    }
)
DATABASE = Object(
    {
        "host": Edge(["db"], ["", "d" * 254]),
        "port": Edge([1, 65535], [0, 65536]),
        "database": Edge(["gmq", "d" * 64], ["", "d" * 65]),
        "credentialsSecretRef": REFERENCE,
        "tls": Object({"caSecretRef": REFERENCE}),
    },
    ["host", "credentialsSecretRef"],
)
NOTHING = Edge([{}])
STORAGE = Either(
    [
        Object({"type": Edge(["memory"]), "memory": NOTHING, "switchFrom": TYPE}, ["type"]),
        Object({"type": Edge(["filesystem"]), "filesystem": FILESYSTEM, "switchFrom": TYPE}, ["type"]),
        Object({"type": Edge(["mysql"]), "mysql": DATABASE, "switchFrom": TYPE}, ["type", "mysql"]),
        Object({"type": TYPE, "memory": NOTHING, "filesystem": FILESYSTEM, "mysql": DATABASE}, ["type"]),
    ]
)
AUTH = Either(
    [
        Object({"mode": Edge(["Generated", "Disabled", "Secret"], ["None"])}),
        Object({"mode": Edge(["Secret", "Generated", "Disabled"]), "usersSecretRef": REFERENCE}, ["mode", "usersSecretRef"]),
    ]
)
LIMITS = Object(
    {
        "queues": COUNT,
        "messageSize": Edge([1, 512 << 20, "64Ki"], [0, (512 << 20) + 1, "x", True]),
        "queueMessages": Edge([5, 1_000_000_000], [0, 1_000_000_001]),
        "connections": COUNT,
    }
)
POLICY = Object(
    {
        "name": Edge(["a", "b", "a" * 255], ["", "a" * 256]),
        "pattern": Edge(["*", "a" * 1024], ["", "a" * 1025]),
        "maxMessages": Edge([1, 5, 6, 1_000_000], [0, 1_000_001]),
        "maxDeliveries": COUNT,
        "deadLetter": Edge(["dead", "a" * 255, "..."], ["", ".", "..", "a" * 256]),
        "ttl": Edge([0.001, 604800], [0, 604801]),
        "lease": Edge([0.001, 604800], [0, 604801]),
        "expires": Edge([1, 31536000], [0.5, 31536001]),
    },
    ["name", "pattern"],
)
LOAD_BALANCER = {
    "loadBalancerClass": Edge(["a"], [""]),
    "loadBalancerSourceRanges": Edge([[], ["192.0.2.0/24"]], [["192.0.2.0/24"] * 2, [1]]),
}
SERVICE = Either(
    [
        Object({"type": Edge(["ClusterIP", "NodePort"], ["ExternalName"]), "http": Edge(BOTH, ["x"]), **LOAD_BALANCER}),
        Object({"annotations": Edge([{}, {"a": "b"}], [{"a": 1}, []])}),
        Object({"type": Edge(["LoadBalancer"]), **LOAD_BALANCER}, ["type"]),
    ]
)
POD = Object(
    {
        "labels": Edge([{}, {"a": "b"}], [{"a": 1}]),
        "tolerations": Edge([[], [{}]], [{}, [1]]),
        "env": Edge(
            [[], [{"name": "TZ"}], [{"name": "TZ"}, {"name": "A"}]],
            [[{"name": "PORT"}], [{"name": "GMQ_AUTH_USER"}], [{"name": "A"}] * 2, [{}], [{"name": 1}], [{"name": ""}]],
        ),
        "priorityClassName": NAME,
        "override": Edge([{}, {"hostname": "a"}], [[]]),
    }
)
REPLICAS = Edge([0, 1, 2, 100], [101, -1, 1.5, "1", True])
OTHERS: Mapping[str, Shape] = {
    "image": Edge(["a", "a" * 1024], ["a b", "", "a" * 1025, 1]),
    "imagePullPolicy": Edge(["Always"], ["always"]),
    "imagePullSecrets": List(REFERENCE),
    "auth": AUTH,
    "tls": Object({"secretRef": REFERENCE, "clientCaSecretRef": REFERENCE}, ["secretRef"]),
    "limits": LIMITS,
    "policies": List(POLICY),
    "config": Edge([{}, {"limits": {"waiting": 5}}], [[]]),
    "service": SERVICE,
    "monitoring": Object({"serviceMonitor": Edge(BOTH, [1])}),
    "pod": POD,
    "logLevel": Edge(["info"], ["INFO"]),
    "paused": Edge(BOTH, ["true"]),
}
ALONE = Either(
    [
        Object({"storage": STORAGE, "replicas": REPLICAS, **OTHERS}, ["storage"]),
        Object({"storage": Edge([MYSQL]), "replicas": REPLICAS}, ["storage"]),
    ]
)
"""Of which each value is looked at alone."""
TOGETHER = Object({"storage": STORAGE, "replicas": Edge([0, 1], [2]), **OTHERS}, ["storage"])
"""Of which many are looked at together."""
