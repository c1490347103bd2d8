"""P4 Figs. 8 and 9: two vacancies in silicon, the NRL tight-binding model through quippy.

    python benchmarks/papers/p4_silicon.py --parameters FILE.xml [--folder p4-silicon] [--plot FILE]

Needs quippy-ase and its parameter file of NRL tight binding for silicon. Cells are n x n x n
primitive cells, 2 x 2 x 2 k-points, electrons at 0.05 eV. The simulation cell has n = 6 in place
of the paper's 8000 atoms: one call of 432 atoms takes half a minute.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.optimize.precon import Exp, PreconLBFGS
from p4_training import displaced, kept, labelled

from ase_vibent.structures.relaxation import with_results

LATTICE = 5.4264  # Å, of the model
RADIUS = 0.01  # Å
FMAX = 1e-3  # eV/Å
#: Training cells: samples for training and test.
SAMPLES = {3: (200, 50), 4: (200, 50), 5: (100, 25)}
SIMULATION = 6


def tight_binding(parameters: Path) -> Any:
    """The reference, or a reason to stop."""
    try:
        from quippy.potential import Potential
    except ImportError:
        raise SystemExit("skipped: needs quippy (pip install quippy-ase)") from None
    if not parameters.is_file():
        raise SystemExit(f"skipped: no parameter file {parameters}")
    return Potential(
        "TB NRL-TB k_mesh={2 2 2}", param_filename=str(parameters), calc_args="fermi_T=0.05"
    )


def crystal(repeats: int) -> Atoms:
    return bulk("Si", a=LATTICE) * ((repeats,) * 3)


def with_vacancies(repeats: int, count: int) -> Atoms:
    """Vacancies at the origin and, if there are two, as far from it as the cell allows."""
    atoms = crystal(repeats)
    sites = [0]
    if count == 2:
        sites.append(int(np.argmax(atoms.get_distances(0, range(len(atoms)), mic=True))))
    del atoms[sites]
    return atoms


def relaxed(atoms: Atoms, calculator: Any) -> Atoms:
    """Minimum with energy and forces, preconditioned: a call of the reference is dear."""
    atoms = atoms.copy()
    atoms.calc = calculator
    optimizer = PreconLBFGS(atoms, precon=Exp(A=3, r_cut=4.5), logfile="-", use_armijo=True)
    if not optimizer.run(fmax=FMAX, steps=100):
        raise SystemExit(f"{atoms.symbols}: not relaxed to {FMAX} eV/Å")
    return with_results(atoms)


def label(folder: Path, parameters: Path) -> None:
    """All that the reference has to tell, into files."""
    calculator = tight_binding(parameters)
    for n, counts in SAMPLES.items():
        kept(folder / f"crystal-{n}.xyz", lambda n=n: _evaluated(crystal(n), calculator))
        vacancy = kept(
            folder / f"vacancy-{n}.xyz", lambda n=n: relaxed(with_vacancies(n, 1), calculator)
        )
        samples = displaced(vacancy, RADIUS, sum(counts), seed=n, axes=(0, 1, 2))
        labelled(folder / f"samples-{n}.xyz", samples, calculator)
    kept(folder / "crystal.xyz", lambda: _evaluated(crystal(SIMULATION), calculator))
    kept(folder / "two.xyz", lambda: relaxed(with_vacancies(SIMULATION, 2), calculator))


def _evaluated(atoms: Atoms, calculator: Any) -> Atoms:
    atoms.calc = calculator
    return with_results(atoms)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--parameters", type=Path, required=True, help="of quippy's NRL-TB")
    parser.add_argument("--folder", type=Path, default=Path("p4-silicon"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    label(options.folder, options.parameters)


if __name__ == "__main__":
    main()
