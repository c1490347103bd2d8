"""[Ortner2022] Figs. 3, 4, 6, 7 and Table 2: models of small planar cells, in large ones.

    python benchmarks/papers/ortner2022_triangular.py [--case vacancies] [--plot FILE]
    python benchmarks/papers/ortner2022_triangular.py --case interstitials [--plot FILE]

Triangular lattice of tungsten (EAM of Zhou et al.) in its own lattice constant r0; atoms stay in
the plane. Training cells of L x L with one vacancy (or, in the other case, half of them with one
interstitial), simulation cells of 60 x 60 with defects L r0 apart. Samples are displaced by up to
0.01 Å. What the folder has is not done again.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ortner2022_training import HEADER, Records, errors_in, fit, kept, labelled, line, report
from scipy.sparse.linalg import splu

from ase_vibent import SiteEnergyCalculator, dataset
from ase_vibent.analysis import TrainingCell, displaced_samples
from ase_vibent.potentials import with_results

sys.path.insert(0, str(Path(__file__).parents[1]))
import potentials

PLANE = (0, 1)
#: Lattice constant of least energy and height of the cell, Å.
SPACING, HEIGHT = 2.7271057, 20.0
#: Of the simulation cell.
WIDTH = 60
FMAX = 3e-6  # eV/Å
TRAIN, TEST = 200, 50
CUTOFF = 6.0  # Å
DEGREES = (2, 3, 4, 5, 6, 8, 10, 12, 14)
#: Sites of the simulation cells in units of L: vacancies, interstitials.
SIMULATIONS = {
    "vacancies": {
        "2 vacancies": ([(0, 0), (1, 0)], []),
        "3 vacancies": ([(0, 0), (1, 0), (0, 1)], []),
        "4 vacancies": ([(0, 0), (1, 0), (0, 1), (1, 1)], []),
    },
    "interstitials": {
        "1 interstitial, 1 vacancy": ([(0, 0)], [(1, 0)]),
        "1 interstitial, 3 vacancies": ([(0, 0), (0, 1), (1, 1)], [(1, 0)]),
    },
}
#: √W_E and √W_F of vacancies; W_E = 100 and W_F = 10 of interstitials are ten times theirs.
WEIGHTS = {
    "vacancies": {"total": 10.0, "gradient": 1.0},
    "interstitials": {"total": 10**0.5, "gradient": 1.0},
}
TRAINING = {"vacancies": ["vacancy"], "interstitials": ["interstitial", "vacancy"]}


def sheet(width: int) -> Atoms:
    """Perfect triangular lattice."""
    cell = [[SPACING, 0, 0], [SPACING / 2, SPACING * 3**0.5 / 2, 0], [0, 0, HEIGHT]]
    return Atoms("W", cell=cell, pbc=True) * (width, width, 1)


def with_defects(width: int, vacancies: Any, interstitials: Any) -> Atoms:
    """Sheet with defects on sites (i, j); interstitials in the middle of a triangle of atoms."""
    atoms = sheet(width)
    vectors = atoms.cell.array[:2] / width
    for site in interstitials:
        atoms += Atoms("W", positions=[(np.array(site) + 1 / 3) @ vectors])
    del atoms[[i * width + j for i, j in vacancies]]
    return atoms


def relax(atoms: Atoms) -> Atoms:
    """Minimum to 1e-6 eV/Å in the plane: Newton's method, whose matrix is kept while that helps."""
    atoms = atoms.copy()
    calculator = atoms.calc = potentials.tungsten()
    rows = np.arange(3 * len(atoms)).reshape(-1, 3)[:-1, list(PLANE)].ravel()
    last, factor = np.inf, None
    for _ in range(60):
        forces = atoms.get_forces().ravel()
        largest = np.abs(forces).max()
        if largest < 1e-6:
            return with_results(atoms)
        if factor is None or largest > 0.5 * last:
            hessian = calculator.get_hessian(atoms, "sparse").tocsr()
            factor = splu(hessian[rows][:, rows].tocsc())
        step = np.zeros(forces.shape)
        step[rows] = factor.solve(forces[rows])
        longest = np.abs(step).max()
        atoms.positions += (step * min(1, 0.1 * SPACING / longest)).reshape(-1, 3)
        last = largest
    raise SystemExit(f"{atoms.symbols}: not relaxed to 1e-6 eV/Å, {largest:.2g} left")


