"""Paused: the operator keeps its hands off."""

from gmq_operator.status.condition import Condition


def condition(*, paused: bool) -> Condition:
    """Whether spec.paused is set."""
    if paused:
        return Condition(
            "Paused", "True", "Paused", "spec.paused is true: the operator changes nothing, and does not put back what others change."
        )
    return Condition("Paused", "False", "NotPaused", "The operator keeps everything as the spec asks.")
