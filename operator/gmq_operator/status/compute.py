"""The status of a GmqServer, from what was seen of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gmq_operator.observed import Context, Observed
from gmq_operator.resources import default_user_name
from gmq_operator.spec import GmqServer, SpecError
from gmq_operator.status import paused, progressing, ready, spec_valid, storage_ready
from gmq_operator.status.condition import Condition, quoted, render
from gmq_operator.status.endpoints import endpoints
from gmq_operator.status.rollout import rollout
from gmq_operator.status.view import view

TYPES = ("Ready", "Progressing", "StorageReady", "SpecValid", "Paused")
"""The conditions, in the order in which people read them."""
KEYS = ("observedGeneration", "replicas", "readyReplicas", "selector", "endpoints", "binding")
"""What else a status has."""
LASTING = ("endpoints", "binding")
"""What stays as it was while the spec is bad: the children are as they were too."""


def compute(server: GmqServer | SpecError, context: Context, observed: Observed, now: datetime) -> dict[str, Any]:
    """The whole status, to be written in place of the old one, which is in `observed.body`.

    `now` is in UTC. Nothing in the status depends on it while nothing happens.
    """
    old: Mapping[str, Any] = observed.body.get("status") or {}
    generation = int(observed.body["metadata"].get("generation", 0))
    valid = spec_valid.condition(server, observed)
    seen = rollout(observed)
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "replicas": 0 if seen is None else seen.replicas,
        "readyReplicas": 0 if seen is None else seen.ready,
    }
    if seen is not None and seen.selector:
        status["selector"] = seen.selector
    if isinstance(server, SpecError) or valid.status == "False":
        wants_pause = (observed.body.get("spec") or {}).get("paused") is True
        conditions = [*_of_bad_spec(valid, status["readyReplicas"]), paused.condition(paused=wants_pause)]
        status |= {key: old[key] for key in LASTING if key in old}
    else:
        conditions = [valid, *_of_good_spec(server, context, observed, now)]
        status["endpoints"] = endpoints(observed, tls=server.spec.tls is not None)
        if server.spec.auth.mode == "Generated":
            status["binding"] = {"name": default_user_name(server)}
    conditions.sort(key=lambda condition: TYPES.index(condition.type))
    status["conditions"] = render(conditions, generation, old.get("conditions") or (), now)
    return status


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a status has to be written. What others keep in the old one, such as conditions of their own, does not count."""
    return _own(old) != _own(new)


def _own(status: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: status[key] for key in KEYS if key in status}
    own["conditions"] = [condition for condition in status.get("conditions") or () if condition.get("type") in TYPES]
    own["conditions"].sort(key=lambda condition: TYPES.index(condition["type"]))
    return own


def _of_good_spec(server: GmqServer, context: Context, observed: Observed, now: datetime) -> list[Condition]:
    seen = view(server, context, observed, now)
    storage = storage_ready.condition(seen)
    return [ready.condition(seen, storage), progressing.condition(seen, storage), storage, paused.condition(paused=server.spec.paused)]


def _of_bad_spec(valid: Condition, serving: int) -> list[Condition]:
    still = f"Nothing was changed; pods that are ready: {serving}." if serving else "Nothing was made or changed."
    return [
        valid,
        Condition(
            "Ready", "False", valid.reason if valid.reason == "SwitchRefused" else "SpecInvalid", f"{quoted(valid.message, 900)} {still}"
        ),
        Condition("Progressing", "False", "SpecInvalid", "The operator waits for a spec that keeps the rules: see SpecValid."),
        Condition("StorageReady", "Unknown", "SpecInvalid", "Not looked at while the spec breaks rules: see SpecValid."),
    ]
