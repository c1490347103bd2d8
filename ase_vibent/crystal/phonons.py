"""Phonons of a crystal through phonopy: force constants, q-meshes, spectra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidStructureError, UnstableStructureError
from ase_vibent.harmonic.entropy import Statistics
from ase_vibent.harmonic.modes import (
    dynamical_matrix,
    require_stability,
    signed_frequencies,
    site_weights,
)
from ase_vibent.harmonic.periodicity import free_standing
from ase_vibent.harmonic.rigid_motions import rotation_axes
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import (
    DisplacedForces,
    HessianOptions,
    compute_hessian,
    takes_analytic_hessian,
)
from ase_vibent.hessian.symmetry import (
    SymmetricDifferences,
    new_phonons,
    phonopy_cell,
    right_handed,
    set_hessian,
)
from ase_vibent.structures import check_structure


@dataclass(frozen=True)
class Spectrum:
    """Modes of a crystal of N atoms on a set of q-points.

    Attributes
    ----------
    points : ndarray, shape (n_q, 3)
        In units of the reciprocal cell vectors.
    multiplicities : ndarray of int, shape (n_q,)
        How many points of the whole set each one stands for.
    eigenvalues : ndarray, shape (n_q, 3N), eV/Å²/amu
        Ascending; at Γ behind three exact zeros, the translations.
    site_weights : ndarray, shape (n_q, N, 3N)
        |e_νi|², zero for translations.
    """

    points: Array
    multiplicities: IntArray
    eigenvalues: Array
    site_weights: Array

    @property
    def weights(self) -> Array:
        """Share of every point in the whole set, shape (n_q,)."""
        return self.multiplicities / self.multiplicities.sum()

    @property
    def all_eigenvalues(self) -> Array:
        """Those of the whole set but the translations, ascending, eV/Å²/amu."""
        vibrations = np.ones(self.eigenvalues.shape, dtype=bool)
        vibrations[[_is_gamma(q) for q in self.points], :3] = False
        copies = np.broadcast_to(self.multiplicities[:, None], vibrations.shape)
        return np.sort(np.repeat(self.eigenvalues[vibrations], copies[vibrations]))

    @property
    def n_unstable(self) -> int:
        """Number of negative eigenvalues in the whole set."""
        return int(np.sum(self.all_eigenvalues < 0))

    def require_stability(self, unstable: int | str) -> None:
        """Raise unless `unstable` modes of the whole set are imaginary and none is noise.

        Parameters
        ----------
        unstable : int or "any"

        Raises
        ------
        UnstableStructureError
            It carries the frequencies of the whole set, ascending.
        """
        eigenvalues = self.all_eigenvalues
        require_stability(eigenvalues, "any")
        if unstable in ("any", self.n_unstable):
            return
        lowest = signed_frequencies(self.eigenvalues.min(axis=1))
        q = self.points[np.argmin(lowest)]
        raise UnstableStructureError(
            f"unstable: expected {unstable} unstable modes, found {self.n_unstable} on "
            f"{self.multiplicities.sum()} q-points, the lowest with ħω = "
            f"{1e3 * lowest.min():.4g} meV (imaginary as negative) at q = "
            f"{np.round(q, 4).tolist()}; relax the structure, or pass unstable='any' to "
            "leave imaginary modes out",
            signed_frequencies(eigenvalues),
            self.n_unstable,
        )

    def site_thermodynamics(
        self, statistics: Statistics, temperature: float
    ) -> tuple[Array, Array]:
        """Site entropies and free energies, sums over modes and averages over q.

        Parameters
        ----------
        statistics : callable
            `classical` or `quantum`.
        temperature : float, K

        Returns
        -------
        entropies : ndarray, shape (N,), eV/K
        free_energies : ndarray, shape (N,), eV
        """
        kept = self.eigenvalues > 0
        values = statistics(self.eigenvalues[kept], temperature)
        sums = []
        for per_mode in (values.entropy, values.free_energy):
            padded = np.zeros(kept.shape)
            padded[kept] = per_mode
            sums.append(self.weights @ (self.site_weights @ padded[:, :, None])[:, :, 0])
        return sums[0], sums[1]


def solve_spectrum(
    hessian_of: Callable[[Array], Any], crystal: Atoms, points: Array, multiplicities: IntArray
) -> Spectrum:
    """Diagonalise the dynamical matrices of a crystal, translations projected out at Γ.

    Parameters
    ----------
    hessian_of : callable (q) -> ndarray, shape (3N, 3N), eV/Å²
        As `hessian_at`.
    crystal : Atoms
        Its atoms; masses are taken from here.
    points : ndarray, shape (n_q, 3)
    multiplicities : ndarray of int, shape (n_q,)

    Returns
    -------
    Spectrum
    """
    n = len(crystal)
    eigenvalues = np.zeros((len(points), 3 * n))
    weights = np.zeros((len(points), n, 3 * n))
    for row, q in enumerate(points):
        values, vectors = _vibrations(crystal, hessian_of(q), at_gamma=_is_gamma(q))
        vibrations = slice(3 * n - len(values), None)
        eigenvalues[row, vibrations] = values
        weights[row, :, vibrations] = site_weights(vectors)
    return Spectrum(points, multiplicities, eigenvalues, weights)


def _vibrations(crystal: Atoms, hessian: Any, *, at_gamma: bool) -> tuple[Array, Any]:
    """Eigenvalues and eigenvectors of the dynamical matrix, at Γ without translations."""
    if at_gamma:
        # How many modes may be unstable is for the whole set of points to say.
        modes = HarmonicSystem(crystal, hessian.real, unstable="any").modes
        return modes.eigenvalues, modes.eigenvectors
    matrix: Any = dynamical_matrix(hessian, crystal.get_masses())
    return np.linalg.eigh(matrix)


def prepared_crystal(crystal: Atoms) -> Atoms:
    """Copy without constraints, which would hold strains in place, in a right-handed cell.

    Parameters
    ----------
    crystal : Atoms

    Returns
    -------
    Atoms
        Same atoms at the same positions; a left-handed cell has its vectors reversed.

    Raises
    ------
    InvalidStructureError
        If it is no usable structure, or not periodic along three directions.
    """
    check_structure(crystal)
    if not np.all(crystal.pbc) or len(rotation_axes(crystal)):
        raise InvalidStructureError(
            "atoms: expected a crystal, periodic along three directions, got "
            f"pbc={free_standing(crystal).pbc.tolist()}; surfaces, wires and clusters have no bulk "
            "value"
        )
    copy = right_handed(crystal)
    copy.set_constraint()
    return copy


def build_phonons(
    crystal: Atoms,
    calculator: object,
    supercell: IntArray,
    options: HessianOptions = HessianOptions(),
    advice: str = "",
) -> Any:
    """Phonopy object with the force constants of a supercell; all masses are 1 amu.

    Parameters
    ----------
    crystal : Atoms
        In a right-handed cell, without constraints: see `prepared_crystal`. It is
        phonopy's primitive cell, whether or not it is a smallest one.
    calculator : ASE calculator
    supercell : ndarray of int, shape (3,) or (3, 3)
        Repeats, or rows that are vectors in terms of the crystal's, as in ASE.
    options : HessianOptions
        Displacements are those that differ by symmetry, and know no interaction range.
    advice : str
        See `DisplacedForces.expect`.

    Returns
    -------
    phonopy.Phonopy

    Raises
    ------
    CalculatorError
        If the calculator fails, or lacks an analytic Hessian that is asked for.
    """
    matrix = np.diag(supercell) if np.ndim(supercell) == 1 else np.transpose(supercell)
    phonons = new_phonons(phonopy_cell(crystal), matrix)
    images = _supercell_atoms(phonons, crystal)
    if takes_analytic_hessian(calculator, options):
        set_hessian(phonons, compute_hessian(images, calculator))
        return phonons
    displaced_forces = DisplacedForces(images, calculator, options=options)
    places = None if options.symmetry else np.asarray(phonons.supercell.s2u_map)
    differences = SymmetricDifferences(images, displaced_forces, options, places)
    displaced_forces.expect("crystal's force constants", differences.n_calls, advice)
    set_hessian(phonons, differences.hessian())
    return phonons


def _supercell_atoms(phonons: Any, crystal: Atoms) -> Atoms:
    """Phonopy's supercell with all that the crystal's atoms carry, moments among it."""
    origin = phonons.supercell.u2u_map
    images = crystal[[origin[s] for s in phonons.supercell.s2u_map]]
    images.set_cell(phonons.supercell.cell)
    images.positions = phonons.supercell.positions
    return images


def hessian_at(phonons: Any, q: Array) -> NDArray[np.complex128]:
    """Fourier transform of the force constants.

    Parameters
    ----------
    phonons : phonopy.Phonopy
        From `build_phonons`.
    q : ndarray, shape (3,)
        In units of the reciprocal cell vectors.

    Returns
    -------
    ndarray, shape (3N, 3N), eV/Å²
        Hermitian.
    """
    dynamical = phonons.dynamical_matrix
    dynamical.run(q)
    return dynamical.dynamical_matrix


def hessians_at(phonons: Any, points: Array) -> NDArray[np.complex128]:
    """`hessian_at` of many points at once.

    Parameters
    ----------
    phonons : phonopy.Phonopy
        From `build_phonons`, all masses 1 amu.
    points : ndarray, shape (n_q, 3)
        In units of the reciprocal cell vectors.

    Returns
    -------
    ndarray, shape (n_q, 3N, 3N), eV/Å²
        Hermitian.
    """
    if phonons.nac_params is not None:  # the correction is phonopy's, point by point
        return np.array([hessian_at(phonons, q) for q in points])
    n = len(phonons.primitive)
    first, second, vectors, blocks = _image_blocks(phonons)
    matrices = np.zeros((len(points), n, n, 3, 3), dtype=complex)
    for i, j in np.ndindex(n, n):
        chosen = (first == i) & (second == j)
        phases = np.exp(2j * np.pi * (points @ vectors[chosen].T))
        matrices[:, i, j] = np.tensordot(phases, blocks[chosen], 1)
    return _hermitian(matrices)


def mesh_hessians(phonons: Any, n_mesh: int) -> Iterator[tuple[Array, NDArray[np.complex128]]]:
    """Fourier transforms of the force constants on a half-shifted mesh, plane by plane.

    Parameters
    ----------
    phonons : phonopy.Phonopy
        From `build_phonons`, all masses 1 amu.
    n_mesh : int
        Even number of points along every reciprocal vector.

    Yields
    ------
    points : ndarray, shape (n_mesh², 3)
        In units of the reciprocal cell vectors; -q is left out of every pair of points.
    matrices : ndarray, shape (n_mesh², 3N, 3N), eV/Å²
        Hermitian. Waves count cells, not positions, of which frequencies and the sizes of
        displacements know nothing.
    """
    n, positions = len(phonons.primitive), phonons.primitive.scaled_positions
    first, second, vectors, blocks = _image_blocks(phonons)
    cells = np.rint(vectors - positions[second] + positions[first]).astype(int)
    along = (np.arange(n_mesh) + 0.5) / n_mesh
    half_step = np.exp(1j * np.pi / n_mesh * (cells[:, 0] + cells[:, 1]))
    x, y = np.meshgrid(along, along, indexing="ij")
    for z in along[: n_mesh // 2]:
        points = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, z)])
        if phonons.nac_params is not None:
            yield points, hessians_at(phonons, points)
            continue
        waves = half_step * np.exp(2j * np.pi * z * cells[:, 2])
        plane = np.zeros((n_mesh, n_mesh, n, n, 3, 3), dtype=complex)
        place = (cells[:, 0] % n_mesh, cells[:, 1] % n_mesh, first, second)
        np.add.at(plane, place, waves[:, None, None] * blocks)
        matrices = np.fft.ifft2(plane, axes=(0, 1), norm="forward")
        yield points, _hermitian(matrices.reshape(-1, n, n, 3, 3))


def _image_blocks(phonons: Any) -> tuple[IntArray, IntArray, Array, Array]:
    """Force constants between primitive atoms and the nearest images of others.

    Images at equal distance share theirs: atoms, atoms of whose images, vectors in units of the
    primitive cell's, shape (n, 3), blocks, shape (n, 3, 3), eV/Å².
    """
    primitive, constants = phonons.primitive, phonons.force_constants
    vectors, multiplicities = primitive.get_smallest_vectors()
    if len(constants) == len(phonons.supercell):
        constants = constants[primitive.p2s_map]
    home = np.array([primitive.p2p_map[image] for image in primitive.s2p_map])
    images, first = (indices.ravel() for indices in np.indices(multiplicities.shape[:2]))
    counts, starts = multiplicities.reshape(-1, 2).T
    rows = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    first, images = first[rows], images[rows]
    blocks = constants[first, images] / counts[rows, None, None]
    return first, home[images], vectors[starts[rows] + within], blocks


def _hermitian(blocks: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Matrices, shape (n_q, 3N, 3N), of blocks, shape (n_q, N, N, 3, 3)."""
    n_q, n = blocks.shape[:2]
    whole = blocks.swapaxes(2, 3).reshape(n_q, 3 * n, 3 * n)
    return np.asarray((whole + whole.conj().swapaxes(1, 2)) / 2, dtype=np.complex128)


