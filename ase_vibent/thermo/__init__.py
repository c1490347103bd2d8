"""What entropies are wanted for: formation and concentrations of defects, rates, events."""

from ase_vibent.thermo.compensation import CompensationLaw, compensation_law
from ase_vibent.thermo.convergence import Extrapolation, have_a_limit, size_convergence
from ase_vibent.thermo.event_search import SearchSummary, find_events
from ase_vibent.thermo.event_surrogate import EventSurrogate, SplitErrors, split_errors
from ase_vibent.thermo.event_table import EventTable
from ase_vibent.thermo.events import Event, read_events
from ase_vibent.thermo.formation import DefectFormation, defect_formation
from ase_vibent.thermo.paths import (
    PathProfile,
    label_path,
    path_coordinates,
    path_profile,
    path_tangents,
)
from ase_vibent.thermo.rates import TransitionRate, attempt_frequency, transition_rate
from ase_vibent.thermo.reservoirs import Reservoir

__all__ = [
    "CompensationLaw",
    "DefectFormation",
    "Event",
    "EventSurrogate",
    "EventTable",
    "Extrapolation",
    "PathProfile",
    "Reservoir",
    "SearchSummary",
    "SplitErrors",
    "TransitionRate",
    "attempt_frequency",
    "compensation_law",
    "defect_formation",
    "find_events",
    "have_a_limit",
    "label_path",
    "path_coordinates",
    "path_profile",
    "path_tangents",
    "read_events",
    "size_convergence",
    "split_errors",
    "transition_rate",
]
