"""What entropies and energies depend on: lattices, locality, truncation, how models generalise."""

from ase_vibent.analysis.density_of_states import DensityOfStates, density_of_states
from ase_vibent.analysis.energy_norm import EnergyNorm
from ase_vibent.analysis.generalisation import (
    DefectErrors,
    TheoremBounds,
    defect_errors,
    theorem_bounds,
)
from ase_vibent.analysis.lattice import (
    LatticeModel,
    cscl_lattice,
    diatomic_chain,
    pair_lattice,
    two_sublattice_square,
)
from ase_vibent.analysis.locality import SiteLocality, site_locality
from ase_vibent.analysis.matching import MatchingConditions, TrainingCell, displaced_samples
from ase_vibent.analysis.power_law import PowerLaw, RecommendedCutoff, convergence_rate
from ase_vibent.analysis.truncation import TruncatedEntropies, truncated_site_entropies

__all__ = [
    "DefectErrors",
    "DensityOfStates",
    "EnergyNorm",
    "MatchingConditions",
    "TrainingCell",
    "convergence_rate",
    "defect_errors",
    "density_of_states",
    "displaced_samples",
    "LatticeModel",
    "PowerLaw",
    "RecommendedCutoff",
    "SiteLocality",
    "TheoremBounds",
    "TruncatedEntropies",
    "cscl_lattice",
    "diatomic_chain",
    "pair_lattice",
    "site_locality",
    "theorem_bounds",
    "truncated_site_entropies",
    "two_sublattice_square",
]
