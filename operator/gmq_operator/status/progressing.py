"""Progressing: what the spec asks for is on its way, has arrived, or is stuck."""

from gmq_operator.observed import CLAIM
from gmq_operator.status.condition import Condition, quoted
from gmq_operator.status.endpoints import without_address
from gmq_operator.status.rollout import Rollout
from gmq_operator.status.storage_ready import NOT_AS_ASKED
from gmq_operator.status.view import NEEDED, View, listed


def condition(view: View, storage: Condition) -> Condition:
    """Where the last change is; what StorageReady and Ready tell is not told again."""
    return _held(view) or _moving(view) or _settled(view, storage)


def _held(view: View) -> Condition | None:
    """Nothing comes on."""
    if view.server.spec.paused:
        return _not("Paused", "Changes of the spec are not applied while spec.paused is true.")
    told = set(view.refused(*NEEDED))
    if refused := {key: text for key, text in view.refused().items() if key[0] != CLAIM}:
        others = listed({key: text for key, text in refused.items() if key not in told})
        where = "What was refused is told by Ready." if told else ""
        return _not("ApplyRefused", f"A part of what the spec asks for was refused; it is tried again. {where} {others}")
    return None


def _moving(view: View) -> Condition | None:
    """Something is on its way, or was and is stuck."""
    rollout, trouble = view.rollout, view.trouble
    if waiting := view.observed.waiting:
        return _on("Waiting", listed(waiting))
    if rollout is None:
        return _on("Creating", "The parts of the server are being created.")
    if rollout.deadline_exceeded and not rollout.complete:
        return _not("Stuck", f"The pods of the last change did not become ready in time. {_why(view, rollout)[1]}")
    if not rollout.current:
        return _on("RollingOut", "The Deployment was changed just now.")
    coming = rollout.ready < rollout.wanted and trouble is None  # the pods are ready, and the Deployment is about to say so
    if coming or rollout.replicas != rollout.wanted or (rollout.wanted and not rollout.complete):
        return _rolling(view, rollout)
    if trouble is not None and (trouble.passing or trouble.reason == "PodStuckStopping"):
        return _on(trouble.reason, trouble.message)
    return None


def _settled(view: View, storage: Condition) -> Condition:
    """All that was to be done is done."""
    if storage.reason in NOT_AS_ASKED:
        return _not(storage.reason, "Every part but the claim is as the spec asks. What is wrong with the claim is told by StorageReady.")
    if view.not_served:
        kinds = ", ".join(f"{kind.kind} ({kind.api_version})" for kind in view.not_served)
        return _not("KindNotServed", f"All is as the spec asks, but for what this cluster does not know: {kinds}.")
    notes = ["Every part is as the spec asks."]
    if view.rollout is not None and view.rollout.ready < view.rollout.wanted:
        notes.append("What is wrong is told by Ready.")
    if without_address(view.observed):
        notes.append("The load balancer has no address yet.")
    return _not("Complete", " ".join(notes))


def _rolling(view: View, rollout: Rollout) -> Condition:
    """Pods are replaced, added or taken away; what stops one of them is told at once, long before the Deployment gives up."""
    reason, why = _why(view, rollout)
    numbers = f"Pods made as the spec asks now: {rollout.updated} of {rollout.wanted}; pods that are ready: {rollout.ready}."
    return _on(reason or "RollingOut", f"{numbers} {why}".rstrip())


def _why(view: View, rollout: Rollout) -> tuple[str, str]:
    """What stops the new pods, as reason and message. Ready tells it where too few are ready: it is not told twice."""
    if rollout.ready < rollout.wanted:
        return "", "What they wait for is told by Ready." if view.trouble or rollout.failure else ""
    if rollout.failure:
        return "PodsRefused", f"The cluster refuses to create the pods: {quoted(rollout.failure)}"
    if view.trouble is not None and not view.trouble.passing:
        return view.trouble.reason, view.trouble.message
    return "", ""


def _on(reason: str, message: str) -> Condition:
    return Condition("Progressing", "True", reason, message)


def _not(reason: str, message: str) -> Condition:
    return Condition("Progressing", "False", reason, message)
