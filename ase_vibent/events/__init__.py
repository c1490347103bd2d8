"""Events: saddles between minima, found, tabled, and learned."""

from ase_vibent.events.event import Event, read_events
from ase_vibent.events.search import SearchSummary, find_events
from ase_vibent.events.splits import SplitErrors, split_errors
from ase_vibent.events.surrogate import EventSurrogate, PredictedEvents
from ase_vibent.events.table import EventTable

__all__ = [
    "Event",
    "EventSurrogate",
    "EventTable",
    "PredictedEvents",
    "SearchSummary",
    "SplitErrors",
    "find_events",
    "read_events",
    "split_errors",
]
