"""NRL tight binding of an element with s and p orbitals, in NumPy: [Ortner2022] App. D.

    python benchmarks/papers/nrl_tight_binding.py FILE.xml [--cells 5]

FILE.xml holds parameters in the format of QUIP (NRL_TB_params). Prints the lattice constant, bulk
modulus of the diamond crystal, forces and stress beside differences of the energy, and seconds of a
call. Matrices are dense: 1000 atoms have 4000 orbitals.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.units import Bohr, Rydberg
from scipy.linalg import eigh
from scipy.optimize import brentq, minimize_scalar
from scipy.special import entr, expit

Array = np.ndarray[Any, Any]

#: Rows of the bond integrals that s and p orbitals have.
SS, SP, PP_SIGMA, PP_PI = range(4)


@dataclass(frozen=True)
class Parameters:
    """Of the model, in Rydberg and Bohr.

    Attributes
    ----------
    cutoff, width : float
        R_c and l_c of [Ortner2022] App. D; L_c = 5.
    decay : float
        λ² of the density.
    onsite : ndarray, shape (2, 4)
        a, b, c, d of s and p.
    hopping, overlap : ndarray, shape (4, 4)
        Coefficients of ssσ, spσ, ppσ, ppπ; the last one is the rate of the exponential.
    electrons : int
        Of an atom.
    """

    cutoff: float
    width: float
    decay: float
    onsite: Array
    hopping: Array
    overlap: Array
    electrons: int

    @classmethod
    def read(cls, path: Path) -> Parameters:
        """From a file in QUIP's format."""
        root = ElementTree.parse(path).getroot()
        atom, pair = root.find("per_type_data"), root.find("per_pair_data")
        if atom is None or pair is None:
            raise SystemExit(f"{path}: expected per_type_data and per_pair_data of QUIP's NRL_TB")
        if atom.get("n_orbs") != "4":
            raise SystemExit(f"{path}: expected s and p orbitals, got {atom.get('n_orbs')}")
        numbers = {
            name: np.array((pair.findtext(name) or "").split(), dtype=float).reshape(-1, 4)
            for name in ("abcd", "H_coeff", "S_coeff")
        }
        return cls(
            cutoff=float(pair.get("r_cut", "nan")),
            width=float(pair.get("screen_l", "nan")),
            decay=float(atom.get("lambda_sq", "nan")),
            onsite=numbers["abcd"][:2],
            hopping=numbers["H_coeff"][:4],
            overlap=numbers["S_coeff"][:4],
            electrons=int(atom.get("n_elecs", "0")),
        )


class TightBinding(Calculator):
    """Free energy of the electrons, its forces and stress.

    Parameters
    ----------
    parameters : Parameters
    mesh : three int
        Monkhorst-Pack points, Γ for (1, 1, 1).
    width : float, eV
        k_B T of the electrons.
    """

    implemented_properties: ClassVar = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self, parameters: Parameters, mesh: Sequence[int] = (1, 1, 1), width: float = 0.05
    ):
        super().__init__()
        self.model, self.mesh, self.width = parameters, tuple(mesh), width / Rydberg

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        bonds = Bonds.of(self.atoms, self.model)
        energy, gradients = self._solve(bonds, len(self.atoms))
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, bonds.first, gradients)
        np.subtract.at(forces, bonds.second, gradients)
        self.results = {"energy": energy * Rydberg, "free_energy": energy * Rydberg}
        self.results["forces"] = forces * Rydberg / Bohr
        if self.atoms.pbc.all():
            virial = gradients.T @ bonds.vectors * Rydberg / self.atoms.get_volume()
            virial = (virial + virial.T) / 2
            self.results["stress"] = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def _solve(self, bonds: Bonds, n_atoms: int) -> tuple[float, Array]:
        """Energy, and its derivative in the vector of every bond."""
        points = k_points(self.mesh)
        solved = [
            eigh(*bonds.matrices(n_atoms, k), driver="gvd", check_finite=False) for k, _ in points
        ]
        weights = np.array([weight for _, weight in points])
        values = np.array([v for v, _ in solved])
        fermi = self._fermi_level(values, weights, self.model.electrons * n_atoms)
        filled = expit((fermi - values) / self.width)
        entropies = entr(filled) + entr(1 - filled)
        energy = 2 * weights @ (filled * values - self.width * entropies).sum(axis=1)
        density, energies = np.zeros((2, len(bonds.first), 4, 4))
        charges = np.zeros((n_atoms, 4))
        for (k, weight), own, vectors, share in zip(
            points, values, (v for _, v in solved), filled, strict=True
        ):
            kept = share > 1e-14
            columns = vectors[:, kept]
            matrix = 2 * weight * (columns * share[kept]) @ columns.conj().T
            density += bonds.of_pairs(matrix, k)
            charges += np.real(np.diagonal(matrix)).reshape(n_atoms, 4)
            columns = 2 * weight * (columns * (share * own)[kept]) @ columns.conj().T
            energies += bonds.of_pairs(columns, k)
        return float(energy), bonds.gradients(density, energies, charges)

    def _fermi_level(self, values: Array, weights: Array, electrons: int) -> float:
        def missing(level: float) -> float:
            filled = expit((level - values) / self.width).sum(axis=1)
            return float(2 * weights @ filled - electrons)

        return float(brentq(missing, values.min() - 1, values.max() + 1, xtol=1e-14))


