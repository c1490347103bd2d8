"""`vibent formation`: defects beside their crystal, and the limit of large cells."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.cli.shared.arguments import add_bulk_width, length
from ase_vibent.cli.shared.files import (
    add_format,
    progress_bar,
    read_structures,
    require_page,
    require_plottable,
    show,
)
from ase_vibent.cli.shared.hessians import add_hessians, stored_hessians
from ase_vibent.cli.shared.output import write_result
from ase_vibent.cli.shared.thermodynamics import (
    add_dilute,
    add_thermodynamics,
    calculators,
    soft_mode_calls,
    soft_mode_lines,
)
from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.figures import formation_plot
from ase_vibent.report.defects import (
    FORMATION_COLUMNS,
    FORMATION_NOTES,
    SHARE_COLUMNS,
    formation_page,
    formation_rows,
    limit_lines,
    share_rows,
)
from ase_vibent.report.site_values import SiteValues, site_values
from ase_vibent.stationary import relax
from ase_vibent.structures.cells import closest_supercell, repeated
from ase_vibent.tables import format_table
from ase_vibent.thermo import (
    DefectFormation,
    Extrapolation,
    defect_formation,
    have_a_limit,
    size_convergence,
)

#: Force to which --relax goes, eV/Å, unless less is asked for.
RELAXED = 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "defects",
        nargs="*",
        help="files that ASE reads, all frames of each; with --hessian those of its files, if left "
        "out",
    )
    parser.add_argument(
        "--reference", metavar="CRYSTAL", help="perfect crystal, a unit cell or a supercell"
    )
    add_format(parser)
    add_hessians(parser)
    add_thermodynamics(parser)
    add_bulk_width(parser)
    parser.add_argument(
        "--relax", action="store_true", help="relax the defects first, in their cells"
    )
    add_dilute(parser, "the defects are relaxed")
    parser.add_argument(
        "--condition",
        choices=("volume", "pressure"),
        help="take energy and entropy to constant volume or constant pressure, by elasticity; "
        "default: what the cells are in",
    )
    parser.add_argument(
        "--image-entropy",
        action="store_true",
        help="also what periodic images do to S_f, by elasticity: some twice the cost",
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
    require_page(options.report)
    stored = stored_hessians(options, options.defects, options.reference)
    calculator, potential, surrogate = calculators(
        options, stored.all, bulk_width=options.bulk_width
    )
    calculator.temperature = options.temperature[0]  # of site values
    if stored.defects:
        sources = [Path(path).name for path in options.hessian]
        defects = [hessian.atoms for hessian in stored.defects]
    elif options.defects:
        sources, defects = read_structures(options.defects, options.format)
    else:
        raise InvalidInputError("defects: give files, or --hessian")
    if len(set(sources)) < len(sources):
        sources = [f"{number}: {source}" for number, source in enumerate(sources)]
    if options.relax and potential is None:
        raise InvalidInputError("--relax: needs the potential, --calculator")
    if options.energy is not None and len(defects) > 1:
        raise InvalidInputError(f"--energy: is that of one defect, got {len(defects)} structures")
    if not stored.crystals and not options.reference:
        raise InvalidInputError("--reference, --reference-hessian: give the perfect crystal")
    given = stored.crystals or read_structures([options.reference], options.format)[1]
    crystals = [closest_supercell(defect, given) for defect in defects]
    rows: list[tuple[str, DefectFormation]] = []
    sites: dict[str, SiteValues | str] = {}
    pairs = list(zip(sources, defects, crystals, strict=True))
    # As text, the rows themselves say how far it is.
    steps = progress_bar(pairs, len(pairs), "defects") if options.json else pairs
    width = max(map(len, sources))
    for source, defect, crystal in steps:
        try:
            if options.relax:
                defect = relax(defect, potential, fmax=min(RELAXED, options.fmax))
            found = _formation_of(defect, crystal, calculator, potential, surrogate, options)
        except VibentError as error:
            print(f"vibent formation: {source}: {error}", file=sys.stderr)
            continue
        if options.report:
            sites[source] = _sites(defect, crystal, calculator)
        if not options.json:
            titles, *lines = _entropy_table(source, found, width)
            write_result("\n".join(lines if rows else [titles, *lines]))
        rows.append((source, found))
    if not rows:
        return 1
    limits = _limits([found for _, found in rows])
    if options.plot:
        formation_plot(dict(rows), options.plot)
    if options.report:
        page = formation_page(dict(rows), limits, calculator, sites)
        page.write(options.report)
    show(
        options,
        {
            "defects": [{"structure": name, **_formation_data(found)} for name, found in rows],
            "large_cells": {k: _limit_data(v) for k, v in limits.items()},
            **soft_mode_calls(calculator, surrogate),
        },
        "\n".join([_limits_and_shares(rows, limits), *soft_mode_lines(calculator, surrogate)]),
    )
    return int(len(rows) < len(defects))


def _formation_of(
    defect: Atoms,
    crystal: Atoms,
    calculator: EntropyCalculator,
    potential: Any,
    surrogate: SiteEntropyCalculator | None,
    options: argparse.Namespace,
) -> DefectFormation:
    found = defect_formation(
        defect,
        crystal,
        calculator,
        options.temperature,
        potential=potential,
        chemical_potentials=dict(options.chemical_potential),
        multiplicity=options.multiplicity,
        surrogate=surrogate,
        cell=None if surrogate is None else repeated(crystal, options.dilute),
        condition=options.condition and f"constant {options.condition}",
        image_entropy=options.image_entropy,
        fmax=options.fmax,
    )
    if options.energy is None:
        return found
    return found.with_energy(options.energy, f"constant {options.energy_at}")


def _sites(defect: Atoms, crystal: Atoms, calculator: EntropyCalculator) -> SiteValues | str:
    """Site entropies for the report; or why there are none, which costs no other result."""
    try:
        return site_values(defect, calculator, crystal)
    except VibentError as error:
        return str(error)


def _limits(formations: Sequence[DefectFormation]) -> dict[str, Extrapolation]:
    """Limits of large cells, if these are cells of one defect."""
    if not have_a_limit(formations):
        return {}
    limits = {"entropy": size_convergence(formations)}
    if not any(np.isnan(f.energy) for f in formations):
        limits["energy"] = size_convergence(formations, "energy")
    return limits


def _formation_data(found: DefectFormation) -> dict[str, Any]:
    known = found.is_countable
    return {
        "n_atoms_of_crystal": found.n_atoms,
        "excess_atoms": found.excess,
        "condition": found.condition,
        "formation_energy_eV": found.energy,
        "image_energy_eV": found.image_energy,
        "image_entropies_eV_per_K": found.image_entropies.tolist(),
        "entropy_std_eV_per_K": found.entropy_std,
        "multiplicity": found.multiplicity,
        "temperatures_K": found.temperatures.tolist(),
        "formation_entropies_eV_per_K": found.entropies.tolist(),
        "formation_free_energies_eV": found.free_energies.tolist(),
        "degeneracy_factors": found.degeneracy_factors.tolist(),
        "concentrations": found.concentrations.tolist() if known else None,
        "densities_per_cm3": found.densities.tolist() if known else None,
        "small_cell": None if found.small_cell is None else _formation_data(found.small_cell),
    }


def _limit_data(limit: Extrapolation) -> dict[str, Any]:
    return {
        "n_atoms": limit.n_atoms.tolist(),
        "values": limit.values.tolist(),
        "limit": limit.limit,
        "error": limit.error,
    }


def _entropy_table(source: str, found: DefectFormation, width: int) -> list[str]:
    """Energy and entropy of one defect, below titles."""
    least = {"structure": width, "excess": len("-1 Xx +1 Xx")}
    return format_table(FORMATION_COLUMNS, formation_rows(source, found), least)


def _limits_and_shares(
    rows: Sequence[tuple[str, DefectFormation]], limits: dict[str, Extrapolation]
) -> str:
    shares = [row for name, found in rows for row in share_rows(name, found)]
    lines = [*limit_lines(limits), *format_table(SHARE_COLUMNS, shares), *FORMATION_NOTES]
    return "\n".join(lines)
