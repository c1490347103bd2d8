"""How far finite differences are off: their Hessian against forces of one more displacement."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import CalculatorError
from ase_vibent.harmonic.modes import NOISE, RigidComplement, rigid_body_motions
from ase_vibent.harmonic.step_error import StepError
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.options import STEP
from ase_vibent.structures.validity import free_atoms

#: Steps that "auto" tries, Å, until a Hessian is no noisier than `NOISY`: surfaces that are rough
#: on a small scale want a shorter one, noise a longer one.
STEPS = (STEP, 0.3 * STEP, 3 * STEP)
#: From this share of the Hessian on there is a warning, and an error.
NOISY, UNUSABLE = 0.01, 0.1


def measure_step(
    hessian: Array, atoms: Atoms, displaced_forces: DisplacedForces, step: float
) -> StepError:
    """Compare a Hessian with forces along a displacement of all atoms, as heat makes them.

    Of a pattern z with covariance H⁻¹ the mean of z·δH z is Tr[H⁻¹ δH], and the entropy is off by
    half of it: so anharmonicity shows, which goes one way. Of noise the size of δH z tells more:
    independent errors σ of all entries make one of σ ‖H⁻¹‖/2. The larger is taken.

    Parameters
    ----------
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Of the free atoms.
    atoms : Atoms
    displaced_forces : DisplacedForces
        Of the structure.
    step : float, Å
        That the Hessian was made with; here no atom is displaced by more than half of it.

    Returns
    -------
    StepError

    Raises
    ------
    CalculatorError
        If the calculator fails.
    """
    free = free_atoms(atoms)
    rigid = rigid_body_motions(atoms, mass_weighted=False)
    motions = rigid if len(free) == len(atoms) else np.empty((len(hessian), 0))
    complement = RigidComplement(motions)
    restricted = complement.restrict(hessian)
    drawn, n_modes, of_inverse = _thermal_pattern(restricted)
    if n_modes == 0:
        return StepError(step, 0.0, 0.0)
    pattern = complement.expand(drawn[:, None])[:, 0]
    residual = hessian @ pattern - _linear_forces(displaced_forces, free, pattern, step / 2)
    noise = np.linalg.norm(residual) / np.linalg.norm(pattern)
    one_way = -pattern @ residual / 2
    random = noise / np.sqrt(n_modes) * of_inverse / 2
    return StepError(
        step,
        float(noise / (np.linalg.norm(restricted) / np.sqrt(n_modes))),
        float(np.copysign(max(abs(one_way), random), one_way)),
    )


def _thermal_pattern(hessian: Array) -> tuple[Array, int, float]:
    """Random pattern of covariance |H|⁻¹, the number of modes in it, and ‖H⁻¹‖.

    From a Cholesky factor, a tenth of the work of diagonalisation, where all modes are stable.
    """
    random = np.random.default_rng(0).standard_normal(len(hessian))
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
    pattern = vectors[:, kept] @ (random[kept] / np.sqrt(sizes))
    return pattern, len(sizes), float(np.linalg.norm(1 / sizes))


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
    warnings.warn(f"{message}; try another displacement, or double precision", stacklevel=4)


def _linear_forces(
    displaced_forces: DisplacedForces, free: IntArray, pattern: Array, largest: float
) -> Array:
    """-∂F along a pattern of the free atoms, by central differences, shape (3n,), eV/Å."""
    blocks = pattern.reshape(-1, 3)
    scale = largest / np.linalg.norm(blocks, axis=1).max()
    shift = np.zeros((displaced_forces.n_atoms, 3))
    shift[free] = scale * blocks
    change = next(displaced_forces.changes([shift]))
    return np.asarray(-change[free].ravel() / (2 * scale))
