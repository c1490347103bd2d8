"""P3 Figs. 3 to 5: attempt frequencies and barriers of events in amorphous silicon.

    python benchmarks/papers/p3_amorphous.py [--folder p3-amorphous] [--states 6] [--searches 400]

Modified Stillinger-Weber potential of Vink et al. (2001), 216 atoms in place of 4096, dimers in
place of ART nouveau.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from potentials import PeriodicCell

from ase_vibent.structures import relaxed

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
#: eV/Å.
FMAX = 1e-4


class AmorphousSilicon(PeriodicCell):
    """Of Vink et al.; writes its parameters where it is told."""

    def __init__(self, folder: Path):
        path = folder / "vink.sw"
        path.write_text(VINK)
        super().__init__("sw", f"{path} Si")


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p3-amorphous"))
    parser.add_argument("--states", type=int, default=6)
    parser.add_argument("--atoms", type=int, default=216)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    states = inherent_states(options.folder.absolute(), options.states, options.atoms)
    for k, s in enumerate(states):
        from matscipy.neighbours import neighbour_list

        co = np.bincount(neighbour_list("i", s, 2.9), minlength=len(s))
        print(k, s.get_potential_energy() / len(s), np.bincount(co))


if __name__ == "__main__":
    main()
