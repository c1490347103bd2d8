"""`vibent predict`: what a model says of structures, with its error bars."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.calculators.surrogate import SiteEnergyCalculator, SiteEntropyCalculator
from ase_vibent.cli.shared.arguments import MODEL
from ase_vibent.cli.shared.files import (
    add_format,
    iterate_structures,
    model_file,
    progress_bar,
    require_writable,
    show,
)
from ase_vibent.cli.shared.thermodynamics import soft_mode_lines
from ase_vibent.errors import (
    ExtrapolationWarning,
    InvalidInputError,
    InvalidStructureError,
    VibentError,
)
from ase_vibent.model import SiteModel
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.tables import format_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("structures", nargs="+", help="files that ASE reads")
    add_format(parser)
    parser.add_argument("-T", "--temperature", type=float, help="K; default 300")
    parser.add_argument(
        "--quantum",
        action="store_true",
        help="quantum statistics, zero-point energy included: for models trained on moments",
    )
    parser.add_argument(
        "--calculator",
        metavar="SPEC",
        help="as of 'vibent label': finds soft modes by force calls, for models that leave them "
        "out; of structures at rest",
    )
    parser.add_argument(
        "--extrapolation",
        choices=("warn", "raise", "ignore"),
        default="warn",
        help="what to do about atoms unlike those of the training set; default: warn",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="file of the structures with site values, written structure by structure: extended "
        "XYZ (.xyz), ASE's binary trajectory (.traj; ase.io.read leaves its site values out, "
        "ase.io.ulm.open has them), or a LAMMPS text dump (.dump, .lammpstrj; without totals)",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="site values in that file: entropies, entropies_std, entropy_gradient, "
        "extrapolation_grades; of a potential: energies, energies_std, forces, "
        "extrapolation_grades; default: all",
    )


def run(options: argparse.Namespace) -> int:
    """`vibent predict`."""
    model = SiteModel.load(model_file(options.model))
    calculator = _calculator(model, options)
    columns = _columns(calculator, options)
    if options.output:
        dataset.check_suffix(options.output)
        require_writable(options.output)
    rows: list[dict[str, Any]] = []
    try:
        with dataset.frame_file(options.output) if options.output else nullcontext() as add:
            _predict_all(options, calculator, columns, rows, add)
    finally:  # whatever happens, what was computed is shown
        if rows:
            energies = isinstance(calculator, SiteEnergyCalculator)
            table = (_energy_table if energies else _entropy_table)(rows, calculator)
            show(options, rows, "\n".join(table))
    return 1 if any("error" in row for row in rows) else 0


def _predict_all(
    options: argparse.Namespace,
    calculator: SiteEntropyCalculator | SiteEnergyCalculator,
    columns: Sequence[str],
    rows: list[dict[str, Any]],
    add: Callable[[Atoms], None] | None,
) -> None:
    """Predict structure after structure, none of which is kept in memory."""
    properties = _properties(calculator, columns)
    frames = iterate_structures(options.structures, options.format)
    for source, atoms in progress_bar(frames, None, "predicting"):
        if isinstance(atoms, InvalidStructureError):
            if not rows:
                raise atoms
            rows.append({"structure": source, "error": str(atoms)})
            print(f"vibent predict: {atoms}", file=sys.stderr)
            continue
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ExtrapolationWarning)
                calculator.calculate(atoms, properties)
        except VibentError as error:
            rows.append({"structure": source, "error": str(error)})
            print(f"vibent predict: {source}: {error}", file=sys.stderr)
            continue
        for warning in caught:
            print(f"vibent predict: {source}: warning: {warning.message}", file=sys.stderr)
        if add is not None:
            add(_with_predictions(atoms, calculator, columns))
        rows.append({"structure": source, **_row(calculator.results, atoms)})
    if not rows:
        raise InvalidStructureError(f"{', '.join(options.structures)}: no structure in it")


def _columns(
    calculator: SiteEntropyCalculator | SiteEnergyCalculator, options: argparse.Namespace
) -> list[str]:
    """Site values that go to the file."""
    known: Sequence[str] = calculator.target.of_atoms
    if calculator.model.floor is not None:  # no derivatives of soft modes
        known = [name for name in known if name != "entropy_gradient"]
    wanted = known if options.columns is None else options.columns
    if options.columns is not None and options.output is None:
        raise InvalidInputError("--columns: are those of a file; say with -o which")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InvalidInputError(f"--columns: expected some of {', '.join(known)}, got {unknown[0]}")
    return list(wanted) if options.output else []


def _properties(
    calculator: SiteEntropyCalculator | SiteEnergyCalculator, columns: Sequence[str]
) -> list[str]:
    """What to ask of the model, at once: all for the table, and the columns."""
    properties = ["energy", *columns]
    if isinstance(calculator, SiteEnergyCalculator):
        properties.append("forces")
    of_total, of_sites = calculator.target.deviations
    known = {
        of_total: calculator.model.posterior is not None,
        of_sites: calculator.model.posterior is not None,
        "extrapolation_grades": calculator.model.domain is not None,
    }
    properties += [of_total, "extrapolation_grades"]
    return [name for name in properties if known.get(name, True)]


def _calculator(
    model: SiteModel, options: argparse.Namespace
) -> SiteEntropyCalculator | SiteEnergyCalculator:
    if model.target == SiteEntropyCalculator.target.name:
        return SiteEntropyCalculator(
            model,
            temperature=300.0 if options.temperature is None else options.temperature,
            quantum=options.quantum,
            extrapolation=options.extrapolation,
            soft_modes_of=CalculatorSpec(options.calculator)() if options.calculator else None,
        )
    if options.calculator:
        raise InvalidInputError("--calculator: finds soft modes, and this model predicts energies")
    if options.quantum or options.temperature is not None:
        raise InvalidInputError(
            "-T, --quantum: are for entropies; this model predicts potential energies"
        )
    return SiteEnergyCalculator(model, extrapolation=options.extrapolation)


def _row(values: Mapping[str, Any], atoms: Atoms) -> dict[str, Any]:
    grades = values.get("extrapolation_grades")
    row: dict[str, Any] = {"formula": atoms.get_chemical_formula(), "n_atoms": len(atoms)}
    if "entropy" in values:
        row |= {
            "entropy_eV_per_K": values["entropy"],
            "entropy_std_eV_per_K": values.get("entropy_std"),
            "entropy_per_atom_kB": values["entropy"] / kB / len(atoms),
            "free_energy_eV": values["free_energy"],
        }
    else:
        row |= {
            "energy_eV": values["energy"],
            "energy_std_eV": values.get("energy_std"),
            "energy_per_atom_eV": values["energy"] / len(atoms),
            "largest_force_eV_per_A": float(np.linalg.norm(values["forces"], axis=1).max()),
        }
    row["largest_extrapolation_grade"] = None if grades is None else float(grades.max())
    return row


def _with_predictions(
    atoms: Atoms,
    calculator: SiteEntropyCalculator | SiteEnergyCalculator,
    columns: Sequence[str],
) -> Atoms:
    """Copy with predictions under names that training never takes for labels."""
    values = calculator.results
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc  # results that the file of the structure has
    if isinstance(calculator, SiteEntropyCalculator):
        copy.info[f"{dataset.PREDICTED}temperature"] = calculator.temperature
        copy.info[f"{dataset.PREDICTED}statistics"] = _statistics(calculator)
    of_structure = calculator.target.of_structure
    copy.info |= {f"{dataset.PREDICTED}{k}": values[k] for k in of_structure if k in values}
    copy.arrays |= {f"{dataset.PREDICTED}{k}": values[k] for k in columns if k in values}
    return copy


def _statistics(calculator: SiteEntropyCalculator) -> str:
    return "quantum" if calculator.parameters["quantum"] else "classical"


def _entropy_table(rows: Sequence[dict[str, Any]], calculator: SiteEntropyCalculator) -> list[str]:
    title = (
        f"T = {calculator.temperature:g} K, {_statistics(calculator)}; ± is one standard deviation "
        "of S, grade the largest extrapolation grade (1 is the edge of the training set)"
    )
    deviations = [row.get("entropy_std_eV_per_K") for row in rows]
    columns = {
        "S (eV/K)": ("entropy_eV_per_K", ">.8f"),
        "S/atom (k_B)": ("entropy_per_atom_kB", ">.6f"),
        "± S (k_B)": ("std", ">±.4f"),
        "F_vib (eV)": ("free_energy_eV", ">.6f"),
    }
    in_kB = [
        {**row, "std": None if std is None else std / kB}
        for row, std in zip(rows, deviations, strict=True)
    ]
    return [title, *_table(in_kB, columns), *soft_mode_lines(calculator)]


def _energy_table(rows: Sequence[dict[str, Any]], calculator: SiteEnergyCalculator) -> list[str]:
    title = (
        "± is one standard deviation of E, grade the largest extrapolation grade (1 is the edge of "
        "the training set)"
    )
    columns = {
        "E (eV)": ("energy_eV", ">.6f"),
        "E/atom (eV)": ("energy_per_atom_eV", ">.6f"),
        "± E (eV)": ("energy_std_eV", ">±.5f"),
        "max |F| (eV/Å)": ("largest_force_eV_per_A", ">.4g"),
    }
    return [title, *_table(rows, columns)]


def _table(rows: Sequence[dict[str, Any]], columns: Mapping[str, tuple[str, str]]) -> list[str]:
    """Lines with the columns of one target, titles with entries of rows and formats."""
    grade = {"grade": ("largest_extrapolation_grade", ">.2f")}
    shown = {"atoms": ("n_atoms", ">"), **columns, **grade}
    return format_table(
        {"structure": "<", "formula": "<"} | {title: style for title, (_, style) in shown.items()},
        [
            (
                row["structure"],
                row.get("formula", "failed"),
                *(row.get(key) for key, _ in shown.values()),
            )
            for row in rows
        ],
    )