def k_points(mesh: Sequence[int]) -> list[tuple[Array, float]]:
    """Monkhorst-Pack points, one of each pair ±k, in units of reciprocal vectors, and weights."""
    axes = [(2 * np.arange(n) - n + 1) / (2 * n) for n in mesh]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    kept = [k for k in points if tuple(k) >= tuple(-k)]
    return [(k, (1 if np.allclose(k, 0) else 2) / len(points)) for k in kept]


@dataclass(frozen=True)
class Bonds:
    """Directed pairs of atoms within the cutoff, and what the model makes of them.

    Attributes
    ----------
    first, second : ndarray of int, shape (n,)
    cells : ndarray, shape (n, 3)
        Cell of the second atom.
    vectors : ndarray, shape (n, 3), Bohr
    hopping, overlap : ndarray, shape (n, 4, 4), Rydberg and 1
    slopes : tuple of ndarray, shape (n, 4, 4, 3)
        Derivatives of both in the vectors.
    levels : ndarray, shape (N, 4), Rydberg
        On-site terms.
    level_slopes : ndarray, shape (N, 4)
        Their derivatives in the density.
    density_slopes : ndarray, shape (n, 3)
        Derivatives of the first atom's density in the vectors.
    """

    first: Array
    second: Array
    cells: Array
    vectors: Array
    hopping: Array
    overlap: Array
    slopes: tuple[Array, Array]
    levels: Array
    level_slopes: Array
    density_slopes: Array

    @classmethod
    def of(cls, atoms: Any, model: Parameters) -> Bonds:
        """Of a structure."""
        first, second, vectors, cells = neighbor_list("ijDS", atoms, model.cutoff * Bohr)
        vectors = vectors / Bohr
        r = np.linalg.norm(vectors, axis=1)
        unit = vectors / r[:, None]
        screen = expit(-((r - model.cutoff) / model.width + 5))
        screen_slope = -screen * (1 - screen) / model.width
        hopping = bond_integrals(model.hopping, np.zeros(4), r, screen, screen_slope)
        # δ of the overlap's limit at zero distance.
        overlap = bond_integrals(
            model.overlap, np.array([1.0, 0, 1, 1]), r, screen, screen_slope, cubic=True
        )
        decayed = np.exp(-model.decay * r)
        density = np.bincount(first, decayed * screen, minlength=len(atoms))
        density_slope = decayed * (screen_slope - model.decay * screen)
        a, b, c, d = model.onsite.T[:, None, :]
        rho = density[:, None]
        # An atom alone has no density.
        root = np.cbrt(np.where(rho > 0, rho, 1.0))
        levels = a + b * np.cbrt(rho) ** 2 + c * np.cbrt(rho) ** 4 + d * rho**2
        slopes = np.where(rho > 0, 2 / 3 * b / root, 0) + 4 / 3 * c * np.cbrt(rho) + 2 * d * rho
        blocks, derivatives = zip(
            *(slater_koster(v, s, unit, r) for v, s in (hopping, overlap)), strict=True
        )
        return cls(
            first,
            second,
            cells,
            vectors,
            *blocks,
            derivatives,
            levels[:, [0, 1, 1, 1]],
            slopes[:, [0, 1, 1, 1]],
            density_slope[:, None] * unit,
        )

    def _phases(self, k: Array) -> Array:
        return np.exp(2j * np.pi * self.cells @ k) if np.any(k) else np.ones(len(self.cells))

    def matrices(self, n_atoms: int, k: Array) -> tuple[Array, Array]:
        """Hamiltonian and overlap at k, shape (4N, 4N)."""
        phases = self._phases(k)[:, None, None]
        found = []
        for blocks, diagonal in (
            (self.hopping, self.levels.ravel()),
            (self.overlap, np.ones(4 * n_atoms)),
        ):
            matrix = np.zeros((n_atoms, n_atoms, 4, 4), dtype=phases.dtype)
            np.add.at(matrix, (self.first, self.second), blocks * phases)
            whole = matrix.transpose(0, 2, 1, 3).reshape(4 * n_atoms, 4 * n_atoms)
            found.append(whole + np.diag(diagonal))
        return found[0], found[1]

    def of_pairs(self, matrix: Array, k: Array) -> Array:
        """Blocks of a density matrix that every pair's block is traced with, shape (n, 4, 4)."""
        n_atoms = len(matrix) // 4
        blocks = matrix.reshape(n_atoms, 4, n_atoms, 4).transpose(0, 2, 1, 3)
        phases = self._phases(k)[:, None, None]
        return np.real(blocks[self.first, self.second].conj() * phases)

    def gradients(self, density: Array, energies: Array, charges: Array) -> Array:
        """Derivative of the energy in every vector, shape (n, 3), Rydberg/Bohr."""
        result: Array = np.einsum("pab,pabx->px", density, self.slopes[0])
        result -= np.einsum("pab,pabx->px", energies, self.slopes[1])
        in_density = (charges * self.level_slopes).sum(axis=1)
        return result + in_density[self.first][:, None] * self.density_slopes


