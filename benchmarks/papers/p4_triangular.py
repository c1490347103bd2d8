"""P4 Figs. 3, 4, 6, 7 and Table 2: models of small cells of a planar lattice, in large ones.

    python benchmarks/papers/p4_triangular.py [--case vacancies] [--plot FILE]
    python benchmarks/papers/p4_triangular.py --case interstitials [--plot FILE]

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
from p4_training import Records, figure, fit, kept, labelled, slope
from scipy.sparse.linalg import splu

from ase_vibent import dataset
from ase_vibent.analysis import TrainingCell, defect_errors, displaced_samples
from ase_vibent.errors import VibentError
from ase_vibent.structures.relaxation import with_results

sys.path.insert(0, str(Path(__file__).parents[1]))
import potentials

PLANE = (0, 1)
#: Lattice constant of least energy and height of the cell, Å.
SPACING, HEIGHT = 2.7271057, 20.0
#: Of the simulation cell.
WIDTH = 60
RADIUS = 0.01  # Å
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


def relaxed(atoms: Atoms) -> Atoms:
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

    def __init__(self, case: str, width: int, folder: Path):
        kinds = TRAINING[case]
        self.frames, self.cells = [crystal(width)], []
        for kind in kinds:
            sites = ([(0, 0)], []) if kind == "vacancy" else ([], [(0, 0)])
            start = with_defects(width, *sites)
            minimum = kept(folder / f"{kind}-{width}.xyz", lambda start=start: relaxed(start))
            samples = displaced_samples(minimum, RADIUS, TRAIN + TEST, width, components=PLANE)
            samples = labelled(
                folder / f"{kind}-samples-{width}.xyz", samples, potentials.tungsten()
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


def sweep(case: str, widths: list[int], degrees: list[int], folder: Path) -> Records:
    """All fits of one case, and their errors in the simulation cells."""
    from ase_vibent import SiteEnergyCalculator

    records = Records(folder / f"{case}.jsonl")
    for width in widths:
        missing = [d for d in degrees if not records.found(L=width, degree=d)]
        if not missing:
            continue
        training = Training(case, width, folder)
        large = kept(folder / "crystal.xyz", lambda: crystal(WIDTH))
        minima = {}
        for number, (name, (holes, extra)) in enumerate(SIMULATIONS[case].items()):
            sites = [[(width * i, width * j) for i, j in group] for group in (holes, extra)]
            minima[name] = kept(
                folder / f"{case}-{number}-{width}.xyz",
                lambda sites=sites: relaxed(with_defects(WIDTH, *sites)),
            )
        for degree in missing:
            model, seconds = fit(training.frames, "W", CUTOFF, degree, WEIGHTS[case])
            surrogate = SiteEnergyCalculator(model, extrapolation="ignore")
            row = {"L": width, "degree": degree, "functions": model.descriptor.n_features}
            row |= {"seconds": seconds, **training.conditions(surrogate)}
            for name, minimum in minima.items():
                row[name] = errors_in(minimum, large, surrogate)
            records.add(row)
            print(_line(row), flush=True)
    return records


def errors_in(minimum: Atoms, large: Atoms, surrogate: Any) -> dict[str, float]:
    """Errors in a simulation cell; NaN where the surrogate loses the state."""
    try:
        errors = defect_errors(minimum, large, surrogate, components=PLANE, fmax=FMAX, steps=1500)
    except VibentError as error:
        print(f"  {error}")
        return dict.fromkeys(("geometry", "energy", "static_energy"), float("nan"))
    return {name: getattr(errors, name) for name in ("geometry", "energy", "static_energy")}


def _line(row: dict[str, Any]) -> str:
    """One row of Table 2 with the errors of the first simulation cell."""
    first = next(value for value in row.values() if isinstance(value, dict))
    return (
        f"{row['L']:>3} {row['functions']:>6} {1e3 * row['energy_rmse']:>9.2g} "
        f"{row['forces_rmse']:>9.2g} {row['forces']:>9.2g} "
        f"{100 * row['relative_force_constants']:>8.2g} {100 * row['relative_homogeneous']:>8.2g} "
        f"{row['seconds']:>6.1f} {first['geometry']:>9.2g} {first['energy']:>11.2g}"
    )


HEADER = (
    f"{'L':>3} {'#B':>6} {'E (meV)':>9} {'F (eV/Å)':>9} {'ε^F':>9} {'ε^FC (%)':>8} {'hom (%)':>8} "
    f"{'T (s)':>6} {'geom. (Å)':>9} {'energy (eV)':>11}"
)


def report(case: str, rows: list[dict[str, Any]], degree: int, plot: Path | None) -> None:
    """Table 2, slopes in RMSE and in L, and the figure."""
    rows = sorted(rows, key=lambda row: (row["L"], row["functions"]))
    print(HEADER)
    for row in rows:
        print(_line(row))
    names = list(SIMULATIONS[case])
    print(f"slopes in the RMSE of forces, {names[0]} (P4: 1 and 2)")
    for width in sorted({row["L"] for row in rows}):
        own = [row for row in rows if row["L"] == width]
        print(f"  L = {width}: {_slopes(own, names[0], 'forces_rmse')}")
    print("slopes in L with one basis (P4: geometry -1 and, at vanishing RMSE, -3; energy -2)")
    for functions in sorted({row["functions"] for row in rows}):
        own = [row for row in rows if row["functions"] == functions]
        rmse = [row["forces_rmse"] for row in own]
        print(f"  {functions} functions, RMSE {min(rmse):.2g} to {max(rmse):.2g} eV/Å")
        for name in names:
            print(f"    {name}: {_slopes(own, name, 'L')}")
    if plot:
        flat = [
            {"L": r["L"], "degree": r["degree"], "simulation": name, **r[name]}
            | {"forces_rmse": r["forces_rmse"]}
            for r in rows
            for name in names
        ]
        level = [row for row in flat if row["degree"] == degree]
        figure([f for f in flat if f["simulation"] == names[0]], level, plot, ((-1, -3), (-2,)))


def _slopes(rows: list[dict[str, Any]], name: str, axis: str) -> str:
    """Exponents of both errors where the surrogate kept the state."""
    known = [row for row in rows if np.isfinite(row[name]["geometry"])]
    x = [row[axis] for row in known]
    slopes = (slope(x, [row[name][q] for row in known]) for q in ("geometry", "energy"))
    return "geometry {}, energy {}".format(*slopes) + f" ({len(known)} fits)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--case", choices=list(SIMULATIONS), default="vacancies")
    parser.add_argument("--folder", type=Path, default=Path("p4-triangular"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 5, 6, 7, 8, 10, 12])
    parser.add_argument("--degrees", type=int, nargs="+", default=list(DEGREES))
    parser.add_argument("--degree", type=int, default=6, help="of the fits over L in the figure")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(HEADER)
    records = sweep(options.case, options.sizes, options.degrees, options.folder)
    report(options.case, records.rows, options.degree, options.plot)


if __name__ == "__main__":
    main()
