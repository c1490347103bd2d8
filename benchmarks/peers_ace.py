"""Other evaluators of ACE for `peers.py`: ace-jax, and PACE of LAMMPS, on models exported to .yace.

ace-jax 0.4 reads no radial functions of ACE.jl, which such files have: its calculator gets the same
file with each of them as a table, and its compiled kernel the same products of real channels.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list

from ase_vibent import ACE, SiteModel
from ase_vibent.export import write_yace
from ase_vibent.export.pair_table import radial_functions

#: Intervals of ace-jax' tables: of the calculator, so that it is a judge; of the kernel, its own.
BINS, KERNEL_BINS = 20_000, 4_000
DRIVER = Path(__file__).with_name("pace.cpp")


class Evaluator(NamedTuple):
    """Another code: a call that takes its time, and energy and forces of it."""

    name: str
    call: Callable[[], object]
    results: Callable[[], tuple[float, np.ndarray]]


def random_potential(ace: ACE) -> SiteModel:
    """Energies of some eV, of one element."""
    shape = (1, ace.n_features)
    weights = 1e-3 * np.random.default_rng(0).normal(size=shape)
    return SiteModel(ace, np.zeros(1), weights, np.zeros(shape), np.ones(shape), "energy")


def ace_jax_calculator(model: SiteModel, atoms: Atoms) -> Evaluator:
    """Its ASE calculator, with a new neighbour list at every call."""
    import jax
    from ace_jax import ACECalculator
    from ace_jax.eval.pace_io import dump_tree, load_tree
    from ace_jax.eval.pace_model import load_yace

    jax.config.update("jax_enable_x64", True)
    ace: Any = model.descriptor
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.yace"
        write_yace(model, path)
        tree = load_tree(path)
        count, lmax = tree["bonds"][0, 0]["maxn"], tree["lmax"]
        values, slopes = radial_functions(ace.radial, np.linspace(0, ace.cutoff, BINS + 1))
        columns = zip(values[:count].tolist(), slopes[:count].tolist(), strict=True)
        tree["bonds"][0, 0] = {
            "nradmax": count,
            "lmax": lmax,
            "nradbasemax": count,
            "radbasename": "Tabulated",
            "prehc": 0,
            "lambdahc": 0,
            "rcut": ace.cutoff,
            "dcut": 0.01,
            "radtable": {
                "nbins": BINS,
                "gk": [{"k": k, "f": f, "df": d} for k, (f, d) in enumerate(columns, 1)],
            },
        }
        dump_tree(tree, path)
        theirs, meta, _ = load_yace(path)
    # All l have the radial functions of l = 0.
    same = np.repeat(np.eye(count)[:, None], lmax + 1, axis=1)[None, None]
    calculator = ACECalculator(replace(theirs, crad=jax.numpy.asarray(same)), meta, skin=0.0)

    def call() -> None:
        calculator.results = {}
        calculator.calculate(atoms, ["energy", "forces"])

    def results() -> tuple[float, np.ndarray]:
        call()
        return calculator.results["energy"], calculator.results["forces"]

    return Evaluator("ace-jax calculator", call, results)


def ace_jax_kernel(model: SiteModel, atoms: Atoms) -> Evaluator:
    """Its compiled CPU kernel, with the neighbours given: what its LAMMPS style calls."""
    import jax
    from ace_jax.basis.radial_ace1 import cubic_bspline_coefs
    from ace_jax.eval import ffi

    jax.config.update("jax_enable_x64", True)
    ffi.register(ffi.library())
    ace: Any = model.descriptor
    products = ace.products
    ranks = (products.members >= 0).sum(axis=1)
    # Its harmonics are orthonormal.
    weights = products.weights(model.weights[0]) * np.sqrt(4 * np.pi) ** ranks
    order = np.argsort(ranks, kind="stable")
    runs, groups, factor, readout, n_leaf = ffi.plan(
        SimpleNamespace(
            aspec_r=ace.channels[:, 1] - 1,
            aspec_y=ace.channels[:, 2],
            aa_specs=[products.members[ranks == k, :k] for k in range(1, ranks.max() + 1)],
            ctilde=weights[order][:, None],
        )
    )
    nodes, step = np.linspace(0.5, ace.cutoff, KERNEL_BINS + 1, retstep=True)
    values, slopes = radial_functions(ace.radial, nodes)
    # Second derivatives at the ends; one more column, for the pair potential that its models have.
    inside = radial_functions(ace.radial, nodes[[0, -1]] + [1e-5, -1e-5])[1]
    ends = step**2 * (inside - slopes[:, [0, -1]]) / [1e-5, -1e-5]
    columns, bent = (np.pad(own, ((0, 1), (0, 0))).T for own in (values, ends))
    table = cubic_bspline_coefs(columns, bent)[None, None]
    points, owners, matrix, counts = _neighbour_matrix(atoms, ace.cutoff)
    floats = [table, np.full((1, 1), ace.cutoff)]
    integers = [np.asarray(part, np.int32) for part in (runs, groups, factor)]
    arrays = [
        points, np.zeros(len(points), np.int32), matrix, counts, np.ones(len(points)),
        *floats, *integers, readout, np.zeros(1),
    ]  # fmt: skip
    attributes = {
        "x0": np.float64(nodes[0]),
        "h": np.float64(step),
        "n": np.int64(len(nodes)),
        "n_rnl": np.int64(len(values)),
        "lmax": np.int64(np.sqrt(ace.channels[:, 2].max())),
        "solid": np.int64(0),
        "n_leaf": np.int64(n_leaf),
        "rc2": np.float64(ace.cutoff**2),
    }
    shapes = [jax.ShapeDtypeStruct(s, np.float64) for s in ((len(points),), points.shape)]
    kernel = jax.jit(partial(jax.ffi.ffi_call(ffi.TARGET, shapes), **attributes))
    on_device = [jax.numpy.asarray(array) for array in arrays]

    def call() -> Any:
        return jax.block_until_ready(kernel(*on_device))

    def results() -> tuple[float, np.ndarray]:
        energies, of_points = map(np.asarray, call())
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, owners, of_points)
        return float(energies.sum()), forces

    return Evaluator("ace-jax kernel", call, results)


def _neighbour_matrix(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, ...]:
    """Atoms and images around them, the owner of each; neighbours (most, N) and their numbers."""
    first, second, shifts = neighbour_list("ijS", atoms, cutoff)
    keys, number = np.unique(np.column_stack([second, shifts]), axis=0, return_inverse=True)
    images = np.any(keys[:, 1:] != 0, axis=1)
    place = np.where(images, len(atoms) + np.cumsum(images) - 1, keys[:, 0])
    owners = np.concatenate([np.arange(len(atoms)), keys[images, 0]])
    moved = atoms.positions[keys[images, 0]] + keys[images, 1:] @ atoms.cell.array
    counts = np.bincount(first, minlength=len(atoms))
    matrix = np.full((counts.max(), len(atoms)), len(owners), np.int32)
    slots = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    matrix[slots, first] = place[number.ravel()]
    return np.concatenate([atoms.positions, moved]), owners, matrix, counts.astype(np.int32)


def compile_pace(sources: Path, folder: Path) -> Path:
    """The evaluator of LAMMPS, from a checkout of ICAMS/lammps-user-pace."""
    program = folder / "pace"
    files = [DRIVER]
    for part in ("ML-PACE/ace-evaluator", "yaml-cpp/src", "cnpy"):
        files += [p for p in sorted((sources / part).glob("*.cpp")) if "example" not in p.name]
    parts = ("ML-PACE", "yaml-cpp/include", "cnpy", "wigner-cpp/include")
    included = [f"-I{sources / part}" for part in parts]
    flags = ["-O3", "-march=native", "-std=c++17", "-w"]
    subprocess.run(["g++", *flags, *included, *map(str, files), "-o", str(program)], check=True)
    return program


def pace(program: Path, model: SiteModel, atoms: Atoms) -> tuple[float, float, np.ndarray]:
    """Seconds of its recursive evaluator, neighbours given; energy and forces."""
    ace: Any = model.descriptor
    first, second, vectors = neighbour_list("ijD", atoms, ace.cutoff)
    counts = np.bincount(first, minlength=len(atoms))
    with tempfile.TemporaryDirectory() as folder:
        path, pairs = Path(folder) / "model.yace", Path(folder) / "pairs"
        write_yace(model, path)
        pairs.write_bytes(
            np.array([len(atoms)], np.int32).tobytes()
            + counts.astype(np.int32).tobytes()
            + vectors.tobytes()
        )
        words = [str(program), str(path), str(pairs)]
        done = subprocess.run(words, check=True, capture_output=True)
    found = np.frombuffer(done.stdout, dtype=np.float64)
    energies, of_pairs = found[1 : len(atoms) + 1], found[len(atoms) + 1 :].reshape(-1, 3)
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, first, of_pairs)
    np.subtract.at(forces, second, of_pairs)
    return float(found[0]), float(energies.sum()), forces
