"""How far finite differences are off: their Hessian against forces of one more displacement."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import CalculatorError
from ase_vibent.harmonic.modes import NOISE
from ase_vibent.harmonic.rigid_motions import RigidComplement, free_motions
from ase_vibent.harmonic.step_error import StepError
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.options import STEP
from ase_vibent.structures.validity import free_atoms

#: Steps that "auto" tries, Å, until a Hessian is no noisier than `NOISY`: surfaces that are rough
#: on a small scale want a shorter one, noise a longer one.
STEPS = (STEP, 0.3 * STEP, 3 * STEP)
#: Displacements that a Hessian with an interaction range is compared along: a few modes of long
#: waves feel most of what is left out, and one pattern may miss them.
PATTERNS = 6
#: From this share of the Hessian on there is a warning, and an error.
NOISY, UNUSABLE = 0.01, 0.1


def measure_step(
    hessian: Array,
    atoms: Atoms,
    displaced_forces: DisplacedForces,
    step: float,
    n_patterns: int = 1,
) -> StepError:
    """Compare a Hessian with forces along displacements of all atoms, as heat makes them.

    Of patterns z with covariance H⁻¹ the mean of z·δH z is Tr[H⁻¹ δH], and the entropy is off by
    half of it: so anharmonicity shows, which goes one way, and what an interaction range leaves
    out. Of noise the size of δH z tells more: independent errors σ of all entries make one of
    σ ‖H⁻¹‖/2. The larger is taken.

    Parameters
    ----------
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Of the free atoms.
    atoms : Atoms
    displaced_forces : DisplacedForces
        Of the structure.
    step : float, Å
        That the Hessian was made with; here no atom is displaced by more than half of it.
    n_patterns : int
        Two force calls each.

    Returns
    -------
    StepError

    Raises
    ------
    CalculatorError
        If the calculator fails.
    """
    free = free_atoms(atoms)
    complement = RigidComplement(free_motions(atoms, free, mass_weighted=False))
    restricted = complement.restrict(hessian)
    drawn, n_modes, of_inverse = _thermal_patterns(restricted, n_patterns)
    if n_modes == 0:
        return StepError(step, 0.0, 0.0)
    patterns = complement.expand(drawn).T
    forces = _linear_forces(displaced_forces, free, patterns, step / 2)
    residuals = patterns @ hessian - np.array(list(forces))
    noise = np.linalg.norm(residuals) / np.linalg.norm(patterns)
    one_way = -np.mean(np.sum(patterns * residuals, axis=1)) / 2
    random = noise / np.sqrt(n_modes) * of_inverse / 2
    return StepError(
        step,
        float(noise / (np.linalg.norm(restricted) / np.sqrt(n_modes))),
        float(np.copysign(max(abs(one_way), random), one_way)),
    )


def _thermal_patterns(hessian: Array, count: int) -> tuple[Array, int, float]:
    """Random patterns of covariance |H|⁻¹ as columns, the number of modes in them, and ‖H⁻¹‖.

    From a Cholesky factor, a tenth of the work of diagonalisation, where all modes are stable.
    """
    random = np.random.default_rng(0).standard_normal((count, len(hessian))).T
    if hessian.size == 0:
        return random, 0, 0.0
    factor, indefinite = dpotrf(hessian, lower=True)
    if not indefinite:
        inverse, _ = dpotri(factor, lower=True)
        of_inverse = float(
            np.sqrt(2 * np.sum(np.tril(inverse, -1) ** 2) + np.sum(np.diag(inverse) ** 2))
        )
        if of_inverse * NOISE * np.linalg.norm(hessian) < 1:
            return solve_triangular(factor, random, trans="T", lower=True), len(random), of_inverse
    eigenvalues, vectors = np.linalg.eigh(hessian)
    sizes = np.abs(eigenvalues)
    kept = sizes > NOISE * sizes.max(initial=0.0)
    sizes = sizes[kept]
    patterns = vectors[:, kept] @ (random[kept] / np.sqrt(sizes)[:, None])
    return patterns, len(sizes), float(np.linalg.norm(1 / sizes))


def report_step(found: StepError, calculator: object) -> None:
    """Warn of a noisy Hessian, and refuse one that is mostly noise.

    Parameters
    ----------
    found : StepError
    calculator : ASE calculator
        Whose forces they are.

    Raises
    ------
    CalculatorError

    Warns
    -----
    UserWarning
    """
    if found.relative <= NOISY:
        return
    message = (
        f"displacement: forces of {type(calculator).__name__} are {100 * found.relative:.2g} % off "
        f"what its Hessian by differences of {found.step:.4g} Å says (the entropy by about "
        f"{abs(found.entropy):.2g} k_B)"
    )
    if found.relative > UNUSABLE:
        raise CalculatorError(
            f"{message}; its energy surface is too rough for second derivatives by differences. "
            "Use double precision or a smoother potential"
        )
    warnings.warn(
        f"{message}; try another displacement, double precision, or a longer interaction_range if "
        "one is stated",
        stacklevel=4,
    )


def _linear_forces(
    displaced_forces: DisplacedForces, free: IntArray, patterns: Array, largest: float
) -> Iterator[Array]:
    """-∂F along patterns of the free atoms, by central differences, each of shape (3n,), eV/Å²."""
    blocks = patterns.reshape(len(patterns), -1, 3)
    scales = largest / np.linalg.norm(blocks, axis=2).max(axis=1)
    shifts = np.zeros((len(patterns), displaced_forces.n_atoms, 3))
    shifts[:, free] = scales[:, None, None] * blocks
    for scale, change in zip(scales, displaced_forces.changes(shifts), strict=True):
        yield np.asarray(-change[free].ravel() / (2 * scale))
