"""Phonons of a crystal through phonopy: force constants, q-meshes, an entropy calculator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from numpy.typing import NDArray

from ase_vibent.base import EntropyCalculator, SiteThermodynamics
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.harmonic.entropy import Statistics, classical, quantum
from ase_vibent.harmonic.modes import (
    check_masses,
    dynamical_matrix,
    require_stability,
    signed_frequencies,
)
from ase_vibent.harmonic.system import HarmonicSystem, check_unstable
from ase_vibent.hessian import (
    DisplacedForces,
    check_displacement,
    compute_hessian,
    free_atoms,
    has_analytic_hessian,
    resolve_calculator,
)
from ase_vibent.structures import check_structure

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


class PhonopyEntropyCalculator(EntropyCalculator):
    """Harmonic entropy and free energy of a crystal, from force constants by phonopy.

    Symmetry saves force calls, which makes it the quick exact route to perfect crystals,
    and q-meshes take it to the infinite crystal. All values are those of the structure
    that is asked for: sums over its modes, averaged over q, and shared out to its atoms
    with weights |e|². There are no forces and no stress; phonopy has none to give.

    The structure is taken as it is, and never reduced to a primitive cell. It must be
    periodic along three directions. FixAtoms is refused, because phonopy moves every
    atom; FixCom and FixSymmetry, leftovers of relaxations, play no part.

    Parameters
    ----------
    calculator : ASE calculator or factory () -> ASE calculator
        Needs forces; an analytic Hessian (matscipy's `get_hessian`, a property `hessian`)
        is used where there is one.
    temperature : float, K
    supercell : three int, or 3 × 3 matrix of int
        Of the force constants; the rows of a matrix are its vectors in terms of the
        structure's, as in `ase.build.make_supercell`. By default the structure itself.
    mesh : three int, optional
        Monkhorst-Pack mesh of the structure's own reciprocal cell. With an even number
        in it the mesh avoids Γ: 3N modes. A mesh of odd numbers contains Γ, whose three
        translations are projected out exactly: 3N - 3 / (points of the mesh) modes.
        Away from the points that fit into `supercell`, force constants are interpolated:
        it should be twice as wide as the interaction is long. By default Γ of
        `supercell` alone, which for the structure itself is the sum that
        `HessianEntropyCalculator` takes.
    unstable : int or "any"
        Expected number of unstable modes, of the supercell at Γ; with a mesh, 0 or "any".
        Any other number raises `UnstableStructureError`; "any" leaves them out (log⁺).
    quantum : bool
        Quantum statistics with zero-point energy instead of classical ones.
    displacement : float, Å
        Of the finite differences, where the calculator has no analytic Hessian.
    """

    implemented_properties = [  # noqa: RUF012 - the name and the type are ASE's
        "energy",
        "free_energy",
        "energies",
        "entropy",
        "entropies",
    ]
    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        "temperature": 300.0,
        "supercell": (1, 1, 1),
        "mesh": None,
        "unstable": 0,
        "quantum": False,
        "displacement": 0.01,
    }

    def __init__(
        self,
        calculator: object,
        *,
        temperature: float = 300.0,
        supercell: Sequence[int] | Sequence[Sequence[int]] | IntArray = (1, 1, 1),
        mesh: Sequence[int] | None = None,
        unstable: int | str = 0,
        quantum: bool = False,
        displacement: float = 0.01,
    ):
        self.wrapped: Any = resolve_calculator(calculator)
        self._phonons: Any = None
        self._spectrum: Spectrum | None = None
        super().__init__(
            temperature=temperature,
            supercell=supercell,
            mesh=mesh,
            unstable=unstable,
            quantum=quantum,
            displacement=displacement,
        )

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters, as in ASE; force constants are kept where they stay the same."""
        if "supercell" in kwargs:
            kwargs["supercell"] = _check_supercell(kwargs["supercell"])
        if kwargs.get("mesh") is not None:
            kwargs["mesh"] = _check_mesh(kwargs["mesh"])
        wanted = {**self.parameters, **kwargs}
        check_displacement(wanted["displacement"])
        check_unstable(wanted["unstable"])
        if wanted["mesh"] is not None and wanted["unstable"] not in (0, "any"):
            raise InvalidInputError(
                f"unstable: expected 0 or 'any' with a mesh, got {wanted['unstable']!r}; "
                "modes are counted at Γ only, with mesh=None"
            )
        changed = super().set(**kwargs)
        if {"supercell", "displacement"}.intersection(changed):
            self._phonons = None
        if {"supercell", "displacement", "mesh"}.intersection(changed):
            self._spectrum = None
        return changed

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, newly fixed atoms included."""
        changes = super().check_state(atoms, tol)
        if not changes and len(free_atoms(atoms)) < len(atoms):
            changes.append("constraints")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE. Force constants are kept while positions are."""
        if system_changes:
            self._spectrum = None
        if set(system_changes) - {"masses"}:
            self._phonons = None
        # What cannot be honoured is refused before ASE keeps the structure.
        structure = self.atoms if atoms is None else atoms
        if len(free_atoms(structure)) < len(structure):
            raise InvalidStructureError(
                "atoms: phonopy moves every atom, but some are under FixAtoms; remove the "
                "constraint, or use HessianEntropyCalculator"
            )
        super().calculate(atoms, properties, system_changes)

    def get_frequencies(self, atoms: Atoms | None = None) -> Array:
        """Energies ħω at every q-point, unstable modes included.

        Parameters
        ----------
        atoms : Atoms, optional
            By default those of the last calculation.

        Returns
        -------
        ndarray, shape (n_q, 3N), eV
            Ascending, imaginary ones as negative numbers. At Γ the three translations
            stand in front, as exact zeros.

        Raises
        ------
        UnstableStructureError
            If the number of unstable modes is not `unstable`.
        """
        return signed_frequencies(self._spectrum_of(atoms).eigenvalues)

    def get_qpoints(self, atoms: Atoms | None = None) -> Array:
        """Points of `get_frequencies`, in units of the reciprocal cell vectors, (n_q, 3).

        Of a mesh, one of each pair (q, -q); without one, all points that fit into
        `supercell`: together they are its Γ.
        """
        return self._spectrum_of(atoms).points

    def get_weights(self, atoms: Atoms | None = None) -> Array:
        """Weights of the points of `get_frequencies`, shape (n_q,); they sum to 1."""
        return self._spectrum_of(atoms).weights

    def get_number_of_unstable_modes(self, atoms: Atoms | None = None) -> int:
        """Number of imaginary frequencies on the whole mesh, or at Γ of the supercell."""
        return self._spectrum_of(atoms).n_unstable

    def _spectrum_of(self, atoms: Atoms | None) -> Spectrum:
        structure = self.atoms if atoms is None else atoms
        if structure is None:
            raise InvalidInputError("atoms: nothing calculated yet; pass a structure")
        self.get_property("energy", structure)
        assert self._spectrum is not None
        return self._spectrum

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`; there are no derivatives."""
        if self._spectrum is None:
            self._spectrum = self._solve(prepared_crystal(atoms))
        self._spectrum.require_stability(self.parameters["unstable"])
        statistics = quantum if self.parameters["quantum"] else classical
        return SiteThermodynamics(*self._spectrum.site_thermodynamics(statistics, self.temperature))

    def _solve(self, crystal: Atoms) -> Spectrum:
        matrix, mesh = self.parameters["supercell"], self.parameters["mesh"]
        # What is wrong with the masses should not cost force calls.
        check_masses(crystal)
        if self._phonons is None:
            self._phonons = build_phonons(
                crystal, self.wrapped, np.array(matrix), self.parameters["displacement"]
            )
        if mesh is None:
            points = commensurate_points(self._phonons)
            return solve_spectrum(self._phonons, crystal, points, np.ones(len(points), int))
        return solve_spectrum(self._phonons, crystal, *monkhorst_pack(mesh))


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
    phonons: Any, crystal: Atoms, points: Array, multiplicities: IntArray
) -> Spectrum:
    """Diagonalise the dynamical matrices of a crystal, translations projected out at Γ.

    Parameters
    ----------
    phonons : phonopy.Phonopy
        From `build_phonons`.
    crystal : Atoms
        The same atoms; masses are taken from here.
    points : ndarray, shape (n_q, 3)
    multiplicities : ndarray of int, shape (n_q,)

    Returns
    -------
    Spectrum
    """
    n = len(crystal)
    eigenvalues = np.zeros((len(points), 3 * n))
    site_weights = np.zeros((len(points), n, 3 * n))
    for row, q in enumerate(points):
        values, vectors = _vibrations(crystal, hessian_at(phonons, q), at_gamma=_is_gamma(q))
        vibrations = slice(3 * n - len(values), None)
        eigenvalues[row, vibrations] = values
        squares = (np.abs(vectors) ** 2).reshape(n, 3, -1)
        site_weights[row, :, vibrations] = squares.sum(axis=1)
    return Spectrum(points, multiplicities, eigenvalues, site_weights)


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
    if not np.all(crystal.pbc):
        raise InvalidStructureError(
            "atoms: expected a crystal, periodic along three directions, got "
            f"pbc={crystal.pbc.tolist()}; surfaces, wires and clusters have no bulk value"
        )
    copy: Atoms = crystal.copy()
    copy.set_constraint()
    if copy.cell.handedness < 0:  # phonopy refuses it; the lattice stays the same
        copy.set_cell(-copy.cell.array)
    return copy


def phonopy_cell(atoms: Atoms) -> Any:
    """Phonopy's form of a structure, magnetic moments included; all masses are 1 amu.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    phonopy.structure.atoms.PhonopyAtoms
    """
    from phonopy.structure.atoms import PhonopyAtoms

    moments = atoms.get_initial_magnetic_moments()
    return PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=np.ones(len(atoms)),
        magnetic_moments=moments if np.any(moments) else None,
    )


def build_phonons(
    crystal: Atoms, calculator: object, supercell: IntArray, displacement: float
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
    displacement : float, Å
        Of the finite differences, where the calculator has no analytic Hessian.

    Returns
    -------
    phonopy.Phonopy

    Raises
    ------
    CalculatorError
        If the calculator fails.
    """
    from phonopy import Phonopy

    matrix = np.diag(supercell) if np.ndim(supercell) == 1 else np.transpose(supercell)
    with warnings.catch_warnings():
        # A supercell of fewer symmetries only costs displacements.
        warnings.filterwarnings("ignore", message="Warning: Point group symmetries")
        # 'P': the default takes a perfect supercell for a primitive cell of fewer atoms.
        phonons = Phonopy(phonopy_cell(crystal), matrix, "P")
    images = _supercell_atoms(phonons, crystal)
    if has_analytic_hessian(calculator):
        hessian = compute_hessian(images, calculator).reshape(len(images), 3, len(images), 3)
        phonons.force_constants = np.ascontiguousarray(hessian.transpose(0, 2, 1, 3))
    else:
        _displace(phonons, DisplacedForces(images, calculator), displacement)
    return phonons


def _displace(phonons: Any, responses: DisplacedForces, displacement: float) -> None:
    """Give phonopy its force constants, by displacements that differ by symmetry."""
    phonons.generate_displacements(distance=displacement, is_plusminus=True)
    rest = phonons.supercell.positions
    phonons.forces = np.array(
        [responses(cell.positions - rest).forces for cell in phonons.supercells_with_displacements]
    )
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants()


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


def monkhorst_pack(mesh: Sequence[int]) -> tuple[Array, IntArray]:
    """Half of a Monkhorst-Pack mesh: one of each pair (q, -q), which have the same modes.

    With an even number in it the mesh avoids Γ; of odd numbers alone, it contains Γ.

    Parameters
    ----------
    mesh : three int

    Returns
    -------
    points : ndarray, shape (n_q, 3)
        In units of the reciprocal cell vectors.
    multiplicities : ndarray of int, shape (n_q,)
        2, and 1 for Γ; they sum to the number of points of the mesh.
    """
    axes = [(2 * np.arange(n) + 1 - n) / (2 * n) for n in mesh]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # In this order -q is as far from the end as q is from the beginning.
    half = (len(points) + 1) // 2
    multiplicities = np.full(half, 2)
    if len(points) % 2:
        multiplicities[-1] = 1
    return points[:half], multiplicities


def commensurate_points(phonons: Any) -> Array:
    """The q-points that fit into the supercell, shape (number of cells, 3)."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    points: Array = get_commensurate_points(phonons.supercell_matrix)
    return points


def _is_gamma(q: Array) -> bool:
    """Whether a point is Γ; others are 1 / (number of cells) away from it, or farther."""
    return bool(np.all(np.abs(q - np.rint(q)) < 1e-9))


def _check_mesh(mesh: Any) -> tuple[int, ...]:
    values = _integers(mesh)
    if values is None or values.shape != (3,) or np.any(values < 1):
        raise InvalidInputError(
            f"mesh: expected three integers ≥ 1, or None for Γ alone, got {mesh!r}"
        )
    return tuple(values.tolist())


def _check_supercell(supercell: Any) -> tuple:
    values = _integers(supercell)
    if values is not None and values.shape == (3,) and np.all(values >= 1):
        return tuple(values.tolist())
    if values is None or values.shape != (3, 3) or np.linalg.det(values) < 0.5:
        raise InvalidInputError(
            "supercell: expected three integers ≥ 1, or a 3 × 3 matrix of integers with a "
            f"positive determinant, got {supercell!r}"
        )
    return tuple(tuple(row) for row in values.tolist())


def _integers(value: Any) -> IntArray | None:
    """Array of a nested sequence of integers, None if it is anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array.astype(np.int64) if np.issubdtype(array.dtype, np.integer) else None
