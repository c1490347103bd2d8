"""Stillinger-Weber silicon of any parameters: forces of LAMMPS, an analytic Hessian of our own."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list

sys.path.insert(0, str(Path(__file__).parents[1]))
from potentials import PeriodicCell

Array = np.ndarray

#: Parameters of Stillinger and Weber; ε and the three-body λ are those of Vink et al. (2001),
#: J. Non-Cryst. Solids 282, 248, for amorphous silicon.
VINK = (
    "Si Si Si 1.64833 2.0951 1.80 31.5 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n"
)


class AmorphousSilicon(PeriodicCell):
    """Of Vink et al., with a Hessian; writes its parameters where it is told."""

    def __init__(self, folder: Path):
        path = folder / "vink.sw"
        if not path.exists():
            path.write_text(VINK, encoding="utf-8")
        super().__init__("sw", f"{path} Si")

    def get_hessian(self, atoms: Atoms) -> Array:
        """Second derivatives of the energy, shape (3N, 3N), eV/Å²."""
        return hessian(atoms, VINK)


def hessian(atoms: Atoms, parameters: str) -> Array:
    """Second derivatives of the energy, shape (3N, 3N), eV/Å².

    Parameters
    ----------
    atoms : Atoms
    parameters : str
        Line of LAMMPS' files, with p = 4 and q = 0.
    """
    epsilon, sigma, a, strength, gamma, cosine, big_a, small_b = map(
        float, parameters.split()[3:11]
    )
    i, j, vectors = neighbour_list("ijD", atoms, a * sigma * (1 - 1e-6))
    blocks = np.zeros((len(atoms), len(atoms), 3, 3))
    distances = np.linalg.norm(vectors, axis=1)
    bonds = vectors / distances[:, None]
    x = distances / sigma
    tail = 1 / (x - a)
    # Every pair is met twice, hence the half.
    value = 0.5 * epsilon * big_a * np.exp(tail)
    power = small_b * x**-4 - 1
    slope = value * (-4 * small_b * x**-5 - power * tail**2) / sigma
    bend = value * (
        20 * small_b * x**-6 + 8 * small_b * x**-5 * tail**2 + power * (2 * tail**3 + tail**4)
    )
    pairs = slope[:, None, None] * _across(bonds, distances)
    pairs += (bend / sigma**2)[:, None, None] * _outer(bonds, bonds)
    for rows, columns, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
        np.add.at(blocks, (rows, columns), sign * pairs)
    corners = np.split(np.arange(len(i)), np.searchsorted(i, np.arange(1, len(atoms))))
    u, v = np.array([pair for corner in corners for pair in combinations(corner, 2)]).T
    decay = np.exp(gamma * tail)
    first = -gamma * tail**2 * decay / sigma
    second = (2 * gamma * tail**3 + gamma**2 * tail**4) * decay / sigma**2
    triplets = (
        epsilon
        * strength
        * _triplets(np.stack([decay, first, second]), bonds, distances, u, v, cosine)
    )
    # u = x_j - x_i and v = x_k - x_i.
    ends = ((i[u], (-1, -1)), (j[u], (1, 0)), (j[v], (0, 1)))
    for rows, left in ends:
        for columns, right in ends:
            part = np.einsum("p,q,tpqxy->txy", left, right, triplets)
            np.add.at(blocks, (rows, columns), part)
    return blocks.transpose(0, 2, 1, 3).reshape(3 * len(atoms), -1)


def _triplets(
    decays: Array, bonds: Array, distances: Array, u: Array, v: Array, cosine: float
) -> Array:
    """Second derivatives of f(|u|) f(|v|) (cos θ - cos θ_0)² in u and v, shape (n, 2, 2, 3, 3).

    `decays` are f and its two derivatives for every bond, shape (3, n_bonds).
    """
    (f, f1, f2), (g, g1, g2) = decays[:, u], decays[:, v]
    c = np.sum(bonds[u] * bonds[v], axis=1)
    h = c - cosine
    turns = [
        (bonds[other] - c[:, None] * bonds[own]) / distances[own][:, None]
        for own, other in ((u, v), (v, u))
    ]
    zero = np.zeros_like(turns[0])
    # Of |u|, |v| and cos θ, with respect to u and v.
    gradients = np.array([[bonds[u], zero], [zero, bonds[v]], turns])
    curvature = np.array(
        [
            [f2 * g * h**2, f1 * g1 * h**2, 2 * f1 * g * h],
            [f1 * g1 * h**2, f * g2 * h**2, 2 * f * g1 * h],
            [2 * f1 * g * h, 2 * f * g1 * h, 2 * f * g],
        ]
    )
    total = np.einsum("abt,aptx,bqty->tpqxy", curvature, gradients, gradients, optimize=True)
    force = (2 * f * g * h)[:, None, None]
    for p, (own, radial) in enumerate(((u, f1 * g * h**2), (v, f * g1 * h**2))):
        across = _across(bonds[own], distances[own])
        mixed = _outer(bonds[own], turns[p])
        bent = mixed + mixed.transpose(0, 2, 1) + c[:, None, None] * across
        total[:, p, p] += radial[:, None, None] * across
        total[:, p, p] -= force * bent / distances[own][:, None, None]
    cross = _across(bonds[v], distances[v]) - _outer(bonds[u], turns[1])
    cross = force * cross / distances[u][:, None, None]
    total[:, 0, 1] += cross
    total[:, 1, 0] += cross.transpose(0, 2, 1)
    return total


def _outer(one: Array, other: Array) -> Array:
    return one[:, :, None] * other[:, None, :]


def _across(bonds: Array, distances: Array) -> Array:
    """Second derivatives of a distance."""
    return (np.eye(3) - _outer(bonds, bonds)) / distances[:, None, None]