def crystal(width: int) -> Atoms:
    atoms = sheet(width)
    atoms.calc = potentials.tungsten()
    return with_results(atoms)


class Training:
    """Samples of all defects in cells of L x L, and what the reference says of them."""

    def __init__(self, case: str, width: int, radius: float, folder: Path):
        kinds = TRAINING[case]
        self.frames, self.cells = [crystal(width)], []
        for kind in kinds:
            sites = ([(0, 0)], []) if kind == "vacancy" else ([], [(0, 0)])
            start = with_defects(width, *sites)
            minimum = kept(folder / f"{kind}-{width}.xyz", lambda start=start: relax(start))
            samples = displaced_samples(minimum, radius, TRAIN + TEST, width, components=PLANE)
            samples = labelled(
                folder / f"{kind}-samples-{width}-{radius}.xyz", samples, potentials.tungsten()
            )
            chosen = samples[: TRAIN // len(kinds)]
            if kind == "interstitial":
                for frame in chosen:
                    frame.info[dataset.WEIGHT] = 10**0.5
            self.frames += chosen
            self.cells.append(
                TrainingCell(
                    minimum,
                    sheet(width),
                    samples[TRAIN : TRAIN + TEST // len(kinds)],
                    reference=potentials.tungsten(),
                    components=PLANE,
                )
            )

    def conditions(self, surrogate: Any) -> dict[str, float]:
        """Worst matching conditions of all cells."""
        found = [cell.matching_conditions(surrogate).__dict__ for cell in self.cells]
        return {name: max(one[name] for one in found) for name in found[0]}


def sweep(case: str, widths: list[int], degrees: list[int], radius: float, folder: Path) -> Records:
    """All fits of one case, and their errors in the simulation cells."""
    records = Records(folder / f"{case}-{radius}.jsonl")
    for width in widths:
        missing = [d for d in degrees if not records.found(L=width, degree=d)]
        if not missing:
            continue
        training = Training(case, width, radius, folder)
        large = kept(folder / "crystal.xyz", lambda: crystal(WIDTH))
        minima = {}
        for number, (name, (holes, extra)) in enumerate(SIMULATIONS[case].items()):
            sites = [[(width * i, width * j) for i, j in group] for group in (holes, extra)]
            minima[name] = kept(
                folder / f"{case}-{number}-{width}.xyz",
                lambda sites=sites: relax(with_defects(WIDTH, *sites)),
            )
        for degree in missing:
            model, seconds = fit(training.frames, "W", CUTOFF, degree, WEIGHTS[case])
            surrogate = SiteEnergyCalculator(model, extrapolation="ignore")
            row = {"L": width, "degree": degree, "functions": model.descriptor.n_features}
            row |= {"seconds": seconds, **training.conditions(surrogate)}
            for name, minimum in minima.items():
                row[name] = errors_in(minimum, large, surrogate, components=PLANE, fmax=FMAX)
            records.add(row)
            print(line(row), flush=True)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--case", choices=list(SIMULATIONS), default="vacancies")
    parser.add_argument("--folder", type=Path, default=Path("p4-triangular"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 5, 6, 7, 8, 10, 12])
    parser.add_argument("--degrees", type=int, nargs="+", default=list(DEGREES))
    parser.add_argument("--radius", type=float, default=0.01, help="of displacements, Å")
    parser.add_argument("--degree", type=int, default=6, help="of the fits over L in the figure")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(HEADER)
    records = sweep(options.case, options.sizes, options.degrees, options.radius, options.folder)
    theory = "geometry -1 and, at vanishing RMSE, -3; energy -2"
    names = list(SIMULATIONS[options.case])
    report(
        records.rows,
        names,
        theory,
        options.degree,
        options.plot,
        ((-1, -3), (-2,)),
        dimension=2,
        n_defects=2,
    )


if __name__ == "__main__":
    main()