def supercell_hessian_at(
    phonons: Any, supercell: Atoms, sites: IntArray, q: Array
) -> NDArray[np.complex128]:
    """Hessian of any supercell of a primitive crystal at a point of the supercell's own zone.

    Parameters
    ----------
    phonons : phonopy.Phonopy
        Of the primitive crystal, from `build_phonons`.
    supercell : Atoms
        On the crystal's sites, whatever its masses.
    sites : ndarray of int, shape (N,)
        Atom of the primitive cell that every atom is an image of.
    q : ndarray, shape (3,)
        In units of the supercell's reciprocal vectors.

    Returns
    -------
    ndarray, shape (3N, 3N), eV/Å²
        Hermitian: the mean over the primitive cell's points that fold onto q.
    """
    inverse = np.linalg.inv(phonons.primitive.cell)
    matrix = np.rint(supercell.cell.array @ inverse).astype(int)
    folded = commensurate_points(matrix.T)
    blocks = hessians_at(phonons, q @ np.linalg.inv(matrix).T + folded)
    within = phonons.primitive.scaled_positions[sites]
    places = within + np.rint(supercell.positions @ inverse - within)
    n = len(supercell)
    hessian = np.zeros((n, 3, n, 3), dtype=complex)
    for wave, block in zip(np.exp(2j * np.pi * folded @ places.T), blocks, strict=True):
        of_sites = block.reshape(len(phonons.primitive), 3, -1, 3)[sites][:, :, sites]
        hessian += wave[:, None, None, None] * of_sites * wave.conj()[:, None]
    return np.asarray(hessian.reshape(3 * n, 3 * n) / len(folded), dtype=np.complex128)


def commensurate_points(matrix: IntArray) -> Array:
    """The q-points that fit into phonopy's supercell of a matrix, shape (number of cells, 3)."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    # Of a left-handed cell the reversed vectors, as phonopy counts cells by the determinant.
    sign = 1 if np.linalg.det(matrix) > 0 else -1
    points: Array = get_commensurate_points(sign * matrix)
    return points


def _is_gamma(q: Array) -> bool:
    """Whether a point is Γ; others are 1 / (number of cells) away from it, or farther."""
    return bool(np.all(np.abs(q - np.rint(q)) < 1e-9))
