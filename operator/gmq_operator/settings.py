"""How the operator runs: what its command line says, and the times it keeps."""

from typing import Final, Literal

from msgspec import Struct

RESYNC: Final = 600.0
"""Seconds between two looks at everything: all is listed anew, and every GmqServer reconciled."""
DISCOVERY: Final = 60.0
"""Seconds between two looks for kinds that the cluster did not have."""
FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 30.0
"""Seconds until something that the operator needs to start, or its watch, is tried again."""
WORKERS: Final = 8
"""GmqServers that are reconciled at a time."""
STOPPING: Final = 5.0
"""Seconds that the parts have to stop."""
STALLED: Final = 300.0
"""Seconds after which a GmqServer that waits for a worker, or that a worker does not come to an end with, means that nothing goes on."""


class Settings(Struct, frozen=True, kw_only=True):
    """What the command line says."""

    image: str
    """The broker's image where a spec names none."""
    namespaces: tuple[str, ...] = ()
    """The namespaces whose GmqServers are served; none: those of the whole cluster."""
    host: str = ""
    """The interface of the port for probes and scrapers; empty: all of them."""
    port: int = 8080
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """The namespaces to list; None for all at once."""
        return self.namespaces or (None,)
