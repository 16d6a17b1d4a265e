"""The status of a GmqServer and the Events about it: pure functions of what was observed, one module for each condition."""

from gmq_operator.status.compute import changed, compute
from gmq_operator.status.events import Event, events
from gmq_operator.status.spec_valid import refused_switch

__all__ = ["Event", "changed", "compute", "events", "refused_switch"]
