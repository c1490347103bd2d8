"""`vibent predict`: entropies and free energies of structures, with their error bars."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ase import Atoms
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.calculator import SiteEntropyCalculator
from ase_vibent.cli.files import (
    model_file,
    progress_bar,
    read_structures,
    require_writable,
    show,
)
from ase_vibent.errors import ExtrapolationWarning, VibentError


def predict(options: argparse.Namespace) -> int:
    """`vibent predict`."""
    calculator = SiteEntropyCalculator(
        model_file(options.model),
        temperature=options.temperature,
        quantum=options.quantum,
        extrapolation=options.extrapolation,
    )
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
        rows.append({"structure": source, **_row(calculator, atoms)})
        predicted.append(_with_predictions(atoms, calculator))
    if options.output:
        dataset.write_labels(options.output, predicted)
    show(options, rows, _prediction_table(rows, calculator))
    return 1 if any("error" in row for row in rows) else 0


def _calculate(calculator: SiteEntropyCalculator, atoms: Atoms) -> None:
    """Fill the results with all that the model can tell."""
    calculator.get_property("entropy_gradient", atoms)
    if calculator.model.posterior is not None:
        calculator.get_property("entropies_std", atoms)
    if calculator.model.domain is not None:
        calculator.get_property("extrapolation_grades", atoms)


def _row(calculator: SiteEntropyCalculator, atoms: Atoms) -> dict[str, Any]:
    values = calculator.results
    grades = values.get("extrapolation_grades")
    return {
        "formula": atoms.get_chemical_formula(),
        "n_atoms": len(atoms),
        "entropy_eV_per_K": values["entropy"],
        "entropy_std_eV_per_K": values.get("entropy_std"),
        "entropy_per_atom_kB": values["entropy"] / kB / len(atoms),
        "free_energy_eV": values["free_energy"],
        "largest_extrapolation_grade": None if grades is None else float(grades.max()),
    }


def _with_predictions(atoms: Atoms, calculator: SiteEntropyCalculator) -> Atoms:
    """Copy with predictions under names that training never takes for labels."""
    values = calculator.results
    copy: Atoms = atoms.copy()
    copy.info["predicted_temperature"] = calculator.temperature
    copy.info["predicted_statistics"] = _statistics(calculator)
    for name in ("entropy", "entropy_std", "free_energy"):
        if name in values:
            copy.info[f"predicted_{name}"] = values[name]
    for name in ("entropies", "entropies_std", "entropy_gradient", "extrapolation_grades"):
        if name in values:
            copy.arrays[f"predicted_{name}"] = values[name]
    return copy


def _statistics(calculator: SiteEntropyCalculator) -> str:
    return "quantum" if calculator.parameters["quantum"] else "classical"


def _prediction_table(rows: Sequence[dict[str, Any]], calculator: SiteEntropyCalculator) -> str:
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
    return "\n".join(lines)
