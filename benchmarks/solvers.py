"""Fits to a stream of rows that never exist at once: time, peak memory and accuracy.

    python benchmarks/solvers.py [--rows 14e6] [--columns 700] [--threads 2]

Columns are sums of ever smaller random numbers, so that neighbours are almost the same; their
coefficients are known. Error: of the values without noise, over the noise, which is √(columns /
rows) for an estimator that has no other. Then 10⁵ rows of 100 columns, better conditioned, beside
scikit-learn on all rows, in seconds of processors: the largest difference of coefficients over the
largest coefficient.
"""

from __future__ import annotations

import argparse
import os
import resource

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--rows", type=float, default=14e6)
parser.add_argument("--columns", type=int, default=700)
parser.add_argument("--block", type=int, default=20_000, help="rows generated at once")
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(options.threads)

# Numerical libraries read their thread counts when they are loaded.
from collections.abc import Iterator  # noqa: E402
from time import perf_counter, process_time  # noqa: E402

import numpy as np  # noqa: E402
from sklearn.linear_model import ARDRegression, BayesianRidge, Ridge  # noqa: E402

from ase_vibent.regression.r_factor import RFactor  # noqa: E402
from ase_vibent.regression.solvers import SOLVERS, solve  # noqa: E402

NOISE = 1e-3
RUNS = {
    "ridge, fixed": ("ridge", {"strength": 1.0}),
    "ridge, evidence": ("ridge", {}),
    "ridge, GCV": ("ridge", {"strength": "gcv"}),
    **{name: (name, {}) for name in SOLVERS if name != "ridge"},
    "ard, λ < 1e10": ("ard", {"threshold_lambda": 1e10}),
}


class Stream:
    """Blocks of random rows with known coefficients."""

    def __init__(self, n_rows: int, n_columns: int, ratio: float = 1e8):
        self.n_rows, self.n_columns = n_rows, n_columns
        self.random = np.random.default_rng(0)
        self.truth = self.random.normal(size=n_columns)
        self.increments = np.geomspace(1, 1 / ratio, n_columns)
        self.seconds = np.zeros(2)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, self.n_rows, options.block):
            began = clock()
            n = min(options.block, self.n_rows - start)
            matrix = self.random.random((n, self.n_columns), dtype=np.float32) - 0.5
            matrix = np.cumsum(matrix * self.increments, axis=1)
            values = matrix @ self.truth + NOISE * self.random.normal(size=n)
            self.seconds += clock() - began
            yield matrix, values


def clock() -> np.ndarray:
    """Seconds by the clock, and those of all processors in this process."""
    return np.array([perf_counter(), process_time()])


def peak() -> float:
    """Largest memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def stream() -> None:
    """All solvers on a stream."""
    rows, start = Stream(int(options.rows), options.columns), peak()
    began = clock()
    r_factor = RFactor.from_blocks(rows)
    singular = np.linalg.svd(r_factor.matrix / r_factor.column_rms(), compute_uv=False)
    seconds = clock() - began
    print(f"{rows.n_rows:,} rows of {rows.n_columns} columns, {options.threads} threads")
    print(f"start: {start:.2f} GiB; condition of scaled columns: {singular[0] / singular[-1]:.1e}")
    for what, each in (("made", rows.seconds), ("reduced", seconds - rows.seconds)):
        print(f"rows {what} in {each[0]:.1f} s, {each[1]:.1f} s of processors")
    print(f"{'solver':<16} {'seconds':>8} {'processors':>10} {'peak, GiB':>10} {'error':>9}  found")
    without_noise = r_factor.matrix @ rows.truth
    for name, (solver, settings) in RUNS.items():
        began = clock()
        solution = solve(r_factor, solver, scale=r_factor.column_rms(), **settings)
        seconds = clock() - began
        difference = r_factor.matrix @ solution.coefficients - without_noise
        error = np.linalg.norm(difference) / np.sqrt(rows.n_rows) / NOISE
        found = ", ".join(f"{key} {value:.3g}" for key, value in solution.details.items())
        found += f", noise {solution.noise:.3e}"
        print(
            f"{name:<16} {seconds[0]:8.1f} {seconds[1]:10.1f} {peak():10.2f} {error:9.2e}  {found}",
            flush=True,
        )
    print(f"{'√(columns/rows)':<47} {np.sqrt(rows.n_columns / rows.n_rows):9.2e}")


def compare() -> None:
    """Scikit-learn on all rows at once."""
    rows = Stream(100_000, 100, ratio=10)
    blocks = list(rows)
    matrix = np.concatenate([block for block, _ in blocks])
    values = np.concatenate([block for _, block in blocks])
    scale = np.sqrt(np.mean(matrix**2, axis=0))
    began = clock()
    r_factor = RFactor.from_blocks(blocks)
    seconds = clock() - began
    condition = np.linalg.cond(r_factor.matrix / scale)
    print(f"\n10⁵ rows of 100 columns of condition {condition:.0e}, reduced in {seconds[0]:.2f} s")
    print(f"{'solver':<16} {'seconds':>8} {'scikit-learn':>13} {'difference':>11}")
    for name, theirs in (
        ("ridge, fixed", Ridge(alpha=1.0, fit_intercept=False, solver="svd")),
        ("bayesian-ridge", BayesianRidge(fit_intercept=False)),
        ("ard", ARDRegression(fit_intercept=False)),
    ):
        solver, settings = RUNS[name]
        began = clock()
        ours = solve(r_factor, solver, scale=scale, **settings).coefficients * scale
        middle = clock()
        expected = theirs.fit(matrix / scale, values).coef_
        end = clock()
        difference = np.abs(ours - expected).max() / np.abs(expected).max()
        print(f"{name:<16} {(middle - began)[1]:8.2f} {(end - middle)[1]:13.2f} {difference:11.1e}")


stream()
compare()
