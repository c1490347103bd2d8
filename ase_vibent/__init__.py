"""Harmonic vibrational entropy of crystals and defects, atom by atom, in linear time."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_vibent.bulk import bulk_site_entropies
    from ase_vibent.calculator import SiteEnergyCalculator, SiteEntropyCalculator
    from ase_vibent.dataset import read_labels, write_labels
    from ase_vibent.descriptors import ACE, AFS, Bispectrum
    from ase_vibent.labelling import attach_labels
    from ase_vibent.model import SiteModel
    from ase_vibent.phonopy_calculator import PhonopyEntropyCalculator
    from ase_vibent.reference import (
        FiniteDifferenceEntropyCalculator,
        HessianEntropyCalculator,
    )
    from ase_vibent.selection import select
    from ase_vibent.training.trainer import train
    from ase_vibent.verification import verify

__version__ = "0.1.0"

__all__ = [
    "ACE",
    "AFS",
    "Bispectrum",
    "FiniteDifferenceEntropyCalculator",
    "HessianEntropyCalculator",
    "PhonopyEntropyCalculator",
    "SiteEnergyCalculator",
    "SiteEntropyCalculator",
    "SiteModel",
    "attach_labels",
    "bulk_site_entropies",
    "read_labels",
    "select",
    "train",
    "verify",
    "write_labels",
]

# Loaded when first asked for: numba and phonopy take seconds that most imports can do without.
_HOMES = {
    "ACE": "descriptors",
    "AFS": "descriptors",
    "Bispectrum": "descriptors",
    "FiniteDifferenceEntropyCalculator": "reference",
    "HessianEntropyCalculator": "reference",
    "PhonopyEntropyCalculator": "phonopy_calculator",
    "SiteEnergyCalculator": "calculator",
    "SiteEntropyCalculator": "calculator",
    "SiteModel": "model",
    "attach_labels": "labelling",
    "bulk_site_entropies": "bulk",
    "read_labels": "dataset",
    "select": "selection",
    "train": "training.trainer",
    "verify": "verification",
    "write_labels": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
