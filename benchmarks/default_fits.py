"""The descriptor that `train` takes by itself, beside others chosen by hand, on held-out cells.

    python benchmarks/default_fits.py si-sw cu-emt … --folder FOLDER
    python benchmarks/default_fits.py --labels FILE … [--labels FILE …]

FOLDER holds what benchmarks/pretrained/*.py label: pretrained-si-sw/labels.xyz and so on. Cells are
split as there. FILES are other labels that belong together, such as those of benchmarks/papers/: a
fifth of the cells, those of one `origin` together, is held out at random. The training cells
choose; all errors are those of the held-out ones, which took no part. Gradients of so many cells
only (`--cells`), to be quick: the same for all descriptors.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

sys.path.append(str(Path(__file__).parent / "pretrained"))
from common import Recipe, split, without_soft_modes
from recipes import RECIPES

from ase_vibent.cli.shared.descriptors import descriptor_text
from ase_vibent.dataset import NAME, read_labels
from ase_vibent.descriptors import ACE, Descriptor
from ase_vibent.quantities import DEFAULT_WEIGHTS
from ase_vibent.training.automatic import VALUE_WEIGHTS
from ase_vibent.training.cross_validation import cross_validated_errors, held_out_errors
from ase_vibent.training.descriptor_choice import DEGREES, choose_descriptor, suited_ace
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.rows import gather_rows, split_folds
from ase_vibent.training.training_set import TrainingSet

#: Fold of the held-out cells.
JUDGE = 99


def cells(recipe: Recipe, folder: Path) -> tuple[list[Atoms], list[Atoms]]:
    """Training and held-out cells of a shipped model."""
    frames = read_labels(folder / f"pretrained-{recipe.name}" / "labels.xyz")
    return split(without_soft_modes(recipe, frames))


def cells_of_files(paths: Sequence[Path], share: float = 0.2) -> tuple[list[Atoms], list[Atoms]]:
    """Training cells, perfect crystals among them, and a part that is held out at random."""
    frames = [atoms for path in paths for atoms in read_labels(path)]
    origins = [str(atoms.info.get("origin", number)) for number, atoms in enumerate(frames)]
    others = sorted({o for o, atoms in zip(origins, frames, strict=True) if NAME not in atoms.info})
    drawn = np.random.default_rng(0).permutation(len(others))[: round(share * len(others))]
    held = {others[k] for k in drawn}
    parts: tuple[list[Atoms], list[Atoms]] = ([], [])
    for origin, atoms in zip(origins, frames, strict=True):
        parts[NAME not in atoms.info and origin in held].append(atoms)
    return parts


def sets(fitted: list[Atoms], held_out: list[Atoms], most: int) -> tuple[TrainingSet, TrainingSet]:
    """Training cells; and these with the held-out ones."""
    own, both = TrainingSet.of(fitted, held_out=held_out), TrainingSet.of([*fitted, *held_out])
    return thinned(own, most), thinned(both, most, len(fitted))


def thinned(data: TrainingSet, most: int, first_held: int | None = None) -> TrainingSet:
    """Gradients of so many of the training cells, at random, and of as many held-out ones."""
    n = len(data.frames) if first_held is None else first_held
    targets = list(data.targets)
    for part in (range(n), range(n, len(targets))):
        known = [k for k in part if targets[k].gradient is not None]
        for k in np.random.default_rng(0).permutation(known)[most:]:
            targets[k] = replace(targets[k], gradient=None)
    return replace(data, targets=targets)


def errors(descriptor: Descriptor, both: TrainingSet, folds: Sequence[int]) -> dict[str, float]:
    """Held-out errors with weights of values chosen by cross-validation, as `train` does."""
    rows = gather_rows(FrameFeatures(descriptor), both, folds=folds)
    judged = rows.r_factors.pop(JUDGE)
    weights = [DEFAULT_WEIGHTS | {"total": weight} for weight in VALUE_WEIGHTS]
    scores = [cross_validated_errors(rows, own, "ridge", {}).score for own in weights]
    fitted = rows.folds
    rows.r_factors[JUDGE] = judged
    best = weights[int(np.argmin(scores))]
    return held_out_errors(rows, fitted, [JUDGE], best, "ridge", {}).rmse


def by_hand(base: ACE, size: float) -> dict[str, Descriptor]:
    """What one would try by hand."""
    found: dict[str, Descriptor] = {}
    for order, l_weight, factor in (
        (3, 0.75, 1.0), (3, 0.5, 1.0), (3, 1.0, 1.0), (3, 1.5, 1.0), (2, 0.5, 1.0), (2, 1.0, 1.0),
        (3, 0.75, 0.85), (3, 0.75, 1.2),
    ):  # fmt: skip
        own = replace(base, order=order, l_weight=l_weight, cutoff=round(factor * base.cutoff, 2))
        for degree in DEGREES:
            larger = replace(own, degree=degree)
            if larger.n_features * len(base.species) > size:
                break
            own = larger
        found[f"by hand: ACE({order}, l {l_weight}, cutoff {own.cutoff})"] = own
    found["by hand: ACE(1)"] = replace(base, order=1, degree=64)
    return found


def compare(
    name: str, fitted: list[Atoms], held_out: list[Atoms], n_gradients: int, size: float
) -> None:
    """Errors of what is chosen and of what is made by hand, printed."""
    own, both = sets(fitted, held_out, n_gradients)
    folds = split_folds(own.frames) + [JUDGE] * len(held_out)
    print(f"{name}: {len(fitted)} cells fitted, {len(held_out)} judge", flush=True)
    start = time.process_time()
    choice = choose_descriptor(own)
    for trial in choice.trials:
        values = ", ".join(f"{k} {v:.3g}" for k, v in trial.rmse.items())
        print(f"  tried: {descriptor_text(trial.descriptor)}, {trial.n_features}: {values}")
    print(f"  chosen in {time.process_time() - start:.0f} s of CPU", flush=True)
    table = {"by itself": choice.descriptor} | by_hand(suited_ace(own), size)
    for title, descriptor in table.items():
        found = errors(descriptor, both, folds)
        values = ", ".join(f"{k} {v:.3g}" for k, v in found.items())
        print(f"  {title}: {descriptor.n_features} functions: {values}", flush=True)
    print(f"  {descriptor_text(choice.descriptor.to_dict())}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    # Until Python 3.12, argparse looks for the empty default among the choices.
    parser.add_argument("recipes", nargs="*", choices=[*RECIPES, []])
    parser.add_argument("--labels", type=Path, nargs="+", action="append", default=[])
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--cells", type=int, default=15, help="with gradients; default 15")
    parser.add_argument("--size", type=float, default=150, help="of those by hand; default 150")
    options = parser.parse_args()
    for name in options.recipes:
        compare(name, *cells(RECIPES[name], options.folder), options.cells, options.size)
    for paths in options.labels:
        title = f"{paths[0].name} and {len(paths) - 1} others"
        compare(title, *cells_of_files(paths), options.cells, options.size)


if __name__ == "__main__":
    main()
