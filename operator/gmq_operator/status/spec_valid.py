"""SpecValid: the spec keeps every rule, those included that need to know what runs."""

from gmq_operator.observed import Observed
from gmq_operator.spec import GmqServer, SpecError
from gmq_operator.status.condition import Condition, quoted
from gmq_operator.status.rollout import storage_in_use


def condition(server: GmqServer | SpecError, observed: Observed) -> Condition:
    """Whether the operator acts on the spec."""
    if isinstance(server, SpecError):
        return Condition("SpecValid", "False", "Invalid", _numbered(server.problems))
    if (problem := refused_switch(server, observed)) is not None:
        return Condition("SpecValid", "False", "SwitchRefused", problem)
    return Condition("SpecValid", "True", "Valid", "The spec keeps every rule.")


def refused_switch(server: GmqServer, observed: Observed) -> str | None:
    """Why the type of storage may not change as the spec asks; None when it may, or does not change.

    Messages are not carried from one storage to another, so a change of the type has to name the type that is left.
    """
    used, storage = storage_in_use(observed), server.spec.storage
    if used in (None, storage.type, storage.switch_from):
        return None
    found = "is not set" if storage.switch_from is None else f"is {storage.switch_from}"
    return (
        f"spec.storage.type: this server keeps its messages in {used}, and {storage.type} would not have them: nothing is carried over. "
        f"To leave them behind, set spec.storage.switchFrom to {used} (it {found}); else set spec.storage.type back to {used}."
    )


def _numbered(problems: list[str]) -> str:
    if len(problems) == 1:
        return quoted(problems[0])
    return f"{len(problems)} problems: " + " ".join(f"({number}) {quoted(problem)}" for number, problem in enumerate(problems, 1))
