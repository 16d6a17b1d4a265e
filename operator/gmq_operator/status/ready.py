"""Ready: the broker that the spec asks for can be used."""

from gmq_operator.status.condition import Condition, quoted
from gmq_operator.status.rollout import Rollout
from gmq_operator.status.storage_ready import explains
from gmq_operator.status.view import NEEDED, View, listed


def condition(view: View, storage: Condition) -> Condition:
    """What keeps the broker from serving, the cause rather than its effects."""
    if needed := view.refused(*NEEDED):
        return _not("ApplyRefused", f"A part of what the spec asks for was refused. {listed(needed)}")
    rollout = view.rollout
    if rollout is None:
        paused = " Nothing is made while spec.paused is true." if view.server.spec.paused else ""
        return _not("NoDeployment", f"The Deployment is not there yet.{paused}")
    if rollout.wanted == 0:
        return Condition("Ready", "True", "ScaledToZero", "No broker runs, as spec.replicas is 0.")
    count = f"Pods that are ready: {min(rollout.ready, rollout.wanted)} of {rollout.wanted}."
    if _serves(rollout):
        return Condition("Ready", "True", "Serving", count)
    if rollout.failure and rollout.replicas < rollout.wanted:
        return _not("PodsRefused", f"{count} The cluster refuses to create the pods: {quoted(rollout.failure)}")
    if storage.status == "False" and explains(storage, view.trouble):
        return _not(storage.reason, f"{count} {storage.message}")
    if view.trouble is not None:
        return _not(view.trouble.reason, f"{count} {view.trouble.message}")
    return _not("RollingOut", f"{count} The pods are on their way.")


def _serves(rollout: Rollout) -> bool:
    """With Recreate, a Deployment that was just changed is about to stop what serves now."""
    return rollout.ready >= rollout.wanted and (not rollout.recreate or (rollout.current and rollout.updated >= rollout.wanted))


def _not(reason: str, message: str) -> Condition:
    return Condition("Ready", "False", reason, message)
