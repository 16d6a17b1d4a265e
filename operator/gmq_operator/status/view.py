"""What all conditions look at, read once."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from gmq_operator.observed import CONFIG_MAP, DEPLOYMENT, SECRET, SERVICE, Context, Kind, Observed
from gmq_operator.resources import unserved
from gmq_operator.spec import GmqServer
from gmq_operator.status.condition import quoted
from gmq_operator.status.pods import worst
from gmq_operator.status.rollout import Rollout, rollout
from gmq_operator.status.trouble import Trouble

NEEDED = (CONFIG_MAP, DEPLOYMENT, SECRET, SERVICE)
"""Kinds without which a broker does not do what its spec asks. The claim has a condition of its own."""


class View(Struct, frozen=True):
    """A GmqServer with a good spec, beside what was seen of it."""

    server: GmqServer
    observed: Observed
    rollout: Rollout | None
    trouble: Trouble | None
    not_served: tuple[Kind, ...]
    """Kinds that the spec asks for and the cluster has not."""

    def refused(self, *kinds: Kind) -> Mapping[tuple[Kind, str], str]:
        """What the API server said to children of these kinds that it refused; to all children without a kind."""
        return {key: text for key, text in self.observed.refused.items() if not kinds or key[0] in kinds}


def view(server: GmqServer, context: Context, observed: Observed, now: datetime) -> View:
    """Read what was observed."""
    return View(
        server=server,
        observed=observed,
        rollout=rollout(observed),
        trouble=worst(observed, now),
        not_served=tuple(unserved(server, context)),
    )


def listed(said: Mapping[tuple[Kind, str], str]) -> str:
    """What is said of children, in one paragraph."""
    return " ".join(f"{kind.kind} {name}: {quoted(text)}" for (kind, name), text in said.items())
