"""Site entropies from the Hessian of a ball around each site, linear in the number of atoms.

The cost per site does not depend on the size of the system, and the truncation error is the
same in defect and crystal, to be subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from numba import get_num_threads
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_integer, check_positive
from ase_vibent.compiled.jit import compiled
from ase_vibent.compiled.threads import in_threads
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.lanczos import gauss_quadrature
from ase_vibent.harmonic.modes import NOISE
from ase_vibent.harmonic.periodicity import reduced_cell
from ase_vibent.harmonic.spectrum import check_sites, symmetric_matrix

Geometry = tuple[Array, Array, Array, NDArray[np.bool_]]

#: Sites whose tridiagonal matrices are diagonalised together.
BALLS = 256


def ball_site_entropies(
    atoms: Atoms, hessian: Any, sites: ArrayLike, *, radius: float, steps: int
) -> Array:
    """Reduced site entropies of the Hessian cut down to a ball around each site.

    The surrounding of the ball is held, so no motion is rigid. Meant to be subtracted from
    the same in the perfect crystal, see `ball_site_differences`: an absolute value is off by
    1e-3 k_B or so. Cost and memory per site depend on the ball alone.

    Parameters
    ----------
    atoms : Atoms
    hessian : sparse matrix (BSR, CSR, …), shape (3N, 3N), eV/Å²
    sites : array_like of int, shape (n_sites,)
    radius : float, Å
        Atoms whose nearest image is within, and which the Hessian connects to the site
        through such atoms. Better not the distance of a shell, where rounding decides.
    steps : int
        Lanczos steps, the same for all sites.

    Returns
    -------
    ndarray, shape (n_sites,), dimensionless (units of k_B)
        At masses of 1 amu; independent of the number of threads to the last bit.

    Raises
    ------
    InvalidInputError
        If shapes or ranges do not fit.
    UnstableStructureError
        If a ball is unstable, which makes the structure unstable; the converse need not hold.
    """
    sites = check_sites(sites, len(atoms))
    check_positive("radius", radius, "Å")
    check_integer("steps", steps, 1)
    if len(sites) == 0:
        return np.empty(0)
    blocks = csr_array(symmetric_matrix(hessian, 3 * len(atoms))).tobsr((3, 3))
    pattern = blocks.indptr.astype(np.int64), blocks.indices.astype(np.int64)
    geometry = _geometry(atoms)

    def work(part: IntArray) -> Array:
        # The only work arrays of the size of the system: once per thread.
        local, members = np.full(len(atoms), -1), np.empty(len(atoms), dtype=np.int64)
        values = []
        for first in range(0, len(part), BALLS):
            batch = part[first : first + BALLS]
            diagonal, off_diagonal = np.empty((2, len(batch), 3, steps))
            _ball_recursions(
                batch, radius, *pattern, blocks.data, geometry, local, members,
                diagonal, off_diagonal,
            )  # fmt: skip
            columns = diagonal.reshape(-1, steps), off_diagonal.reshape(-1, steps)[:, :-1]
            nodes, shares = gauss_quadrature(*columns, np.ones(3 * len(batch)))
            values.append(np.einsum("ij,ij->i", shares, reduced_entropy(nodes)))
        return np.concatenate(values).reshape(-1, 3).sum(axis=1)

    parts = np.array_split(sites, min(get_num_threads(), len(sites)))
    return np.concatenate(in_threads(work, parts))


def ball_site_differences(
    atoms: Atoms,
    hessian: Any,
    sites: ArrayLike,
    crystal: Atoms,
    crystal_hessian: Any,
    *,
    radius: float,
    steps: int,
    bulk_value: Mapping[str, float],
    crystal_sites: ArrayLike | None = None,
) -> Array:
    """Reduced site entropies as the bulk value plus the difference of two balls.

    s_i = b_i - b̄_z + s_z with the ball value b_i, its mean b̄_z over the crystal's sites of
    the species z of site i, and the bulk value s_z. What the ball cuts off is nearly the same
    in b_i and b̄_z.

    Parameters
    ----------
    atoms : Atoms
    hessian : sparse matrix, shape (3N, 3N), eV/Å²
    sites : array_like of int, shape (n_sites,)
    crystal : Atoms
        Perfect crystal. With a radius beyond half the width of the cell it has to be the
        crystal in the same cell.
    crystal_hessian : sparse matrix, shape (3M, 3M), eV/Å²
    radius : float, Å
    steps : int
        See `ball_site_entropies`.
    bulk_value : mapping from chemical symbol to float, units of k_B
        Converged reduced entropy of the crystal's sites. The result has masses in it if these
        have.
    crystal_sites : array_like of int, optional
        One site of each kind is enough; all by default.

    Returns
    -------
    ndarray, shape (n_sites,), dimensionless (units of k_B)

    Raises
    ------
    InvalidInputError
        Also if the crystal or `bulk_value` lacks a species.
    UnstableStructureError
    """
    sites = check_sites(sites, len(atoms))
    chosen = check_sites(
        np.arange(len(crystal)) if crystal_sites is None else crystal_sites, len(crystal)
    )
    species = np.array(atoms.get_chemical_symbols())[sites]
    of_crystal = np.array(crystal.get_chemical_symbols())[chosen]
    missing = set(species) - (set(of_crystal) & set(bulk_value))
    if missing:
        raise InvalidInputError(
            f"crystal: neither it nor bulk_value may lack {', '.join(sorted(missing))}"
        )
    perfect = ball_site_entropies(crystal, crystal_hessian, chosen, radius=radius, steps=steps)
    offset = {z: bulk_value[z] - perfect[of_crystal == z].mean() for z in set(species)}
    balls = ball_site_entropies(atoms, hessian, sites, radius=radius, steps=steps)
    return balls + np.array([offset[z] for z in species])


def _geometry(atoms: Atoms) -> Geometry:
    """Positions, a reduced cell with its inverse, and periodicity."""
    cell, _ = reduced_cell(atoms)
    return atoms.positions, np.ascontiguousarray(cell), np.linalg.inv(cell), atoms.pbc


@compiled
def _ball_recursions(
    sites: IntArray,
    radius: float,
    starts: IntArray,
    columns: IntArray,
    blocks: Array,
    geometry: Geometry,
    local: IntArray,
    members: IntArray,
    diagonal: Array,
    off_diagonal: Array,
) -> None:
    """Tridiagonal matrices of sites, shape (n_sites, 3, steps); `local` is -1 throughout."""
    for s in range(len(sites)):
        count = _grow_ball(sites[s], radius, starts, columns, geometry, local, members)
        matrix = _cut_out(members[:count], starts, columns, blocks, local)
        _recursion(matrix[0], matrix[1], matrix[2], diagonal[s], off_diagonal[s])
        for m in members[:count]:
            for p in range(starts[m], starts[m + 1]):
                local[columns[p]] = -1


@compiled
def _grow_ball(
    site: int,
    radius: float,
    starts: IntArray,
    columns: IntArray,
    geometry: Geometry,
    local: IntArray,
    members: IntArray,
) -> int:
    """Number of atoms in the ball; `members` lists them, `local` is its inverse (-2 outside)."""
    members[0] = site
    local[site] = 0
    count, done = 1, 0
    while done < count:
        m = members[done]
        for p in range(starts[m], starts[m + 1]):
            other = columns[p]
            if local[other] != -1:
                continue
            if _squared_distance(site, other, geometry) <= radius**2:
                local[other] = count
                members[count] = other
                count += 1
            else:
                local[other] = -2
        done += 1
    return count


@compiled
def _squared_distance(i: int, j: int, geometry: Geometry) -> float:
    """Squared distance of the nearest images of two atoms, Å²."""
    positions, cell, inverse, periodic = geometry
    vector = positions[j] - positions[i]
    for axis in range(3):
        if periodic[axis]:
            fraction = 0.0
            for x in range(3):
                fraction += (positions[j, x] - positions[i, x]) * inverse[x, axis]
            vector -= np.rint(fraction) * cell[axis]
    a, b, c = int(periodic[0]), int(periodic[1]), int(periodic[2])
    smallest = np.inf
    for u in range(-a, a + 1):
        for v in range(-b, b + 1):
            for w in range(-c, c + 1):
                square = 0.0
                for x in range(3):
                    image = vector[x] + u * cell[0, x] + v * cell[1, x] + w * cell[2, x]
                    square += image * image
                smallest = min(smallest, square)
    return smallest


@compiled
def _cut_out(
    members: IntArray, starts: IntArray, columns: IntArray, blocks: Array, local: IntArray
) -> tuple[IntArray, IntArray, Array]:
    """Rows and columns of the members, as a compact block-sparse matrix."""
    size = 0
    for m in members:
        size += starts[m + 1] - starts[m]
    own_starts = np.zeros(len(members) + 1, dtype=np.int64)
    own_columns = np.empty(size, dtype=np.int64)
    own_blocks = np.empty((size, 3, 3))
    size = 0
    for k in range(len(members)):
        for p in range(starts[members[k]], starts[members[k] + 1]):
            if local[columns[p]] >= 0:
                own_columns[size] = local[columns[p]]
                own_blocks[size] = blocks[p]
                size += 1
        own_starts[k + 1] = size
    return own_starts, own_columns, own_blocks


@compiled
def _recursion(
    starts: IntArray, columns: IntArray, blocks: Array, diagonal: Array, off_diagonal: Array
) -> None:
    """Lanczos recursions of the three directions of atom 0, one column each."""
    current = np.zeros((len(starts) - 1, 3, 3))
    previous = np.zeros((len(starts) - 1, 3, 3))
    for c in range(3):
        current[0, c, c] = 1.0
    coupling, scale = np.zeros(3), np.zeros(3)
    for step in range(diagonal.shape[1]):
        alpha = _multiply(starts, columns, blocks, current, coupling, previous)
        square = np.zeros(3)
        for i in range(len(current)):
            for a in range(3):
                for c in range(3):
                    value = previous[i, a, c] - alpha[c] * current[i, a, c]
                    previous[i, a, c] = value
                    square[c] += value * value
        inverse = np.zeros(3)
        for c in range(3):
            scale[c] = max(scale[c], abs(alpha[c]) + coupling[c])
            coupling[c] = np.sqrt(square[c])
            if coupling[c] > NOISE * scale[c]:
                inverse[c] = 1 / coupling[c]
            else:  # the ball is exhausted
                coupling[c] = 0.0
            diagonal[c, step] = alpha[c]
            off_diagonal[c, step] = coupling[c]
        previous *= inverse
        current, previous = previous, current


@compiled
def _multiply(
    starts: IntArray,
    columns: IntArray,
    blocks: Array,
    current: Array,
    coupling: Array,
    previous: Array,
) -> Array:
    """Put H·current - coupling·previous into `previous`; its products with `current`."""
    alpha = np.zeros(3)
    for i in range(len(current)):
        # In registers: every block is read once for nine sums.
        xx = xy = xz = yx = yy = yz = zx = zy = zz = 0.0
        for p in range(starts[i], starts[i + 1]):
            vectors, block = current[columns[p]], blocks[p]
            for b in range(3):
                u, v, w = vectors[b, 0], vectors[b, 1], vectors[b, 2]
                x, y, z = block[0, b], block[1, b], block[2, b]
                xx += x * u
                xy += x * v
                xz += x * w
                yx += y * u
                yy += y * v
                yz += y * w
                zx += z * u
                zy += z * v
                zz += z * w
        for a, row in enumerate(((xx, xy, xz), (yx, yy, yz), (zx, zy, zz))):
            for c in range(3):
                previous[i, a, c] = row[c] - coupling[c] * previous[i, a, c]
                alpha[c] += current[i, a, c] * previous[i, a, c]
    return alpha