def bond_integrals(
    coefficients: Array,
    limits: Array,
    r: Array,
    screen: Array,
    screen_slope: Array,
    *,
    cubic: bool = False,
) -> tuple[Array, Array]:
    """Bond integrals and their slopes, shape (4, n): [Ortner2022] (D.3), (D.4) where cubic."""
    first, second, third, rate = coefficients.T[:, :, None]
    if cubic:
        powers = limits[:, None] + (first + (second + third * r) * r) * r
        slopes = first + (2 * second + 3 * third * r) * r
    else:
        powers = first + (second + third * r) * r
        slopes = second + 2 * third * r
    decayed = np.exp(-rate * r)
    values = powers * decayed * screen
    return values, decayed * ((slopes - rate * powers) * screen + powers * screen_slope)


def slater_koster(values: Array, slopes: Array, unit: Array, r: Array) -> tuple[Array, Array]:
    """Blocks of s, px, py, pz, shape (n, 4, 4), and derivatives in the vector, (n, 4, 4, 3)."""
    n, identity = len(r), np.eye(3)
    # ∂û_a/∂x_b, and û_a û_b with its derivative.
    turning = (identity - unit[:, :, None] * unit[:, None, :]) / r[:, None, None]
    pairs = unit[:, :, None] * unit[:, None, :]
    turned = turning[:, :, None, :] * unit[:, None, :, None]
    turned = turned + turned.transpose(0, 2, 1, 3)
    blocks, derivatives = np.zeros((n, 4, 4)), np.zeros((n, 4, 4, 3))
    blocks[:, 0, 0] = values[SS]
    derivatives[:, 0, 0] = slopes[SS][:, None] * unit
    blocks[:, 0, 1:] = values[SP][:, None] * unit
    derivatives[:, 0, 1:] = slopes[SP][:, None, None] * pairs + values[SP][:, None, None] * turning
    blocks[:, 1:, 0], derivatives[:, 1:, 0] = -blocks[:, 0, 1:], -derivatives[:, 0, 1:]
    along, across = values[PP_SIGMA] - values[PP_PI], values[PP_PI]
    blocks[:, 1:, 1:] = along[:, None, None] * pairs + across[:, None, None] * identity
    along_slope = (slopes[PP_SIGMA] - slopes[PP_PI])[:, None, None] * pairs
    across_slope = slopes[PP_PI][:, None, None] * identity
    derivatives[:, 1:, 1:] = (along_slope + across_slope)[..., None] * unit[:, None, None, :]
    derivatives[:, 1:, 1:] += along[:, None, None, None] * turned
    return blocks, derivatives


