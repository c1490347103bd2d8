"""Silicon carbide in files of all kinds, written by phonopy, ASE, NumPy, or by hand."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.phonons import Phonons
from ase.units import Bohr, J, Ry, _amu, _me, kcal, mol
from ase.vibrations import VibrationsData
from phonopy.file_IO import (
    write_FORCE_CONSTANTS,
    write_force_constants_to_hdf5,
    write_FORCE_SETS,
)
from phonopy.harmonic.force_constants import full_fc_to_compact_fc
from scipy import sparse

from ase_vibent.hessian import compute_hessian
from ase_vibent.hessian.readers.phonopy import new_phonopy, to_atoms, to_phonopy
from ase_vibent.potentials import tersoff_silicon_carbide

REPEATS = (3, 2, 2)


#: Over masses and in units of 10 J/mol/Å², as LAMMPS' style eskm.
ESKM = mol / (10 * J)


class Carbide(NamedTuple):
    """A crystal, its supercell in phonopy's order, Hessian, and phonopy object with forces."""

    unit_cell: Atoms
    supercell: Atoms
    hessian: np.ndarray
    phonons: object

    @property
    def reversed(self):
        """Hessian of the atoms in the opposite order."""
        n = len(self.supercell)
        return self.hessian.reshape(n, 3, n, 3)[::-1, :, ::-1].reshape(3 * n, 3 * n)

    @property
    def constants(self):
        n = len(self.supercell)
        return self.hessian.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)


@pytest.fixture(scope="session")
def carbide() -> Carbide:
    unit_cell = bulk("SiC", "zincblende", a=4.32)
    unit_cell.positions += 0.3  # no atom at the origin
    phonons = new_phonopy(to_phonopy(unit_cell), np.diag(REPEATS), "P")
    supercell = to_atoms(phonons.supercell)
    phonons.generate_displacements(distance=0.005)
    calculator, forces = tersoff_silicon_carbide(), []
    for displaced in phonons.supercells_with_displacements:
        atoms = to_atoms(displaced)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonons.forces = np.array(forces)
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants(show_drift=False)
    return Carbide(unit_cell, supercell, compute_hessian(supercell, calculator), phonons)


def _write_q2r(path: Path, carbide: Carbide) -> None:
    """File as of q2r.x, without Born charges."""
    atoms, alat = carbide.unit_cell, 2.0
    lines = [f"  2  2  0  {alat / Bohr:.10f} 0 0 0 0 0"]
    lines += [" ".join(f"{x / alat:.12f}" for x in row) for row in atoms.cell.array]
    masses = atoms.get_masses() * _amu / (2 * _me)
    lines += [f"  1 'Si  ' {masses[0]:.8f}", f"  2 'C  ' {masses[1]:.8f}"]
    lines += [
        f" {k + 1} {k + 1} " + " ".join(f"{x / alat:.12f}" for x in atoms.positions[k])
        for k in range(2)
    ]
    lines += [" F", " ".join(map(str, REPEATS))]
    unit = Ry / Bohr**2
    places = {
        (k, *np.rint(np.linalg.solve(atoms.cell.array.T, p - atoms.positions[k])).astype(int)): s
        for s, p in enumerate(carbide.supercell.positions)
        for k in [0 if carbide.supercell.symbols[s] == "Si" else 1]
    }
    homes = [places[0, 0, 0, 0], places[1, 0, 0, 0]]
    for a, b, i, j in np.ndindex(3, 3, 2, 2):
        lines.append(f" {a + 1} {b + 1} {i + 1} {j + 1}")
        for z, y, x in np.ndindex(REPEATS[::-1]):
            # Quantum ESPRESSO's first atom is the one that is translated.
            value = carbide.constants[homes[j], places[i, x, y, z], b, a] / unit
            lines.append(f" {x + 1} {y + 1} {z + 1} {value:.14e}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_vasprun(path: Path, carbide: Carbide) -> None:
    """The parts of a vasprun.xml that hold structure and Hessian; VASP's is over masses."""
    atoms = carbide.supercell
    order = np.argsort(-atoms.numbers, kind="stable")
    atoms, rows = atoms[order], (3 * order[:, None] + np.arange(3)).ravel()
    masses = atoms.get_masses()
    roots = np.sqrt(np.repeat(masses, 3))
    dynamical = -carbide.hessian[rows][:, rows] / roots / roots[:, None]

    def vectors(name, array):
        body = "".join(f"<v> {' '.join(f'{x:.12f}' for x in row)} </v>\n" for row in array)
        return f'<varray name="{name}">\n{body}</varray>\n'

    kinds = [("Si", masses[0]), ("C", masses[-1])]
    n = len(atoms)
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator>\n'
        '<i name="version" type="string">5.4.4 </i>\n</generator>\n<atominfo>\n'
        f"<atoms> {n} </atoms>\n<types> 2 </types>\n"
        '<array name="atoms"><dimension dim="1">ion</dimension>'
        '<field type="string">element</field><field type="int">atomtype</field><set>\n'
        + "".join(f"<rc><c>{s} </c><c>{1 + (s == 'C')}</c></rc>\n" for s in atoms.symbols)
        + '</set></array>\n<array name="atomtypes"><dimension dim="1">type</dimension><set>\n'
        + "".join(
            f"<rc><c>{n // 2}</c><c>{s} </c><c>{m:.6f}</c><c>4.0</c><c>PAW {s} </c></rc>\n"
            for s, m in kinds
        )
        + "</set></array>\n</atominfo>\n"
        + "<calculation>\n<structure>\n<crystal>\n"
        + vectors("basis", atoms.cell.array)
        + "</crystal>\n"
        + vectors("positions", atoms.get_scaled_positions())
        + "</structure>\n"
        + vectors("forces", np.zeros((n, 3)))
        + "</calculation>\n<dynmat>\n"
        + vectors("hessian", dynamical)
        + "</dynmat>\n</modeling>\n",
        encoding="utf-8",
    )


