"""What entropies are wanted for: formation and concentrations of defects, rates."""

from ase_vibent.thermo.formation import DefectFormation, defect_formation
from ase_vibent.thermo.rates import TransitionRate, attempt_frequency, transition_rate
from ase_vibent.thermo.reservoirs import Reservoir

__all__ = [
    "DefectFormation",
    "Reservoir",
    "TransitionRate",
    "attempt_frequency",
    "defect_formation",
    "transition_rate",
]
