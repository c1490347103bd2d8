"""Structures: what makes one unusable, and makers of those that a training set needs."""

from ase_vibent.structures.clusters import clusters
from ase_vibent.structures.displacements import apply_strain, damage, rattle
from ase_vibent.structures.duplicates import unique
from ase_vibent.structures.embedding import embed
from ase_vibent.structures.point_defects import (
    antisites,
    divacancies,
    dumbbells,
    interstitials,
    vacancies,
)
from ase_vibent.structures.sublattices import label_sublattices
from ase_vibent.structures.validity import check_structure
from ase_vibent.structures.voids import voids
from ase_vibent.structures.wigner_seitz import SiteOccupation, wigner_seitz_defects

__all__ = [
    "SiteOccupation",
    "antisites",
    "check_structure",
    "clusters",
    "damage",
    "divacancies",
    "dumbbells",
    "embed",
    "interstitials",
    "label_sublattices",
    "rattle",
    "apply_strain",
    "unique",
    "vacancies",
    "voids",
    "wigner_seitz_defects",
]
