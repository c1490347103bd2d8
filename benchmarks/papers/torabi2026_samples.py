"""[Torabi2026] Remark 23: errors of fitted site entropies against the number of environments.

    python benchmarks/papers/torabi2026_samples.py [--folder p1-multilattice]

(60) bounds the error by a part of the cutoff, a part of the basis and one of the number M of
environments, √(p/M) for p functions. Measured are errors on cells that are held out, as (65) fits
to M sites of silicon: what is left at large M, and the power with which the rest falls. Labels are
those of torabi2026_multilattice.py, Fig. 4.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.optimize import curve_fit
from torabi2026_multilattice import SILICON, design, predicted, silicon_cells

from ase_vibent import ACE

Array = np.ndarray

#: Cells in training, of 64 sites each, cells that judge, and random draws of every number.
CELLS, JUDGES, DRAWS = (2, 3, 5, 8, 12, 18, 28, 44), 16, 5
#: Cutoffs (Å) and degrees.
CUTOFFS, DEGREES = (4.0, 5.0, 6.0), (8, 10, 12)


def learning_curve(descriptor: ACE, frames: Sequence[Atoms]) -> Array:
    """Mean squared error for every number of cells, shape (n_sizes,), k_B²."""
    features, kinds, values, configurations = design(descriptor, frames)
    judges = configurations >= configurations.max() + 1 - JUDGES
    errors = np.zeros((len(CELLS), DRAWS))
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(configurations[~judges].max() + 1)
        for row, count in enumerate(CELLS):
            own = judges | np.isin(configurations, order[:count])
            held = judges[own]
            found = predicted(features[own], kinds[own], values[own], held)
            errors[row, draw] = np.mean((found - values[own][held]) ** 2)
    return errors.mean(axis=1)


def limit_and_power(sizes: Array, errors: Array) -> tuple[float, float, float]:
    """e, c and its error of squared errors e + b M^-c."""

    def model(sizes: Array, log_limit: float, log_scale: float, power: float) -> Array:
        return np.log(np.exp(log_limit) + np.exp(log_scale) * sizes**-power)

    start = (np.log(errors[-1]) - 0.5, np.log(errors[0] * sizes[0]), 1.0)
    (log_limit, _, power), covariance = curve_fit(
        model, sizes, np.log(errors), start, maxfev=20_000
    )
    return float(np.exp(log_limit)), float(power), float(np.sqrt(covariance[2, 2]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p1-multilattice"))
    parser.add_argument("-j", type=int, default=1, help="processes for labelling")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    frames = silicon_cells(2, 60, options.folder, options.j)
    sizes = 64 * np.array(CELLS)
    print("RMSE (k_B) on held-out cells by the number of sites in training; limit; power of M")
    print(f"{'cutoff':>6} {'p':>5}" + "".join(f"{size:>10}" for size in sizes))
    for cutoff in CUTOFFS:
        for degree in DEGREES:
            descriptor = ACE(["Si"], **(SILICON | {"cutoff": cutoff, "degree": degree}))
            errors = learning_curve(descriptor, frames)
            limit, power, error = limit_and_power(sizes, errors)
            print(
                f"{cutoff:>6} {descriptor.n_features:>5}"
                + "".join(f"{rmse:>10.2e}" for rmse in np.sqrt(errors))
                + f"   {np.sqrt(limit):.2e}   {power:.2f} ± {error:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