def check_derivatives(calculator: TightBinding, amplitude: float = 0.1) -> tuple[float, float]:
    """Largest error of forces (eV/Å) and stress (eV/Å³) beside differences of the energy."""
    atoms = bulk("Si", a=5.43) * (2, 1, 1)
    atoms.rattle(amplitude, seed=1)
    atoms.calc = calculator
    forces, stress, step = atoms.get_forces(), atoms.get_stress(voigt=False), 1e-4
    worst = 0.0
    for atom, axis in ((0, 0), (1, 1), (3, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            moved.calc = calculator
            energies.append(moved.get_potential_energy())
        worst = max(worst, abs((energies[1] - energies[0]) / (2 * step) - forces[atom, axis]))
    strained = []
    for sign in (1, -1):
        moved, strain = atoms.copy(), np.eye(3)
        strain[0, 1] += sign * step
        strain[1, 1] += sign * step
        moved.set_cell(moved.cell.array @ strain.T, scale_atoms=True)
        moved.calc = calculator
        strained.append(moved.get_potential_energy())
    slope = (strained[0] - strained[1]) / (2 * step) / atoms.get_volume()
    return worst, abs(slope - stress[0, 1] - stress[1, 1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parameters", type=Path)
    parser.add_argument("--mesh", type=int, nargs=3, default=[6, 6, 6], help="of the bulk crystal")
    parser.add_argument("--cells", type=int, help="time a call of L x L x L primitive cells at Γ")
    options = parser.parse_args()
    model = Parameters.read(options.parameters)
    forces, stress = check_derivatives(TightBinding(model, (2, 2, 2)))
    print(f"derivatives beside differences: {forces:.1e} eV/Å, {stress:.1e} eV/Å³")

    def energy(a: float) -> float:
        atoms = bulk("Si", a=a)
        atoms.calc = TightBinding(model, options.mesh)
        return float(atoms.get_potential_energy())

    found = minimize_scalar(energy, bounds=(5.2, 5.7), method="bounded", options={"xatol": 1e-5})
    a, step = found.x, 0.02
    curvature = (energy(a + step) - 2 * found.fun + energy(a - step)) / step**2
    # V = a³/4, so that B = V d²E/dV² = 4/(9 a) d²E/da² at the minimum.
    modulus = 4 / (9 * a) * curvature * 160.21766
    print(f"diamond: a = {a:.4f} Å, B = {modulus:.1f} GPa, {found.fun / 2:.4f} eV per atom")
    if options.cells:
        atoms = bulk("Si", a=a) * ((options.cells,) * 3)
        atoms.rattle(0.01, seed=1)
        atoms.calc = TightBinding(model)
        began = perf_counter()
        largest = np.abs(atoms.get_forces()).max()
        print(
            f"{len(atoms)} atoms at Γ: {perf_counter() - began:.1f} s, |F| up to {largest:.3f} eV/Å"
        )


if __name__ == "__main__":
    main()
