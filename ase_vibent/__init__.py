"""Harmonic vibrational entropy of crystals and defects, atom by atom, in linear time."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ase_vibent._version import __version__

if TYPE_CHECKING:
    from ase_vibent.calculators.hessian import (
        FiniteDifferenceEntropyCalculator,
        HessianEntropyCalculator,
    )
    from ase_vibent.calculators.phonopy import PhonopyEntropyCalculator
    from ase_vibent.calculators.surrogate import SiteEnergyCalculator, SiteEntropyCalculator
    from ase_vibent.crystal.bulk import bulk_site_entropies
    from ase_vibent.dataset import read_labels, write_labels
    from ase_vibent.descriptors import ACE, AFS, Bispectrum, PairFunctions
    from ase_vibent.hessian import HessianOptions, read_hessian
    from ase_vibent.labelling.labels import attach_labels
    from ase_vibent.model import SiteModel
    from ase_vibent.report.notebook import show
    from ase_vibent.training.selection import select
    from ase_vibent.training.trainer import train
    from ase_vibent.verification.verify import verify


__all__ = [
    "__version__",
    "ACE",
    "AFS",
    "Bispectrum",
    "FiniteDifferenceEntropyCalculator",
    "HessianEntropyCalculator",
    "HessianOptions",
    "PairFunctions",
    "PhonopyEntropyCalculator",
    "SiteEnergyCalculator",
    "SiteEntropyCalculator",
    "SiteModel",
    "attach_labels",
    "bulk_site_entropies",
    "read_hessian",
    "read_labels",
    "select",
    "show",
    "train",
    "verify",
    "write_labels",
]

# Loaded when first asked for: numba and phonopy take seconds that most imports can do without.
_HOMES = {
    "ACE": "descriptors",
    "AFS": "descriptors",
    "Bispectrum": "descriptors",
    "FiniteDifferenceEntropyCalculator": "calculators.hessian",
    "HessianEntropyCalculator": "calculators.hessian",
    "HessianOptions": "hessian",
    "PairFunctions": "descriptors",
    "PhonopyEntropyCalculator": "calculators.phonopy",
    "SiteEnergyCalculator": "calculators.surrogate",
    "SiteEntropyCalculator": "calculators.surrogate",
    "SiteModel": "model",
    "attach_labels": "labelling.labels",
    "bulk_site_entropies": "crystal.bulk",
    "read_hessian": "hessian",
    "read_labels": "dataset",
    "select": "training.selection",
    "show": "report.notebook",
    "train": "training.trainer",
    "verify": "verification.verify",
    "write_labels": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
