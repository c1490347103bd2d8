"""Hessian of a structure: given, analytic, or from finite differences of forces."""

from ase_vibent.hessian.compute import (
    compute_hessian,
    has_analytic_hessian,
    takes_analytic_hessian,
)
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.finite_differences import measured_interaction_range
from ase_vibent.hessian.options import HessianOptions
from ase_vibent.hessian.readers import read_hessian
from ase_vibent.hessian.repeated import repeated_hessian
from ase_vibent.hessian.soft_modes import SoftModes, hessian_products, soft_modes
from ase_vibent.hessian.soft_part import SoftPart, soft_part
from ase_vibent.hessian.source import HessianSource
from ase_vibent.hessian.stored import Polarity, StoredHessian
from ase_vibent.hessian.valence import ValenceForceField

__all__ = [
    "DisplacedForces",
    "HessianOptions",
    "HessianSource",
    "Polarity",
    "SoftModes",
    "SoftPart",
    "StoredHessian",
    "ValenceForceField",
    "compute_hessian",
    "has_analytic_hessian",
    "hessian_products",
    "measured_interaction_range",
    "read_hessian",
    "repeated_hessian",
    "soft_modes",
    "soft_part",
    "takes_analytic_hessian",
]
