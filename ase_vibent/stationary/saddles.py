"""First-order saddles between minima, each proved to be one and followed down both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import find_mic, get_distances
from ase.mep import NEB, DimerControl, MinModeAtoms, MinModeTranslate
from ase.optimize import FIRE
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import HessianOptions, compute_hessian
from ase_vibent.potentials import calculator_failures, resolve_calculator, with_results
from ase_vibent.stationary.relaxation import both_sides, follow, largest_force, relax
from ase_vibent.structures.validity import check_structure, free_atoms, starting_copy

#: How far a band is converged before its highest image goes on as a dimer, eV/Å.
BAND_FORCE = 0.05
#: Displacements that break the symmetry of an elastic band, Å.
NOISE = 0.02
#: Two minima are one if no atom is farther from its place (Å), and energies agree (eV).
SAME_POSITION, SAME_ENERGY = 0.1, 1e-3


@dataclass(frozen=True, repr=False)
class Saddle:
    """A first-order saddle with the minima on its two sides: an event of [Lapointe2022] IV.

    Attributes
    ----------
    saddle, minimum_1, minimum_2 : Atoms
        With energies and forces; `minimum_1` is the start where that is reached.
    mode : ndarray, shape (N, 3)
        Direction of the one unstable mode, normalised, from `minimum_1` to `minimum_2`.
    frequency : float, eV
        ħω of the unstable mode at Γ, negative because imaginary.
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Of the saddle's free atoms, by which it was proved to be one.
    connected : bool
        Whether the descents end where the search began: in the given minimum on one
        side, or in both given end points of a path.
    """

    saddle: Atoms
    minimum_1: Atoms
    minimum_2: Atoms
    mode: Array
    frequency: float
    hessian: Array
    connected: bool

    def __repr__(self) -> str:
        return (
            f"Saddle(barrier_forward={self.barrier_forward:.4f}, "
            f"barrier_backward={self.barrier_backward:.4f}, "
            f"frequency={self.frequency:.5f}, connected={self.connected})"
        )

    @property
    def barrier_forward(self) -> float:
        """Energy of the saddle above `minimum_1`, eV."""
        return float(self.saddle.get_potential_energy() - self.minimum_1.get_potential_energy())

    @property
    def barrier_backward(self) -> float:
        """Energy of the saddle above `minimum_2`, eV."""
        return float(self.saddle.get_potential_energy() - self.minimum_2.get_potential_energy())


def dimer_saddle(
    minimum: Atoms,
    calculator: object,
    *,
    around: Sequence[int] | NDArray[np.intp] | None = None,
    radius: float = 3.0,
    amplitude: float = 0.1,
    rng: np.random.Generator | int = 0,
    fmax: float = 1e-3,
    steps: int = 2000,
    options: HessianOptions = HessianOptions(),
) -> Saddle:
    """Saddle next to a minimum: random local displacement, then ASE's dimer.

    Parameters
    ----------
    minimum : Atoms
        Relaxed to `fmax` first, where it is not.
    calculator : ASE calculator or factory
    around : sequence of int, optional
        Indices from which the centre of the displacement is drawn; by default all atoms.
        At a defect, take its neighbours: a displaced bulk atom seldom finds a way.
    radius : float, Å
        Atoms within it of the centre are displaced, by Gaussian random numbers.
    amplitude : float, Å
        Standard deviation of a component. With larger ones the search more often ends
        at a saddle of another minimum.
    rng : Generator or seed
    fmax : float, eV/Å
        Largest force that may be left, at the saddle and at the minima.
    steps : int
        Most steps of the dimer, and of each relaxation.
    options : HessianOptions
        Of the Hessian that proves the saddle.

    Returns
    -------
    Saddle

    Raises
    ------
    RelaxationError
        If the dimer, or a descent from the saddle, does not converge.
    UnstableStructureError
        If what it found has not exactly one unstable mode.
    """
    check_positive("radius", radius)
    check_positive("amplitude", amplitude)
    rng = np.random.default_rng(rng)
    start = relax(minimum, calculator, fmax=fmax, steps=steps)
    centre = rng.choice(centre_indices(around, len(start)))
    distances = get_distances(
        start.positions[centre], start.positions, cell=start.cell, pbc=start.pbc
    )[1][0]
    displacement = rng.normal(scale=amplitude, size=(len(start), 3))
    displacement[distances > radius] = 0
    guess = starting_copy(start)
    guess.set_positions(start.positions + displacement)  # fixed atoms stay
    saddle = climb(guess, guess.positions - start.positions, calculator, fmax=fmax, steps=steps)
    return _follow(saddle, [start], calculator, fmax, steps, options)


def path_saddle(
    initial: Atoms,
    final: Atoms,
    calculator: object,
    *,
    images: int = 5,
    fmax: float = 1e-3,
    steps: int = 2000,
    options: HessianOptions = HessianOptions(),
) -> Saddle:
    """Highest saddle on the path between two minima: climbing nudged elastic band, then dimer.

    The band starts from ASE's image-dependent pair potential and is converged to
    0.05 eV/Å; its climbing image then goes on as a dimer.

    Parameters
    ----------
    initial, final : Atoms
        With the same atoms in the same order; relaxed to `fmax` first, where they are not.
    calculator : ASE calculator or factory
    images : int
        Between the two.
    fmax : float, eV/Å
    steps : int
    options : HessianOptions
        Of the Hessian that proves the saddle.

    Returns
    -------
    Saddle
        `connected` if its sides are the two minima; if not, minima lie in between.

    Raises
    ------
    InvalidInputError
        If the two do not belong together, or relax to one minimum.
    RelaxationError, UnstableStructureError
        As in `dimer_saddle`.
    """
    if not np.array_equal(initial.numbers, final.numbers) or not np.allclose(
        initial.cell.array, final.cell.array
    ):
        raise InvalidInputError(
            "final: expected the atoms of the initial structure in the same order and cell, got "
            f"{final.get_chemical_formula()} against {initial.get_chemical_formula()}"
        )
    if images < 1:
        raise InvalidInputError(f"images: expected a number from 1 on, got {images!r}")
    ends = [relax(atoms, calculator, fmax=fmax, steps=steps) for atoms in (initial, final)]
    if same_minimum(*ends):
        raise InvalidInputError("final: relaxes to the same minimum as the initial structure")
    guess, tangent = _band_maximum(ends[0], ends[1], calculator, images, steps)
    saddle = climb(guess, tangent, calculator, fmax=fmax, steps=steps)
    return _follow(saddle, ends, calculator, fmax, steps, options)


def _band_maximum(
    initial: Atoms, final: Atoms, calculator: object, n_images: int, steps: int
) -> tuple[Atoms, Array]:
    """Highest image of a climbing band, and the direction between its neighbours."""
    shared = resolve_calculator(calculator)
    band = [initial, *(starting_copy(initial) for _ in range(n_images)), final]
    for image in band[1:-1]:
        image.calc = shared
    with calculator_failures(shared, "forces", "an elastic band"):
        chain = NEB(band, method="improvedtangent", allow_shared_calculator=True)
        chain.interpolate("idpp", mic=True)
        rng = np.random.default_rng(0)
        for image in band[1:-1]:
            # A symmetric path may run over a saddle of higher order.
            image.set_positions(image.positions + rng.normal(scale=NOISE, size=(len(image), 3)))
        follow(FIRE(chain, logfile=None), 4 * BAND_FORCE, steps, "elastic band")
        chain.climb = True
        follow(FIRE(chain, logfile=None), BAND_FORCE, steps, "elastic band")
        top = 1 + int(np.argmax(chain.energies[1:-1]))
    difference = band[top + 1].positions - band[top - 1].positions
    return starting_copy(band[top]), find_mic(difference, initial.cell, initial.pbc)[0]


def climb(
    guess: Atoms, direction: Array, calculator: object, *, fmax: float, steps: int = 2000
) -> Atoms:
    """Saddle reached by a dimer from a guess of its place and its unstable mode.

    Parameters
    ----------
    guess : Atoms
    direction : ndarray, shape (N, 3)
        Of any length.
    calculator : ASE calculator or factory
    fmax : float, eV/Å
    steps : int
        Most steps of the dimer.

    Returns
    -------
    Atoms
        With energy and forces. That it has one unstable mode is not proved.

    Raises
    ------
    RelaxationError
        If the dimer does not converge.
    """
    check_structure(guess)
    atoms = starting_copy(guess)
    atoms.calc = resolve_calculator(calculator)
    mode = direction - direction.mean(axis=0) * (not atoms.constraints)
    with (
        calculator_failures(atoms.calc, "forces", "a dimer"),
        DimerControl(logfile=None, eigenmode_logfile=None) as control,
    ):
        dimer = MinModeAtoms(
            atoms, control, eigenmodes=[mode / np.linalg.norm(mode)], random_seed=0
        )
        search, target = MinModeTranslate(dimer, logfile=None), fmax
        follow(search, target, steps, "dimer")
        # What converged has one component turned round, or alone, and another largest atom.
        while largest_force(dimer.get_forces(real=True)) > fmax:
            target /= 2
            follow(search, target, steps, "dimer")
    return with_results(atoms)


def _follow(
    saddle: Atoms,
    starts: Sequence[Atoms],
    calculator: object,
    fmax: float,
    steps: int,
    options: HessianOptions,
) -> Saddle:
    """The saddle, proved to have one unstable mode, with the minima below it."""
    hessian = compute_hessian(saddle, calculator, options=options)
    frequency, mode = _unstable_mode(saddle, hessian)
    minima = [relax(side, calculator, fmax=fmax, steps=steps) for side in both_sides(saddle, mode)]
    if same_minimum(minima[1], starts[0]):
        minima.reverse()
        mode = -mode
    reached = [same_minimum(m, start) for m, start in zip(minima, starts, strict=False)]
    return Saddle(saddle, minima[0], minima[1], mode, frequency, hessian, all(reached))


def _unstable_mode(saddle: Atoms, hessian: Array) -> tuple[float, Array]:
    """ħω and direction of the only unstable mode at Γ; UnstableStructureError else."""
    system = HarmonicSystem(saddle, hessian, free=free_atoms(saddle), unstable=1)
    (mode,) = system.patterns(system.modes.eigenvectors[:, :1], system.masses)
    return float(system.frequencies[0]), np.asarray(mode / np.linalg.norm(mode))


def centre_indices(
    around: Sequence[int] | NDArray[np.intp] | None, n_atoms: int
) -> NDArray[np.intp]:
    """Atoms from which the centre of a displacement is drawn; None means all.

    Parameters
    ----------
    around : sequence of int, or None
    n_atoms : int

    Returns
    -------
    ndarray of int

    Raises
    ------
    InvalidInputError
        If there is none, or not so many atoms.
    """
    indices = np.arange(n_atoms) if around is None else np.asarray(around, dtype=np.intp)
    if len(indices) == 0 or indices.min() < 0 or indices.max() >= n_atoms:
        raise InvalidInputError(
            f"around: expected indices from 0 to {n_atoms - 1}, at least one, got {around!r}"
        )
    return indices


def same_minimum(one: Atoms, other: Atoms) -> bool:
    """Whether two relaxed structures are one, but for a rigid shift of all atoms.

    No atom is farther than 0.1 Å from its place, and energies agree to 1 meV.

    Parameters
    ----------
    one, other : Atoms
        With energies; the same atoms in the same order.

    Returns
    -------
    bool
    """
    difference = find_mic(one.positions - other.positions, one.cell, one.pbc)[0]
    if not one.constraints:
        difference -= difference.mean(axis=0)
    return bool(
        np.linalg.norm(difference, axis=1).max() < SAME_POSITION
        and abs(one.get_potential_energy() - other.get_potential_energy()) < SAME_ENERGY
    )
