"""Structures at rest: minima by relaxation, saddles, and checks of either."""

from ase_vibent.stationary.instabilities import Minimum, relax_to_minimum
from ase_vibent.stationary.relaxation import relax
from ase_vibent.stationary.saddles import Saddle, dimer_saddle, path_saddle

__all__ = ["Minimum", "Saddle", "dimer_saddle", "path_saddle", "relax", "relax_to_minimum"]
