"""`vibent formation`: defects beside their crystal, and the limit of large cells."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.units import kB

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.cli.arguments import length
from ase_vibent.cli.files import progress_bar, read_structures, require_plottable, show
from ase_vibent.cli.plots import formation_plot
from ase_vibent.cli.thermodynamics import add_thermodynamics, calculators
from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.stationary import relax
from ase_vibent.structures.cells import _supercell
from ase_vibent.thermo import (
    DefectFormation,
    Extrapolation,
    defect_formation,
    have_a_limit,
    size_convergence,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("defects", nargs="+", help="files that ASE reads, all frames of each")
    parser.add_argument(
        "--reference",
        required=True,
        metavar="CRYSTAL",
        help="perfect crystal, a unit cell or a supercell",
    )
    add_thermodynamics(parser)
    parser.add_argument(
        "--relax", action="store_true", help="relax the defects first, in their cells"
    )
    parser.add_argument(
        "--chemical-potential",
        action="append",
        default=[],
        type=_chemical_potential,
        metavar="SYMBOL=EV",
        help="energy per atom of a species in equilibrium with the crystal; for compounds and "
        "impurities",
    )
    parser.add_argument(
        "--multiplicity",
        type=length,
        metavar="G",
        help="equivalent defects per primitive cell; default: counted by symmetry",
    )
    parser.add_argument(
        "--energy",
        type=float,
        metavar="EV",
        help="formation energy from elsewhere, with --energy-at",
    )
    parser.add_argument(
        "--energy-at",
        choices=("volume", "pressure"),
        default="volume",
        help="whether that energy is one at constant volume (default) or constant pressure",
    )


def _chemical_potential(text: str) -> tuple[str, float]:
    """Symbol and energy, as in Cd=-1.2."""
    symbol, _, energy = text.partition("=")
    with suppress(ValueError):
        if symbol in chemical_symbols[1:] and math.isfinite(float(energy)):
            return symbol, float(energy)
    raise argparse.ArgumentTypeError(f"expected a symbol and an energy, as Cd=-1.2, got {text!r}")


def run(options: argparse.Namespace) -> int:
    """`vibent formation`: defects beside their crystal, and the limit of large cells."""
    require_plottable(options.plot)
    calculator, potential = calculators(options)
    sources, defects = read_structures(options.defects)
    if len(set(sources)) < len(sources):
        sources = [f"{number}: {source}" for number, source in enumerate(sources)]
    if options.relax and potential is None:
        raise InvalidInputError("--relax: needs the potential, --calculator")
    if options.energy is not None and len(defects) > 1:
        raise InvalidInputError(f"--energy: is that of one defect, got {len(defects)} structures")
    given = read_structures([options.reference])[1]
    crystals = [_supercell(defect, given) for defect in defects]
    rows: list[tuple[str, DefectFormation]] = []
    pairs = list(zip(sources, defects, crystals, strict=True))
    for source, defect, crystal in progress_bar(pairs, len(pairs), "defects"):
        try:
            rows.append((source, _formation_of(defect, crystal, calculator, potential, options)))
        except VibentError as error:
            print(f"vibent formation: {source}: {error}", file=sys.stderr)
    if not rows:
        return 1
    limits = _limits([found for _, found in rows])
    if options.plot:
        formation_plot(dict(rows), options.plot)
    show(
        options,
        {
            "defects": [{"structure": name, **_formation_data(found)} for name, found in rows],
            "large_cells": {k: _limit_data(v) for k, v in limits.items()},
        },
        _formation_table(rows, limits),
    )
    return int(len(rows) < len(defects))


def _formation_of(
    defect: Atoms,
    crystal: Atoms,
    calculator: EntropyCalculator,
    potential: Any,
    options: argparse.Namespace,
) -> DefectFormation:
    found = defect_formation(
        relax(defect, potential) if options.relax else defect,
        crystal,
        calculator,
        options.temperature,
        potential=potential,
        chemical_potentials=dict(options.chemical_potential),
        multiplicity=options.multiplicity,
        fmax=options.fmax,
    )
    if options.energy is None:
        return found
    return found.with_energy(options.energy, f"constant {options.energy_at}")


def _limits(formations: Sequence[DefectFormation]) -> dict[str, Extrapolation]:
    """Limits of large cells, if these are cells of one defect."""
    if not have_a_limit(formations):
        return {}
    limits = {"entropy": size_convergence(formations)}
    if not any(np.isnan(f.energy) for f in formations):
        limits["energy"] = size_convergence(formations, "energy")
    return limits


def _formation_data(found: DefectFormation) -> dict[str, Any]:
    known = not (np.isnan(found.energy) or np.isnan(found.multiplicity))
    return {
        "n_atoms_of_crystal": found.n_atoms,
        "excess_atoms": found.excess,
        "condition": found.condition,
        "formation_energy_eV": found.energy,
        "entropy_std_eV_per_K": found.entropy_std,
        "multiplicity": found.multiplicity,
        "temperatures_K": found.temperatures.tolist(),
        "formation_entropies_eV_per_K": found.entropies.tolist(),
        "formation_free_energies_eV": found.free_energies.tolist(),
        "degeneracy_factors": found.degeneracy_factors.tolist(),
        "concentrations": found.concentrations.tolist() if known else None,
        "densities_per_cm3": found.densities.tolist() if known else None,
    }


def _limit_data(limit: Extrapolation) -> dict[str, Any]:
    return {
        "n_atoms": limit.n_atoms.tolist(),
        "values": limit.values.tolist(),
        "limit": limit.limit,
        "error": limit.error,
    }


def _formation_table(
    rows: Sequence[tuple[str, DefectFormation]], limits: dict[str, Extrapolation]
) -> str:
    lines = [
        f"{'structure':<24} {'crystal':>8} {'excess':<12} {'E_f (eV)':>10} {'S_f (k_B)':>10} "
        f"{'± (k_B)':>8} {'g':>5}  at"
    ]
    for name, found in rows:
        excess = " ".join(f"{count:+d} {s}" for s, count in found.excess.items()) or "none"
        lines.append(
            f"{name:<24} {found.n_atoms:>8} {excess:<12} {found.energy:>10.4f} "
            f"{found.entropies[0] / kB:>10.4f} {found.entropy_std / kB:>8.4f} "
            f"{found.multiplicity:>5g}  {found.condition}"
        )
    for kind, unit, scale in (("entropy", "k_B", kB), ("energy", "eV", 1.0)):
        if kind in limits:
            limit = limits[kind]
            lines.append(
                f"large cells: formation {kind} {limit.limit / scale:.4f} ± "
                f"{limit.error / scale:.4f} {unit} (linear in 1/N)"
            )
    lines.append(
        f"{'structure':<24} {'T (K)':>8} {'F_f (eV)':>10} {'exp(-F_vib/kT)':>15} "
        f"{'per primitive cell':>19} {'per cm³':>10}"
    )
    for name, found in rows:
        data = _formation_data(found)
        for k, temperature in enumerate(found.temperatures):
            shares = [data["concentrations"], data["densities_per_cm3"]]
            cells = ["-" if s is None else f"{s[k]:.3e}" for s in shares]
            lines.append(
                f"{name:<24} {temperature:>8g} {found.free_energies[k]:>10.4f} "
                f"{found.degeneracy_factors[k]:>15.4g} {cells[0]:>19} {cells[1]:>10}"
            )
    return "\n".join([*lines, "g: equivalent defects per primitive cell, orientations included"])
