"""Parameters of the exact calculators: their defaults, and which go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, get_args

from ase_vibent.checks import check_choice, check_integer, check_positive
from ase_vibent.crystal.bulk import WIDTH
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.mesh import check_mesh
from ase_vibent.harmonic.spectrum import check_unstable
from ase_vibent.harmonic.system import Engine
from ase_vibent.hessian import HessianOptions

#: See `HessianEntropyCalculator`.
DEFAULTS: dict[str, Any] = {
    "temperature": 300.0,
    "unstable": 0,
    "quantum": False,
    "decomposition": "mass-weighted",
    "engine": "auto",
    "mesh": "auto",
    "floor": 0.0,
    "tolerance": 1e-6,
    "radius": 10.0,
    "steps": 20,
    "bulk_width": WIDTH,
    **asdict(HessianOptions()),
}

#: Parameters that leave a structure's Hessian, and what has been solved of it, as they are.
OF_RESULTS = frozenset({"temperature", "quantum", "decomposition", "radius", "steps"})

#: See `HessianEntropyCalculator`.
Decomposition = Literal["mass-weighted", "mass-free", "normalised"]
EngineChoice = Literal["auto", Engine, "ball"]
_CHOICES = {"decomposition": get_args(Decomposition), "engine": get_args(EngineChoice)}


def check_parameters(wanted: Mapping[str, Any], *, has_crystal: bool) -> None:
    """Raise InvalidInputError unless parameters have values that go together.

    Parameters
    ----------
    wanted : mapping
        All of `DEFAULTS`.
    has_crystal : bool
        Whether there is a perfect crystal.
    """
    check_unstable(wanted["unstable"])
    HessianOptions.among(wanted)
    for name, unit in (("tolerance", "k_B"), ("radius", "Å"), ("bulk_width", "Å")):
        check_positive(name, wanted[name], unit)
    check_integer("steps", wanted["steps"], 1)
    for name, allowed in _CHOICES.items():
        check_choice(name, wanted[name], allowed)
    engine, normalised = wanted["engine"], wanted["decomposition"] == "normalised"
    if wanted["quantum"] and wanted["decomposition"] != "mass-weighted":
        raise InvalidInputError(
            "decomposition: quantum entropies do not separate from the masses; use 'mass-weighted'"
        )
    if wanted["quantum"] and engine in ("ball", "contour"):
        raise InvalidInputError(
            f"engine: {engine!r} is for classical entropies; use 'dense' or 'lanczos'"
        )
    if (normalised or engine == "ball") and not has_crystal:
        raise InvalidInputError(
            f"crystal: {'the normalised decomposition' if normalised else 'the ball engine'} "
            "needs the perfect crystal; pass crystal=…"
        )
    check_mesh(wanted["mesh"])
    if wanted["floor"]:
        _check_floor(wanted)
    if normalised and engine not in ("auto", "dense", "contour"):
        raise InvalidInputError(
            f"engine: the normalised decomposition needs 'dense' or 'contour', got {engine!r}"
        )
    if engine == "ball" and wanted["unstable"] != 0:
        raise InvalidInputError("unstable: the ball engine is for minima; expected 0")


def _check_floor(wanted: Mapping[str, Any]) -> None:
    """Raise InvalidInputError unless a floor goes with all else."""
    check_positive("floor", wanted["floor"], "eV/Å²")
    needed = {"decomposition": ("mass-free",), "engine": ("auto", "dense"), "quantum": (False,)}
    for name, allowed in needed.items():
        if wanted[name] not in allowed:
            raise InvalidInputError(
                f"floor: it is for classical entropies by diagonalisation, without masses; pass "
                f"{name}={allowed[0]!r}, got {wanted[name]!r}"
            )
