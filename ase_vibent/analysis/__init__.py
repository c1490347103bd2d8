"""What site entropies depend on: lattice models, locality, truncation."""

from ase_vibent.analysis.lattice import (
    LatticeModel,
    cscl_lattice,
    diatomic_chain,
    pair_lattice,
    two_sublattice_square,
)
from ase_vibent.analysis.locality import SiteLocality, site_locality
from ase_vibent.analysis.power_law import PowerLaw, RecommendedCutoff
from ase_vibent.analysis.truncation import TruncatedEntropies, truncated_site_entropies

__all__ = [
    "LatticeModel",
    "PowerLaw",
    "RecommendedCutoff",
    "SiteLocality",
    "TruncatedEntropies",
    "cscl_lattice",
    "diatomic_chain",
    "pair_lattice",
    "site_locality",
    "truncated_site_entropies",
    "two_sublattice_square",
]
