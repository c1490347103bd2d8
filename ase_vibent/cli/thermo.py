"""`vibent formation` and `vibent rate`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.cli import hessian_options
from ase_vibent.cli.files import model_file, progress_bar, read_structures, require_plottable, show
from ase_vibent.cli.plots import formation_plot, rate_plot
from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.stationary import relax
from ase_vibent.structures.cells import _supercell
from ase_vibent.thermo import (
    DefectFormation,
    Extrapolation,
    TransitionRate,
    defect_formation,
    have_a_limit,
    size_convergence,
    transition_rate,
)


def formation(options: argparse.Namespace) -> int:
    """`vibent formation`: defects beside their crystal, and the limit of large cells."""
    require_plottable(options.plot)
    calculator, potential = _calculators(options)
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


def rate(options: argparse.Namespace) -> int:
    """`vibent rate`: attempt frequency, barrier and rate of one event."""
    require_plottable(options.plot)
    calculator, potential = _calculators(options)
    minimum, saddle = (read_structures([path])[1][-1] for path in (options.minimum, options.saddle))
    found = transition_rate(
        minimum,
        saddle,
        calculator,
        options.temperature,
        potential=potential,
        check_modes=not options.unchecked,
        fmax=options.fmax,
    )
    if options.plot:
        rate_plot(found, options.plot)
    show(options, _rate_data(found), _rate_table(found))
    return 0


def _calculators(options: argparse.Namespace) -> tuple[EntropyCalculator, Any]:
    """What gives entropies, and what gives energies, if anything."""
    potential = CalculatorSpec(options.calculator)() if options.calculator else None
    if options.model:
        model = model_file(options.model)
        return SiteEntropyCalculator(model, quantum=options.quantum), potential
    if potential is None:
        raise InvalidInputError(
            "--model, --calculator: give a model, or a calculator for exact entropies, or both: "
            "entropies of the model, energies of the calculator"
        )
    return HessianEntropyCalculator(
        potential,
        quantum=options.quantum,
        **asdict(hessian_options(options)),
    ), potential


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


def _rate_data(found: TransitionRate) -> dict[str, Any]:
    lower, upper = found.band()
    return {
        "barrier_eV": found.barrier,
        "log_attempt_frequency_std": found.log_std,
        "temperatures_K": found.temperatures.tolist(),
        "attempt_frequencies_Hz": found.attempt_frequencies.tolist(),
        "entropy_differences_eV_per_K": found.entropies.tolist(),
        "rates_per_s": found.rates.tolist(),
        "rates_lower_per_s": lower.tolist(),
        "rates_upper_per_s": upper.tolist(),
    }


def _rate_table(found: TransitionRate) -> str:
    lines = [
        f"barrier {found.barrier:.4f} eV; attempt frequency "
        f"{found.attempt_frequencies[0] / 1e12:.4g} THz, ± {found.log_std:.2g} in its logarithm",
        f"{'T (K)':>8} {'ν* (THz)':>10} {'ΔS (k_B)':>10} {'ΔF (eV)':>10} {'rate (1/s)':>12}  "
        "one standard deviation",
    ]
    for k, (low, high) in enumerate(zip(*found.band(), strict=True)):
        lines.append(
            f"{found.temperatures[k]:>8g} {found.attempt_frequencies[k] / 1e12:>10.4g} "
            f"{found.entropies[k] / kB:>10.4f} {found.free_energy_barriers[k]:>10.4f} "
            f"{found.rates[k]:>12.4e}  {low:.3e} to {high:.3e}"
        )
    return "\n".join(lines)
