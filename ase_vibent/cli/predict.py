"""`vibent predict`: what a model says of structures, with its error bars."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.calculators.surrogate import SiteEnergyCalculator, SiteEntropyCalculator
from ase_vibent.cli.shared.arguments import MODEL
from ase_vibent.cli.shared.files import (
    add_format,
    model_file,
    progress_bar,
    read_structures,
    require_writable,
    show,
)
from ase_vibent.cli.shared.tables import format_table
from ase_vibent.errors import ExtrapolationWarning, InvalidInputError, VibentError
from ase_vibent.model import SiteModel


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
        "--extrapolation",
        choices=("warn", "raise", "ignore"),
        default="warn",
        help="what to do about atoms unlike those of the training set; default: warn",
    )
    parser.add_argument("-o", "--output", metavar="OUT.xyz", help="extended XYZ with site values")


def run(options: argparse.Namespace) -> int:
    """`vibent predict`."""
    model = SiteModel.load(model_file(options.model))
    calculator = _calculator(model, options)
    sources, structures = read_structures(options.structures, options.format)
    if options.output:
        require_writable(options.output)
    rows: list[dict[str, Any]] = []
    predicted = []
    pairs = list(zip(sources, structures, strict=True))
    for source, atoms in progress_bar(pairs, len(pairs), "predicting"):
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ExtrapolationWarning)
                _calculate(calculator, atoms)
        except VibentError as error:
            rows.append({"structure": source, "error": str(error)})
            print(f"vibent predict: {source}: {error}", file=sys.stderr)
            continue
        for warning in caught:
            print(f"vibent predict: {source}: warning: {warning.message}", file=sys.stderr)
        rows.append({"structure": source, **_row(calculator.results, atoms)})
        predicted.append(_with_predictions(atoms, calculator))
    if options.output:
        dataset.write_labels(options.output, predicted)
    table = _energy_table if isinstance(calculator, SiteEnergyCalculator) else _entropy_table
    show(options, rows, "\n".join(table(rows, calculator)))
    return 1 if any("error" in row for row in rows) else 0


def _calculator(
    model: SiteModel, options: argparse.Namespace
) -> SiteEntropyCalculator | SiteEnergyCalculator:
    if model.target == SiteEntropyCalculator.target.name:
        return SiteEntropyCalculator(
            model,
            temperature=300.0 if options.temperature is None else options.temperature,
            quantum=options.quantum,
            extrapolation=options.extrapolation,
        )
    if options.quantum or options.temperature is not None:
        raise InvalidInputError(
            "-T, --quantum: are for entropies; this model predicts potential energies"
        )
    return SiteEnergyCalculator(model, extrapolation=options.extrapolation)


def _calculate(calculator: SiteEntropyCalculator | SiteEnergyCalculator, atoms: Atoms) -> None:
    """Fill the results with all that the model can tell."""
    calculator.get_property("forces", atoms)
    if calculator.model.posterior is not None:
        calculator.get_property(calculator.target.deviations[1], atoms)
    if calculator.model.domain is not None:
        calculator.get_property("extrapolation_grades", atoms)


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
    atoms: Atoms, calculator: SiteEntropyCalculator | SiteEnergyCalculator
) -> Atoms:
    """Copy with predictions under names that training never takes for labels."""
    values = calculator.results
    copy: Atoms = atoms.copy()
    if isinstance(calculator, SiteEntropyCalculator):
        copy.info["predicted_temperature"] = calculator.temperature
        copy.info["predicted_statistics"] = _statistics(calculator)
    target = calculator.target
    copy.info |= {f"predicted_{k}": values[k] for k in target.of_structure if k in values}
    copy.arrays |= {f"predicted_{k}": values[k] for k in target.of_atoms if k in values}
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
    return [title, *_table(in_kB, columns)]


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
