"""P3 Figs. 3 to 5: attempt frequencies and barriers of events in amorphous silicon.

    python benchmarks/papers/p3_amorphous.py [--folder p3-amorphous] [--states 6] [--searches 400]

Modified Stillinger-Weber potential of Vink et al. (2001), 216 atoms in place of 4096, dimers in
place of ART nouveau.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from potentials import PeriodicCell

from ase_vibent.structures import relaxed
from ase_vibent.thermo.event_search import find_events

Array = np.ndarray

#: Parameters of Stillinger and Weber; ε and the three-body λ are those of Vink et al.,
#: J. Non-Cryst. Solids 282, 248 (2001).
VINK = (
    "Si Si Si 1.64833 2.0951 1.80 31.5 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n"
)
#: g/cm³, u in g, K; durations in steps of 1 fs.
DENSITY, DALTON = 2.192, 1.66053907e-24
HOT, COLD = 2300.0, 700.0
MELTING, COOLING, ANNEALING = 50_000, 150_000, 100_000
EVENTS = "events.xyz"
#: eV/Å.
FMAX = 1e-4


class AmorphousSilicon(PeriodicCell):
    """Of Vink et al.; writes its parameters where it is told."""

    def __init__(self, folder: Path):
        path = folder / "vink.sw"
        path.write_text(VINK)
        super().__init__("sw", f"{path} Si")

    def get_hessian(self, atoms: Atoms) -> Array:
        """Second derivatives of the energy, shape (3N, 3N), eV/Å²."""
        return stillinger_weber_hessian(atoms)


def stillinger_weber_hessian(atoms: Atoms) -> Array:
    """Hessian of pairs and triplets, shape (3N, 3N), eV/Å²; LAMMPS has none."""
    epsilon, sigma, a, strength, gamma, cosine, big_a, b = map(float, VINK.split()[3:11])
    i, vectors, j = neighbour_list("iDj", atoms, a * sigma * (1 - 1e-6))
    blocks = np.zeros((len(atoms), len(atoms), 3, 3))

    def add(rows: Array, columns: Array, values: Array) -> None:
        np.add.at(blocks, (rows, columns), values)

    r = np.linalg.norm(vectors, axis=1)
    unit = vectors / r[:, None]
    across = (np.eye(3) - unit[:, :, None] * unit[:, None, :]) / r[:, None, None]
    along = unit[:, :, None] * unit[:, None, :]
    # Pairs: every one is met twice, hence the half.
    x, tail = r / sigma, 1 / (r / sigma - a)
    value = 0.5 * epsilon * big_a * np.exp(tail)
    power = b * x**-4 - 1
    first = value * (-4 * b * x**-5 - power * tail**2) / sigma
    second = (
        value
        * (20 * b * x**-6 + 8 * b * x**-5 * tail**2 + power * (2 * tail**3 + tail**4))
        / sigma**2
    )
    pair = first[:, None, None] * across + second[:, None, None] * along
    for rows, columns, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
        add(rows, columns, sign * pair)
    # Triplets: f(r_u) f(r_v) (c - c_0)² around atom i, in the coordinates u and v.
    u, v = (
        np.array(column)
        for column in zip(
            *(
                (first, second)
                for centre in range(len(atoms))
                for first, second in combinations(np.flatnonzero(i == centre), 2)
            ),
            strict=True,
        )
    )
    decay = np.exp(gamma * tail)
    slope = -gamma * tail**2 * decay / sigma
    bend = (2 * gamma * tail**3 + gamma**2 * tail**4) * decay / sigma**2
    c = np.sum(unit[u] * unit[v], axis=1)
    turn = c - cosine
    force = epsilon * strength
    # Gradients of r_u, r_v and c, each with respect to u and v.
    zero = np.zeros_like(unit[u])
    turn_u = (unit[v] - c[:, None] * unit[u]) / r[u][:, None]
    turn_v = (unit[u] - c[:, None] * unit[v]) / r[v][:, None]
    gradients = np.stack(
        [
            np.stack([unit[u], zero], axis=1),
            np.stack([zero, unit[v]], axis=1),
            np.stack([turn_u, turn_v], axis=1),
        ],
        axis=1,
    )
    first_orders = force * np.stack(
        [
            slope[u] * decay[v] * turn**2,
            decay[u] * slope[v] * turn**2,
            decay[u] * decay[v] * 2 * turn,
        ],
        axis=1,
    )
    second_orders = np.empty((len(u), 3, 3))
    second_orders[:, 0, 0] = bend[u] * decay[v] * turn**2
    second_orders[:, 1, 1] = decay[u] * bend[v] * turn**2
    second_orders[:, 2, 2] = 2 * decay[u] * decay[v]
    second_orders[:, 0, 1] = second_orders[:, 1, 0] = slope[u] * slope[v] * turn**2
    second_orders[:, 0, 2] = second_orders[:, 2, 0] = slope[u] * decay[v] * 2 * turn
    second_orders[:, 1, 2] = second_orders[:, 2, 1] = decay[u] * slope[v] * 2 * turn
    local = np.einsum("tab,tapx,tbqy->tpqxy", force * second_orders, gradients, gradients)
    local[:, 0, 0] += first_orders[:, 0, None, None] * across[u]
    local[:, 1, 1] += first_orders[:, 1, None, None] * across[v]
    mixed = unit[u][:, :, None] * turn_u[:, None, :]
    own = -(mixed + mixed.transpose(0, 2, 1) + c[:, None, None] * across[u]) / r[u][:, None, None]
    local[:, 0, 0] += first_orders[:, 2, None, None] * own
    mixed = unit[v][:, :, None] * turn_v[:, None, :]
    own = -(mixed + mixed.transpose(0, 2, 1) + c[:, None, None] * across[v]) / r[v][:, None, None]
    local[:, 1, 1] += first_orders[:, 2, None, None] * own
    cross = (across[v] - unit[u][:, :, None] * turn_v[:, None, :]) / r[u][:, None, None]
    local[:, 0, 1] += first_orders[:, 2, None, None] * cross
    local[:, 1, 0] += first_orders[:, 2, None, None] * cross.transpose(0, 2, 1)
    ends = (i[u], j[u], j[v])
    # From (u, v) to atoms: u = x_j - x_i, v = x_k - x_i.
    signs = np.array([[-1, 1, 0], [-1, 0, 1]])
    for one in range(3):
        for other in range(3):
            weights = signs[:, one][:, None] * signs[:, other][None, :]
            add(ends[one], ends[other], np.einsum("pq,tpqxy->txy", weights, local))
    return blocks.transpose(0, 2, 1, 3).reshape(3 * len(atoms), -1)


def inherent_state(calculator: AmorphousSilicon, n_atoms: int, seed: int) -> Atoms:
    """Minimum after a melt at 2300 K, cooled to and kept at 700 K, at constant volume."""
    rng = np.random.default_rng(seed)
    silicon = Atoms("Si")
    volume = n_atoms * silicon.get_masses()[0] * DALTON * 1e24 / DENSITY
    width = volume ** (1 / 3)
    positions = rng.uniform(size=(n_atoms, 3)) * width
    atoms = Atoms(f"Si{n_atoms}", positions, cell=[width] * 3, pbc=True)
    dynamics = calculator.start(atoms)
    number = seed + 1
    for command in (
        "minimize 0 1e-2 200 2000",  # random atoms overlap
        f"velocity all create {2 * HOT} {number}",
        f"fix 1 all nvt temp {2 * HOT} {HOT} 0.1",
        f"run {MELTING // 2}",
        f"fix 1 all nvt temp {HOT} {HOT} 0.1",
        f"run {MELTING // 2}",
        f"fix 1 all nvt temp {HOT} {COLD} 0.1",
        f"run {COOLING}",
        f"fix 1 all nvt temp {COLD} {COLD} 0.1",
        f"run {ANNEALING}",
    ):
        dynamics.command(command)
    places = np.ctypeslib.as_array(dynamics.gather_atoms("x", 1, 3)).reshape(-1, 3)
    atoms.set_positions(places.copy())
    return relaxed(atoms, calculator, fmax=FMAX, steps=20_000)


def inherent_states(folder: Path, n_states: int, n_atoms: int) -> list[Atoms]:
    """As many as wanted, kept in files."""
    states = []
    for seed in tqdm(range(n_states), desc="inherent states", disable=None):
        path = folder / f"state-{n_atoms}-{seed}.traj"
        if not path.exists():
            ase.io.write(path, inherent_state(AmorphousSilicon(folder), n_atoms, seed))
        states.append(ase.io.read(path))
    return states


def search(folder: Path, states: Sequence[Atoms], searches: int, n_jobs: int) -> None:
    """Events from all states, into a file; what is there is not done again."""
    summary = find_events(
        states,
        partial(AmorphousSilicon, folder),
        folder / EVENTS,
        searches=searches,
        calculator_name="sw-vink",
        connected=False,
        n_jobs=n_jobs,
        progress=lambda items, total: tqdm(items, total=total, unit="search", disable=None),
    )
    print(f"{dict(summary.outcomes)}, {len(summary.failed)} failed {summary.failed[:1]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p3-amorphous"))
    parser.add_argument("--states", type=int, default=5)
    parser.add_argument("--atoms", type=int, default=216)
    parser.add_argument("--searches", type=int, default=200, help="from every state")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.absolute()
    states = inherent_states(folder, options.states, options.atoms)
    search(folder, states, options.searches, options.jobs)


if __name__ == "__main__":
    main()
