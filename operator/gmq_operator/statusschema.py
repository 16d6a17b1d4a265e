"""The schema of a GmqServer's status."""

from typing import Any

_WHOLE = {"type": "integer", "format": "int64", "minimum": 0}
_COUNT = {"type": "integer", "format": "int32", "minimum": 0}


def _text(description: str, longest: int, **more: object) -> dict[str, Any]:
    return {"type": "string", "description": description, "maxLength": longest, **more}


_CONDITION = {
    "type": "object",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": _text("Ready, Progressing, StorageReady, SpecValid or Paused.", 316, minLength=1),
        "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so."},
        "observedGeneration": {**_WHOLE, "description": "The generation of the spec that this is about."},
        "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When the status last changed."},
        "reason": _text("Why, as a word for programs.", 1024, minLength=1, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
        "message": _text("Why, as a sentence for people.", 32768),
    },
}

_ENDPOINT = {
    "type": "object",
    "required": ["name", "host", "port", "address"],
    "properties": {
        "name": _text("tcp, http or ops. What leads to it from outside the cluster has -external after that.", 253),
        "host": _text("The name or address to connect to.", 253),
        "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535, "description": "The port to connect to."},
        "address": _text("Both, as gmqclient takes them.", 300),
        "url": _text("What a browser, curl or a scraper takes, where there is HTTP.", 1024),
        "tls": {"type": "boolean", "description": "Whether it has TLS."},
    },
}

STATUS: dict[str, Any] = {
    "type": "object",
    "description": "What the operator saw and did. It writes this; nobody else should.",
    "properties": {
        "observedGeneration": {**_WHOLE, "description": "The generation of the spec that was last evaluated."},
        "conditions": {
            "type": "array",
            "description": "Ready: clients are served as asked. Progressing: something is on its way. StorageReady: the volume or database "
            "is there. SpecValid: the spec breaks no rule. Paused: the operator leaves this server alone.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": _CONDITION,
        },
        "replicas": {**_COUNT, "description": "Brokers that there are."},
        "readyReplicas": {**_COUNT, "description": "Those of them that serve."},
        "selector": _text("The labels of the pods, as a selector in text, for autoscalers.", 4096),
        "endpoints": {
            "type": "array",
            "description": "Where clients connect.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": _ENDPOINT,
        },
        "binding": {
            "type": "object",
            "description": "For the Service Binding specification: the Secret with what a client needs to connect.",
            "required": ["name"],
            "properties": {"name": _text("The Secret's name.", 253, minLength=1)},
        },
    },
}
