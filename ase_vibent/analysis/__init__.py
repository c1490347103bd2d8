"""What site entropies and energies depend on: locality, and how models generalise."""

from ase_vibent.analysis.energy_norm import EnergyNorm
from ase_vibent.analysis.generalisation import (
    DefectErrors,
    PowerLaw,
    convergence_rate,
    defect_errors,
)
from ase_vibent.analysis.matching import MatchingConditions, TrainingCell, displaced_samples

__all__ = [
    "DefectErrors",
    "EnergyNorm",
    "MatchingConditions",
    "PowerLaw",
    "TrainingCell",
    "convergence_rate",
    "defect_errors",
    "displaced_samples",
]
