"""Progressing: what the spec asks for is on its way, has arrived, or is stuck."""

from gmq_operator.status.condition import Condition
from gmq_operator.status.view import View, refusals


def condition(view: View) -> Condition:
    """Where the last change is."""
    if view.server.spec.paused:
        return _not("Paused", "Changes of the spec are not applied while spec.paused is true.")
    if refused := view.refused():
        return _not("ApplyRefused", f"The API server refused a part of what the spec asks for; it is tried again. {refusals(refused)}")
    rollout = view.rollout
    if rollout is None:
        return _on("Creating", "The parts of the server are being created.")
    if rollout.deadline_exceeded and not rollout.complete:
        why = view.trouble.message if view.trouble is not None else rollout.deadline_exceeded
        return _not("Stuck", f"The pods of the last change did not become ready in time. {why}")
    if not rollout.current:
        return _on("RollingOut", "The Deployment was changed just now.")
    if rollout.replicas > rollout.wanted and rollout.updated == rollout.replicas:
        return _on("ScalingDown", f"{rollout.replicas} pods are there, {rollout.wanted} are asked for.")
    if rollout.wanted and not rollout.complete:
        return _on("RollingOut", f"{rollout.updated} of {rollout.wanted} pods are made as the spec asks now, {rollout.available} serve.")
    if view.trouble is not None and view.trouble.passing and rollout.ready < rollout.wanted:
        return _on(view.trouble.reason, view.trouble.message)
    if view.not_served:
        kinds = ", ".join(f"{kind.kind} ({kind.api_version})" for kind in view.not_served)
        return _not("KindNotServed", f"All is as the spec asks, but for what this cluster does not know: {kinds}.")
    return _not(
        "Complete", "Every part is as the spec asks." + ("" if rollout.ready >= rollout.wanted else " What is wrong is told by Ready.")
    )


def _on(reason: str, message: str) -> Condition:
    return Condition("Progressing", "True", reason, message)


def _not(reason: str, message: str) -> Condition:
    return Condition("Progressing", "False", reason, message)