@pytest.fixture(scope="session")
def files(carbide, tmp_path_factory) -> Path:
    """Folder with the same Hessian in all formats; what lies beside a file counts."""
    root = tmp_path_factory.mktemp("hessians")
    for name in ("yaml", "sets", "poscar", "full", "compact", "full-hdf5", "compact-hdf5"):
        (root / name).mkdir()
    phonons = carbide.phonons
    full = phonons.force_constants
    compact = full_fc_to_compact_fc(phonons.primitive, full)
    phonons.save(root / "phonopy_params.yaml")
    phonons.save(root / "constants.yaml", settings={"force_constants": True, "force_sets": False})
    for suffix, module in ((".xz", lzma), (".gz", gzip), (".bz2", bz2)):
        with module.open(root / f"phonopy_params.yaml{suffix}", "wb") as file:
            file.write((root / "phonopy_params.yaml").read_bytes())
    displacements = {"force_sets": False, "displacements": True, "force_constants": False}
    for name in ("yaml", "sets"):
        phonons.save(root / name / "phonopy_disp.yaml", settings=displacements)
        write_FORCE_SETS(phonons.dataset, root / name / "FORCE_SETS")
    write_FORCE_SETS(phonons.dataset, root / "poscar" / "FORCE_SETS")
    for name in ("poscar", "full", "compact", "full-hdf5", "compact-hdf5"):
        ase.io.write(root / name / "POSCAR", carbide.unit_cell, format="vasp", direct=True)
    p2s_map = phonons.primitive.p2s_map
    for name, constants in (("full", full), ("compact", compact)):
        write_FORCE_CONSTANTS(constants, root / name / "FORCE_CONSTANTS", p2s_map=p2s_map)
        hdf5 = root / f"{name}-hdf5" / "force_constants.hdf5"
        write_force_constants_to_hdf5(constants, hdf5, p2s_map=p2s_map)

    hessian, supercell = carbide.hessian, carbide.supercell
    np.save(root / "square.npy", hessian)
    np.save(root / "blocks.npy", carbide.constants)
    np.savez(root / "named.npz", energies=np.zeros(3), hessian=hessian)
    sparse.save_npz(root / "sparse.npz", sparse.csr_array(hessian))
    VibrationsData.from_2d(supercell, hessian).write(root / "vibrations.json")
    roots = np.sqrt(np.repeat(supercell.get_masses(), 3))
    for name, unit in (("metal", 1.0), ("real", mol / kcal), ("eskm", ESKM)):
        np.savetxt(
            root / f"{name}.dynmat", (unit * hessian / roots / roots[:, None]).reshape(-1, 3)
        )
    moved = Phonons(
        carbide.unit_cell,
        tersoff_silicon_carbide(),
        REPEATS,
        name=str(root / "phonon"),
        delta=0.005,
    )
    moved.run()
    _write_q2r(root / "carbide.fc", carbide)
    _write_vasprun(root / "vasprun.xml", carbide)
    return root
