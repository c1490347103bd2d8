"""What entropies are wanted for: concentrations of defects, rates, free energies of paths."""

from ase_vibent.thermo.compensation import CompensationLaw, compensation_law
from ase_vibent.thermo.convergence import Extrapolation, have_a_limit, size_convergence
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
    "Extrapolation",
    "PathProfile",
    "Reservoir",
    "TransitionRate",
    "attempt_frequency",
    "compensation_law",
    "defect_formation",
    "have_a_limit",
    "label_path",
    "path_coordinates",
    "path_profile",
    "path_tangents",
    "size_convergence",
    "transition_rate",
]
