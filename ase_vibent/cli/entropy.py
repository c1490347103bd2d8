"""`vibent entropy`: exact entropies of structures whose Hessians are in files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import kB

from ase_vibent.analysis import density_of_states
from ase_vibent.arrays import Array
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.cli.shared.arguments import (
    add_mesh,
    add_temperatures,
    length,
    natural_number,
    number_or_any,
)
from ase_vibent.cli.shared.files import add_format, read_structures, require_plottable, show
from ase_vibent.cli.shared.hessians import FILES, add_reading, read_hessians
from ase_vibent.crystal.bulk import InfiniteCrystal
from ase_vibent.errors import InvalidInputError
from ase_vibent.figures import states_plot
from ase_vibent.harmonic.spectrum import check_sites
from ase_vibent.harmonic.thermodynamics import Vibrations
from ase_vibent.hessian import StoredHessian
from ase_vibent.structures.symmetry import n_primitive_cells
from ase_vibent.structures.validity import free_atoms
from ase_vibent.tables import format_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("hessians", nargs="+", metavar="hessian", help=FILES)
    parser.add_argument(
        "--structure",
        nargs="+",
        default=[],
        metavar="FILE",
        help="where the Hessians' files have none: files that ASE reads, the last frame of each",
    )
    add_format(parser)
    add_reading(parser)
    parser.add_argument(
        "--born", metavar="FILE", help="Born charges as of phonopy; default: those beside the file"
    )
    parser.add_argument(
        "--displacement", type=length, metavar="Å", help="delta of ase.phonons' folders"
    )
    add_temperatures(parser)
    parser.add_argument(
        "--quantum", action="store_true", help="quantum statistics, zero-point energy included"
    )
    add_mesh(parser)
    parser.add_argument("--plot", metavar="FILE", help="densities of states (PNG, PDF, SVG)")
    parser.add_argument(
        "--sites",
        type=natural_number,
        nargs="+",
        default=[],
        metavar="N",
        help="atoms of every structure whose own densities are plotted, too",
    )
    parser.add_argument(
        "--unstable",
        type=number_or_any,
        default=0,
        metavar="N",
        help="expected number of unstable modes, or 'any'; default 0",
    )


def run(options: argparse.Namespace) -> int:
    """`vibent entropy`."""
    require_plottable(options.plot)
    if options.sites and not options.plot:
        raise InvalidInputError("--sites: they are for densities of states; add --plot FILE")
    curves: dict[str, tuple[Array, Array]] = {}
    structures = [read_structures([path], options.format)[1][-1] for path in options.structure]
    rows: list[dict[str, Any]] = []
    found = read_hessians(options, options.hessians, structures)
    for stored in found:
        check_sites(options.sites, len(stored.atoms), f"{stored.origin}: --sites")
    for stored in found:
        exact = HessianEntropyCalculator(
            hessian=stored, quantum=options.quantum, mesh=options.mesh, unstable=options.unstable
        )
        system = exact.harmonic_system(stored.atoms)
        values = exact.vibrations_of(system, stored.atoms, options.temperature)
        rows.append(_row(stored, "at Γ" if options.mesh == "gamma" else "mesh", values))
        rows += _crystal_rows(stored, options)
        if options.plot:
            name = Path(stored.origin).name
            curves |= density_of_states(system).curves(name, stored.atoms, options.sites)
    if options.plot:
        states_plot(curves, options.plot)
    show(options, rows, "\n".join(_table(rows, options)))
    return 0


def _crystal_rows(stored: StoredHessian, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Converged values of a perfect crystal, with its ions' charges if they are known."""
    atoms = stored.atoms
    crystal = bool(np.all(atoms.pbc)) and len(free_atoms(atoms)) == len(atoms)
    if not crystal or options.unstable or n_primitive_cells(atoms) == 1:
        return []
    kinds = {"infinite": replace(stored, polarity=None)}
    if stored.polarity is not None:
        kinds["infinite, polar"] = stored
    return [
        _row(
            stored,
            kind,
            InfiniteCrystal(atoms, source).vibrations(options.temperature, quantum=options.quantum),
        )
        for kind, source in kinds.items()
    ]


def _row(stored: StoredHessian, kind: str, values: Vibrations) -> dict[str, Any]:
    atoms = stored.atoms
    units = len(atoms) // len(atoms.symbols.formula.reduce()[0])
    return {
        "file": stored.origin,
        "formula": str(atoms.symbols.formula.format("metal")),
        "n_atoms": len(atoms),
        "kind": kind,
        "temperatures_K": values.temperatures.tolist(),
        "entropies_eV_per_K": values.entropies.tolist(),
        "entropy_std_eV_per_K": values.entropy_std,
        "entropies_per_formula_unit_kB": (values.entropies / kB / units).tolist(),
        "free_energies_eV": values.free_energies.tolist(),
        "sum_rule_violation_eV_per_A2": stored.sum_rule_violation,
        "species": len(set(atoms.numbers.tolist())),
        "polarity_known": stored.polarity is not None,
    }


def _table(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[str]:
    lines = format_table(
        {
            "Hessian": "<",
            "formula": "<",
            "values": "<",
            "T (K)": ">g",
            "S (k_B)": ">.5f",
            "± (k_B)": ">±.5f",
            "S per formula unit": ">.5f",
            "F_vib (eV)": ">.5f",
            "sum rule (eV/Å²)": ">.1e",
        },
        [
            (
                Path(row["file"]).name,
                row["formula"],
                row["kind"],
                temperature,
                entropy / kB,
                row["entropy_std_eV_per_K"] / kB,
                per_unit,
                free_energy,
                row["sum_rule_violation_eV_per_A2"],
            )
            for row in rows
            for temperature, entropy, per_unit, free_energy in zip(
                row["temperatures_K"],
                row["entropies_eV_per_K"],
                row["entropies_per_formula_unit_kB"],
                row["free_energies_eV"],
                strict=True,
            )
        ],
    )
    statistics = "quantum" if options.quantum else "classical"
    notes = [
        f"{statistics}; mesh: the cell repeated for ever; at Γ: the cell alone, without "
        "translations; infinite: the crystal, converged; sum rule: forces of moving all atoms"
    ]
    lacking = any(row["species"] > 1 and not row["polarity_known"] for row in rows)
    if lacking and any(row["kind"] == "infinite" for row in rows):
        notes.append(
            "If the crystal is polar, Born charges (--born) change its S by some 0.01 k_B an atom."
        )
    return [*lines, *notes]
