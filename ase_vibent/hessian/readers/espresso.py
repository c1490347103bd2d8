"""Force constants of Quantum ESPRESSO, as q2r.x writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, Ry, _amu, _me

from ase_vibent.arrays import Array, IntArray
from ase_vibent.hessian.readers.phonopy import to_atoms, to_phonopy
from ase_vibent.hessian.readers.request import Request, in_blocks
from ase_vibent.hessian.stored import Polarity, StoredHessian

#: Where Quantum ESPRESSO cuts its sum over reciprocal vectors: G ε G < 4 α times this.
CUT = 14.0
#: Reciprocal vectors that are worked on at once.
CHUNK = 4096
#: Rows of the lattice in units of celldm(1), from b/a and c/a, by number.
_LATTICES: dict[int, Callable[[float, float], list[list[float]]]] = {
    1: lambda b, c: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    2: lambda b, c: [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]],
    3: lambda b, c: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
    4: lambda b, c: [[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, c]],
    6: lambda b, c: [[1, 0, 0], [0, 1, 0], [0, 0, c]],
    8: lambda b, c: [[1, 0, 0], [0, b, 0], [0, 0, c]],
}


def read_q2r(request: Request) -> StoredHessian:
    """File of q2r.x. The structure is its own.

    Where it tells Born charges, their dipole-dipole interaction was taken out of the constants, and
    is put back.
    """
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc
    from phonopy.interface.qe import PH_Q2R

    unit_cell, ewald = _header(request)
    parsed = PH_Q2R(request.path)
    parsed.run(to_phonopy(unit_cell))
    supercell, primitive = parsed.supercell, parsed.primitive
    atoms = to_atoms(supercell)
    constants = request.converted(parsed.fc, Ry / Bohr**2)
    polarity = None
    if parsed.borns is not None:
        sites = [primitive.p2p_map[image] for image in primitive.s2p_map]
        polarity = Polarity(parsed.borns[sites], parsed.epsilon)
        constants = constants + dipole_constants(atoms, polarity, ewald, primitive.p2s_map)
    matrix = in_blocks(compact_fc_to_full_fc(primitive, constants))
    return StoredHessian(atoms, matrix, f"q2r {request.path}", polarity)


def dipole_constants(atoms: Atoms, polarity: Polarity, ewald: float, rows: IntArray) -> Array:
    """Interaction of the dipoles of displaced ions at Γ of a cell, as Quantum ESPRESSO sums it.

    The part in reciprocal space of an Ewald sum, G = 0 left out; what is left of it in real space
    is short-ranged, and stays in the force constants.

    Parameters
    ----------
    atoms : Atoms
    polarity : Polarity
    ewald : float, 1/Å²
        α, which damps vectors G by exp(-G ε G/4α).
    rows : ndarray of int, shape (n,)
        Atoms whose force constants are wanted.

    Returns
    -------
    ndarray, shape (n, N, 3, 3), eV/Å²
        Without net forces.
    """
    dielectric = polarity.dielectric
    longest = np.sqrt(4 * ewald * CUT / np.linalg.eigvalsh(dielectric)[0])
    numbers = np.ceil(longest * atoms.cell.lengths() / (2 * np.pi)).astype(int)
    axes = np.meshgrid(*[np.arange(-number, number + 1) for number in numbers], indexing="ij")
    vectors = 2 * np.pi * np.stack(axes, axis=-1).reshape(-1, 3) @ atoms.cell.reciprocal().array
    vectors = vectors[: len(vectors) // 2]  # G and -G give the same, 0 nothing
    squares = np.einsum("ga,ab,gb->g", vectors, dielectric, vectors)
    kept = squares < 4 * ewald * CUT
    vectors, squares = vectors[kept], squares[kept]
    damped = 2 * np.exp(-squares / (4 * ewald)) / squares
    strengths = 4 * np.pi * Hartree * Bohr / atoms.get_volume() * damped
    blocks = np.zeros((3 * len(rows), 3 * len(atoms)))
    for start in range(0, len(vectors), CHUNK):
        some = slice(start, start + CHUNK)
        waves = np.exp(1j * vectors[some] @ atoms.positions.T)[:, :, None]
        dipoles = np.einsum("gb,nba->gna", vectors[some], polarity.charges) * waves
        own = dipoles[:, rows].conj() * strengths[some, None, None]
        blocks += (own.reshape(len(own), -1).T @ dipoles.reshape(len(own), -1)).real
    constants = blocks.reshape(len(rows), 3, len(atoms), 3).transpose(0, 2, 1, 3)
    constants[np.arange(len(rows)), rows] -= constants.sum(axis=1)
    return np.asarray(constants)


def _header(request: Request) -> tuple[Atoms, float]:
    """Unit cell, and the α of the Ewald sum, 1/Å²."""
    from ase.io.espresso import label_to_symbol

    lines = Path(request.path).read_text(encoding="utf-8").splitlines()
    n_species, n_atoms, ibrav = (int(word) for word in lines[0].split()[:3])
    celldm = [float(word) for word in lines[0].split()[3:9]]
    alat, row = celldm[0] * Bohr, 1
    if ibrav == 0:
        cell, row = np.array([line.split() for line in lines[1:4]], dtype=float), 4
    elif ibrav in _LATTICES:
        cell = np.array(_LATTICES[ibrav](celldm[1], celldm[2]))
    else:
        request.refuse(
            f"its lattice is ibrav = {ibrav}; known are 0, {', '.join(map(str, _LATTICES))}: use "
            "ibrav = 0 and CELL_PARAMETERS"
        )
    species = []
    for line in lines[row : row + n_species]:
        _, label, mass = line.replace("'", " ' ").replace(" ' ", "'").split("'")
        # Half an electron's mass is the unit of Rydberg's atomic units.
        species.append((label_to_symbol(label.strip()), float(mass) * 2 * _me / _amu))
    places = [line.split() for line in lines[row + n_species : row + n_species + n_atoms]]
    kinds = [species[int(words[1]) - 1] for words in places]
    atoms = Atoms(
        [symbol for symbol, _ in kinds],
        positions=alat * np.array([words[2:5] for words in places], dtype=float),
        masses=[mass for _, mass in kinds],
        cell=alat * cell,
        pbc=True,
    )
    flag = lines[row + n_species + n_atoms].split()
    alpha = float(flag[1]) if len(flag) > 1 else 1.0  # newer versions write it
    return atoms, alpha * (2 * np.pi / alat) ** 2
