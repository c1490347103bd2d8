"""Site models inside of LAMMPS, under its own domain decomposition, with nothing to compile."""

from ase_vibent.lammps.entropy_fix import EntropyFix
from ase_vibent.lammps.library import load_mpi, open_lammps

__all__ = ["EntropyFix", "load_mpi", "open_lammps"]
