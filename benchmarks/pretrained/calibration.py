"""Whether the errors that a shipped model states hold: held-out cells, and larger ones.

    python benchmarks/pretrained/calibration.py si-sw --folder pretrained-si-sw [--plot FILE]

In the folder are the labels that the model's own script made; held out are the cells that it held
out. The same as `vibent evaluate MODEL LABELS --calibration --by kind` on these cells.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import split, without_soft_modes
from recipes import RECIPES

from ase_vibent import SiteModel, pretrained, read_labels
from ase_vibent.dataset import NAME
from ase_vibent.figures import calibration_plot
from ase_vibent.training.coverage import check_calibration


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--plot", help="figure (PNG, PDF, SVG)")
    options = parser.parse_args()
    recipe = RECIPES[options.name]
    fitted, held_out = split(without_soft_modes(recipe, read_labels(options.folder / "labels.xyz")))
    cells = [*(atoms for atoms in fitted if NAME in atoms.info), *held_out]
    larger = options.folder / "larger-labels.xyz"
    if larger.exists():
        cells += read_labels(larger)
    model = SiteModel.load(pretrained.path(recipe.name))
    found = check_calibration(model, cells, by="kind")
    for name, group in found.groups():
        shares = ", ".join(f"{group.coverage(level)[0]:.0%}" for level in (0.5, 0.8, 0.95))
        factor, low, high = group.factor()
        print(
            f"{name:<26}{len(group.errors):>5} cells: {shares} in 50, 80, 95 % intervals; "
            f"ratio {factor:.2g} ({low:.2g} to {high:.2g})"
        )
    print("\n".join([*found.remarks(), found.verdict()]))
    if options.plot:
        calibration_plot(found, options.plot)


if __name__ == "__main__":
    main()
