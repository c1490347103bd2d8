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
from ase_vibent.cli.arguments import MODEL
from ase_vibent.cli.files import (
    model_file,
    progress_bar,
    read_structures,
    require_writable,
    show,
)
from ase_vibent.errors import ExtrapolationWarning, InvalidInputError, VibentError
from ase_vibent.model import SiteModel

#: Results that go into the output file as predicted_NAME, per structure and per atom, by target.
_KEPT = {
    "entropy": (
        ("entropy", "entropy_std", "free_energy"),
        ("entropies", "entropies_std", "entropy_gradient", "extrapolation_grades"),
    ),
    "energy": (
        ("energy", "energy_std"),
        ("energies", "energies_std", "forces", "extrapolation_grades"),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("structures", nargs="+", help="files that ASE reads")
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
    sources, structures = read_structures(options.structures)
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
    if model.target == SiteEntropyCalculator.target:
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
        calculator.get_property(calculator.deviations[1], atoms)
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
    of_structure, of_atoms = _KEPT[calculator.target]
    copy.info |= {f"predicted_{k}": values[k] for k in of_structure if k in values}
    copy.arrays |= {f"predicted_{k}": values[k] for k in of_atoms if k in values}
    return copy


def _statistics(calculator: SiteEntropyCalculator) -> str:
    return "quantum" if calculator.parameters["quantum"] else "classical"


def _entropy_table(rows: Sequence[dict[str, Any]], calculator: SiteEntropyCalculator) -> list[str]:
    lines = [
        f"T = {calculator.temperature:g} K, {_statistics(calculator)}; ± is one standard deviation "
        "of S, grade the largest extrapolation grade (1 is the edge of the training set)",
        f"{'structure':<24} {'formula':<16} {'atoms':>7} {'S (eV/K)':>14} {'S/atom (k_B)':>13} "
        f"{'± S (k_B)':>11} {'F_vib (eV)':>14} {'grade':>7}",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['structure']:<24} failed")
            continue
        std, grade = row["entropy_std_eV_per_K"], row["largest_extrapolation_grade"]
        lines.append(
            f"{row['structure']:<24} {row['formula']:<16} {row['n_atoms']:>7} "
            f"{row['entropy_eV_per_K']:>14.8f} {row['entropy_per_atom_kB']:>13.6f} "
            f"{'-' if std is None else f'{std / kB:.4f}':>11} {row['free_energy_eV']:>14.6f} "
            f"{'-' if grade is None else f'{grade:.2f}':>7}"
        )
    return lines


def _energy_table(rows: Sequence[dict[str, Any]], calculator: SiteEnergyCalculator) -> list[str]:
    lines = [
        "± is one standard deviation of E, grade the largest extrapolation grade (1 is the edge of "
        "the training set)",
        f"{'structure':<24} {'formula':<16} {'atoms':>7} {'E (eV)':>14} {'E/atom (eV)':>12} "
        f"{'± E (eV)':>10} {'max |F| (eV/Å)':>15} {'grade':>7}",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['structure']:<24} failed")
            continue
        std, grade = row["energy_std_eV"], row["largest_extrapolation_grade"]
        lines.append(
            f"{row['structure']:<24} {row['formula']:<16} {row['n_atoms']:>7} "
            f"{row['energy_eV']:>14.6f} {row['energy_per_atom_eV']:>12.6f} "
            f"{'-' if std is None else f'{std:.5f}':>10} {row['largest_force_eV_per_A']:>15.4g} "
            f"{'-' if grade is None else f'{grade:.2f}':>7}"
        )
    return lines
